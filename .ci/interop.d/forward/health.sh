# Targets that are down, silent or die, through the forward proxy. Sourced by interop, with the words
# of proxy.sh.

closed_port() {
    local url=http://127.0.0.1:$closed/ answer
    same "first three" \
        "$(code http "$url") $(code http "$url") $(code http "$url")" "502 502 502"
    answer=$(http -i "$url")
    like status "$answer" '^HTTP/1.1 503'
    like "retry time" "$answer" '^retry-after: [1-9][0-9]*'
    like "proxy status" "$answer" '^proxy-status: risefall; error=destination_unavailable'
    like text "$answer" 'health check falldown'
    fails 56 tunnel "$url"
    fails 97 socks "$url"
}
check "a closed port: 502 three times, then health check falldown" closed_port

status() {
    local asked
    like table "$("$risefall" status --admin "127.0.0.1:$main_admin")" \
        "^127.0.0.1:$closed +down +3 failed +"
    asked=$("$risefall" status --admin "127.0.0.1:$main_admin" --json)
    python3 - "127.0.0.1:$closed" "$asked" <<'PYTHON'
import json, sys
one, = [one for one in json.loads(sys.argv[2])["health"] if one["address"] == sys.argv[1]]
assert one["state"] == "down" and one["failures"] == 3, one
# A minute, and a tenth of jitter at most.
assert 0 < one["retry_in_ms"] <= 66_100 and one["trips"] == 1, one
PYTHON
    like story "$("$risefall" status "127.0.0.1:$closed" --admin "127.0.0.1:$main_admin")" \
        "ago +up +down +refused, 3 in a row"
    asked=$(curl -sS "http://127.0.0.1:$main_admin/status?address=127.0.0.1:$closed")
    python3 - "$asked" <<'PYTHON'
import json, sys
told = json.loads(sys.argv[1])
assert told["journal"][-1]["to"] == "down" and told["journal"][-1]["cause"] == "refused", told
PYTHON
    fails 1 "$risefall" status --admin "127.0.0.1:$closed"
}
check "risefall status, as a table and as JSON" status

recovery() {
    local proxy=$quick pid port again
    again=$(free_ports 1)
    for _ in 1 2 3; do code http "http://127.0.0.1:$again/" >/dev/null; done
    same down "$(code http "http://127.0.0.1:$again/")" 503
    "$websockets" -m http.server "$again" --bind 127.0.0.1 --directory "$dir/www" >/dev/null 2>&1 &
    pid=$!
    trap "kill $pid" EXIT
    within 5 listens "$again"
    same "still down" "$(code http "http://127.0.0.1:$again/")" 503
    sleep 2.5
    same "again" "$(code http -I "http://127.0.0.1:$again/")" 200
}
check "after --fail-timeout it is tried again, and well" recovery

black_hole() {
    local proxy=$quick began took
    start_black_hole
    trap end_black_hole EXIT
    began=$(milliseconds)
    same "first three" "$(code http "http://127.0.0.1:$hole/") $(code http "http://127.0.0.1:$hole/") \
$(code http "http://127.0.0.1:$hole/")" "504 504 504"
    took=$(($(milliseconds) - began))
    ((took > 1400 && took < 3000)) || { echo "three dials took $took ms"; return 1; }
    began=$(milliseconds)
    same fourth "$(code http "http://127.0.0.1:$hole/")" 503
    less "milliseconds of the fourth" $(($(milliseconds) - began)) 200
}
check "a black hole: 504 after --connect-timeout, then 503 at once" black_hole

killed_origin() {
    local pid port query kind victim client
    for query in '' '?length=1000000000'; do
        for kind in http tunnel socks; do
            start_port victim python3 "$parts/origin.py"
            victim=$pid
            "$kind" -o "$dir/cut.bin" "http://127.0.0.1:$port/endless$query" 2>/dev/null &
            client=$!
            within 5 test -s "$dir/cut.bin"
            kill -9 "$victim"
            within 5 gone "$client" || { echo "$kind$query: the client hangs"; return 1; }
            # Without a length the end of the connection is the end of the body, if it is a clean
            # one; the kernel sends a dying process's unread sockets that way.
            if [[ -n $query ]] && wait "$client"; then
                echo "$kind$query: the client takes it for whole"
                return 1
            fi
            rm -f "$dir/cut.bin"
        done
    done
    same "the proxy" "$(http "http://127.0.0.1:$origin/hello")" hello
}
check "an origin killed in an answer: the client sees it, the proxy lives" killed_origin
