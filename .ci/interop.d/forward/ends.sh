# How the forward proxy starts and ends: signals, ports that are taken. Sourced by interop, with the
# words of proxy.sh.

drain() {
    local port pid admin name=$1 order=$2
    start_proxy "$name"
    local proxy=$port draining=$pid client
    "$3" -r 0-2999999 -o "$dir/$name.bin" "http://127.0.0.1:$web/slow/20m.bin" &
    client=$!
    within 5 test -s "$dir/$name.bin"
    kill "-$order" "$draining"
    within 2 grep -q 'draining' "$dir/$name.err"
    fails 7 http "http://127.0.0.1:$origin/hello"
    wait "$client" || { echo "the download ended with $?"; return 1; }
    same download "$(sum "$dir/$name.bin")" "$(head -c 3000000 "$dir/www/20m.bin" | sum)"
    within 3 gone "$draining" || { echo "still there"; return 1; }
    like end "$(cat "$dir/$name.err")" 'stopped; every connection ended by itself'
}
drain_http() { drain term TERM http; }
drain_connect() { drain int INT tunnel; }
check "SIGTERM in a download: it is completed" drain_http
check "SIGINT in a tunnel: it is completed" drain_connect

end_code() {
    local stopped code=0 order
    for order in TERM INT; do
        # A file of its own: what the one before it said is not the word of this one.
        "$risefall" proxy --listen 127.0.0.1:0 --admin off 2>"$dir/end.$order.err" &
        stopped=$!
        ready "end.$order"
        kill "-$order" "$stopped"
        within 5 gone "$stopped" || { echo "still there after $order"; return 1; }
        wait "$stopped" || code=$?
        same "exit code after $order" "$code" 0
    done
}
check "a signal ends it with exit code 0" end_code

second_signal() {
    local code=0 stopped client
    "$risefall" proxy --listen 127.0.0.1:0 --admin off 2>"$dir/twice.err" >/dev/null &
    stopped=$!
    ready twice
    local proxy
    proxy=$(port_of twice proxy)
    http -o "$dir/twice.bin" "http://127.0.0.1:$origin/endless" &
    client=$!
    within 5 test -s "$dir/twice.bin"
    kill "$stopped"
    within 2 grep -q draining "$dir/twice.err"
    kill "$stopped"
    within 3 gone "$stopped" || { echo "still there"; kill -9 "$stopped"; return 1; }
    wait "$stopped" || code=$?
    same "exit code" "$code" 0
    wait "$client" && return 1
    like end "$(cat "$dir/twice.err")" 'stopped; 1 connections? w'
}
check "a second signal cuts what is left" second_signal

port_in_use() {
    local code=0 said
    said=$("$risefall" proxy --listen "127.0.0.1:$proxy" --admin off 2>&1) || code=$?
    same "exit code" "$code" 1
    like message "$said" "127.0.0.1:$proxy.*(in use|another program)"
}
check "a port in use: exit 1, and why" port_in_use

admin_in_use() {
    start_risefall second proxy --listen 127.0.0.1:0 --admin "127.0.0.1:$main_admin"
    trap "kill $pid" EXIT
    like message "$(cat "$dir/second.err")" "admin +none.*127.0.0.1:$main_admin"
}
check "an admin port in use: it goes on without, and says so" admin_in_use

open_proxy() {
    local code=0 said
    said=$(timeout 5 "$risefall" proxy --listen 0.0.0.0:0 --admin off 2>&1) || code=$?
    same "exit code" "$code" 2
    like message "$said" allow-clients
}
check "an open proxy is refused: exit 2, and what to do" open_proxy
