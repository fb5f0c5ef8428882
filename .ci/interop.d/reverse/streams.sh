# What stays open: gRPC, WebSocket, server-sent events. Sourced by interop, with the words of sites.sh.

rpc_() { same said "$("$websockets" "$parts/reverse/rpc.py" call "127.0.0.1:$plain")" "all well"; }
check "reverse: gRPC: unary, 4 MiB, streams, both ways, statuses, deadline" rpc_

rpc_dead() {
    kill -9 "$rpc_pid"
    like first "$("$websockets" "$parts/reverse/rpc.py" dead "127.0.0.1:$plain")" '^UNAVAILABLE'
    for _ in 1 2 3; do "$websockets" "$parts/reverse/rpc.py" dead "127.0.0.1:$plain" >/dev/null; done
    like "when it is down" "$("$websockets" "$parts/reverse/rpc.py" dead "127.0.0.1:$plain")" '^UNAVAILABLE'
}
check "reverse: gRPC to a server that is gone: UNAVAILABLE" rpc_dead

sockets() { "$websockets" "$parts/reverse/sockets.py" "$@"; }
socket_talk() { same said "$(sockets talk "ws://127.0.0.1:$plain/socket")" "all well"; }
check "reverse: WebSocket: text, binary, ping, 1 MB, closing codes of both sides" socket_talk

socket_idle() { same said "$(sockets idle "ws://127.0.0.1:$plain/brief" 1)" ended; }
check "reverse: WebSocket: a route's idle_timeout" socket_idle

socket_reloads() {
    local talker n before
    before=$(generation front)
    sockets last "ws://127.0.0.1:$plain/socket" "$dir/started" "$dir/sign" >"$dir/last.out" 2>&1 &
    talker=$!
    within 5 test -e "$dir/started"
    for n in $(seq 20); do
        { front_conf; printf '[site.plain%d]\nlisten = "127.0.0.1:0"\n[[site.plain%d.route]]\nrespond = {}\n' "$n" "$n"; } \
            >"$dir/front.toml"
        "$risefall" reload --admin "unix:$dir/front.sock" >"$dir/reload.out" 2>&1 || { cat "$dir/reload.out"; return 1; }
    done
    front_conf >"$dir/front.toml"
    "$risefall" reload --admin "unix:$dir/front.sock" >/dev/null 2>&1
    same generation "$(generation front)" $((before + 21))
    touch "$dir/sign"
    wait "$talker" || { cat "$dir/last.out"; return 1; }
    like echoes "$(cat "$dir/last.out")" '^[1-9][0-9]+ echoes'
}
check "reverse: WebSocket lives through 21 reloads" socket_reloads

site_events() {
    same h1 "$(sockets hear "$(at /events)")" "5 events"
    local times
    times=$(site -N --http2-prior-knowledge -o /dev/null -w '%{time_starttransfer} %{time_total}' \
        "$(at '/drip?pieces=5&pause=0.2')")
    streamed "by HTTP/2" "$times"
}
check "reverse: server-sent events, each before the next is made" site_events

page_by_tls() {
    local key
    key=$(openssl pkey -in "$dir/shop.key" -pubout -outform der | openssl dgst -sha256 -binary | base64)
    python3 "$parts/reverse/secure.py" "$secure" "$key"
}
check "reverse: a page in Chromium by HTTP/2, with a WebSocket" page_by_tls
