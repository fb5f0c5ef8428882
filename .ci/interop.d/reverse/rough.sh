# Clients of sites that mean no good, bounded. Sourced by interop, with the words of sites.sh.

checks "reverse: wire.py" python3 "$parts/reverse/wire.py" "$plain" 1

resets() {
    local before said
    before=$(memory "$front" VmRSS)
    said=$("$websockets" "$parts/reverse/flood.py" resets "$plain" /hello 20000)
    like said "$said" '^20000 streams|on 500 connections'
    same "the proxy" "$(site "$(at /hello)")" hello
    note "HTTP/2 rapid reset: $said; RSS $before kB before, $(memory "$front" VmRSS) kB after"
    less "growth in kB" "$(($(memory "$front" VmRSS) - before))" 32768
}
check "reverse: 20 000 streams of HTTP/2 reset at once: it lives, in bounded memory" resets

frames() {
    local kind before said
    before=$(memory "$front" VmRSS)
    for kind in ping settings window continuation empty; do
        said=$("$websockets" "$parts/reverse/flood.py" frames "$plain" "$kind" 200000)
        note "HTTP/2 flood: $said"
        [[ $kind != continuation ]] || like "$kind" "$said" 'ended'
        same "after $kind" "$(site "$(at /hello)")" hello
    done
    less "growth in kB" "$(($(memory "$front" VmRSS) - before))" 32768
}
check "reverse: floods of PING, SETTINGS, WINDOW_UPDATE, CONTINUATION, empty DATA" frames

crowd() {
    local before held most
    before=$(memory "$front" VmRSS)
    mkfifo "$dir/crowd.end"
    "$websockets" "$parts/reverse/flood.py" open "$plain" /web/hello.txt 10000 >"$dir/crowd" 2>&1 <"$dir/crowd.end" &
    local holder=$!
    exec {end}>"$dir/crowd.end"
    within 60 grep -q . "$dir/crowd"
    held=$(<"$dir/crowd")
    most=$(memory "$front" VmRSS)
    note "$held idle connections: RSS $before kB before, $most kB with them ($(((most - before) * 1024 / (held + 1))) B each)"
    (echo "$held" | grep -Eq '^[0-9]+$') || { cat "$dir/crowd"; return 1; }
    ((held >= 4000)) || { echo "only $held were served"; return 1; }
    exec {end}>&-
    wait "$holder"
    within 5 eval '[[ $(site "$(at /hello)") == hello ]]'
    less "kB for each" "$(((most - before) / held))" 64
}
check "reverse: 10 000 connections that stay: it lives" crowd
