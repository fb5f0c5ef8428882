# Servers of a site that are killed, frozen, black-holed and retired under load; reloads and upgrades.
# Sourced by interop, with the words of sites.sh.

# start_member NAME PORT [http2]: a small one that says its name, and is ill while $dir/ill-NAME is there.
start_member() {
    start_nginx "$1" "$2" <<CONF
    server {
        listen 127.0.0.1:$2 ${3-} backlog=1024;
        location / { return 200 "$1\n"; }
        location = /healthz {
            if (-f $dir/ill-$1) { return 503; }
            return 204;
        }
    }
CONF
}

# fleet_conf MORE: two servers, $one and $two, that say their names; `MORE` belongs to the upstream.
fleet_conf() {
    cat <<CONF
[process]
threads = 2
[admin]
listen = "unix:$dir/fleet.sock"
[log]
access = "off"
[limits]
answer_timeout = "${answer_timeout-60s}"
[site.fleet]
listen = "127.0.0.1:$fleet"
h2c = true
[[site.fleet.route]]
upstream = "fleet"
[upstream.fleet]
servers = [${servers-\"127.0.0.1:$one\", \"127.0.0.1:$two\"}]
$1
CONF
}

# start_fleet MORE: and ends it with the check that has started it.
start_fleet() {
    fleet=$(free_ports 1)
    rm -f "$dir/fleet.sock"
    fleet_conf "$1" >"$dir/fleet.toml"
    start_from_file fleet
    fleet_pid=$pid
    trap "kill $fleet_pid" EXIT
}

# load SECONDS CONNECTIONS: in the background; `loaded` waits for it, and wants no error.
load() {
    wrk -t 1 -c "$2" -d "$1s" --latency "http://127.0.0.1:$fleet/" >"$dir/wrk" 2>&1 &
    load_pid=$!
}
loaded() {
    wait "$load_pid" || { cat "$dir/wrk"; return 1; }
    if grep -E 'Non-2xx|Socket errors' "$dir/wrk"; then
        ask fleet /metrics | grep -E '^risefall_(upstream_(failures|retries)|server_up_by).* [1-9]' | tr '\n' ' '
        return 1
    fi
    note "$(awk -v what="$1" '/50%|99%/ { l = l " " $1 " " $2 } / requests in/ { n = $1 } END { print what ": " n " requests," l }' "$dir/wrk")"
}
# is_up WORD SERVER VALUE
is_up() { ask fleet /metrics | grep -q "^risefall_server_up_by{.*server=\"127.0.0.1:$2\",by=\"$1\"} $3"; }
names() { local n; for n in $(seq "${1-20}"); do site "http://127.0.0.1:$fleet/"; done | sort -u | tr '\n' ' '; }

read -r one two three four <<<"$(free_ports 4)"
start_member one "$one"
start_member two "$two"

killed() {
    start_fleet 'fail_timeout = "1s"'
    load 5 20
    sleep 1.5
    kill -9 "$(<"$dir/two.pid")"
    sleep 1.5
    start_member two "$two"
    loaded "killed and started again"
    within 3 eval '[[ $(names) == "one two " ]]' || { echo "after it is back: $(names)"; return 1; }
}
check "reverse: kill -9 of one of two under load, and its return: no error" killed

# Servers that say good-bye: h1 by closing what is idle, h2 by GOAWAY.
retired() {
    local pid
    start_fleet "$1"
    load 5 20
    for _ in 1 2; do
        sleep 1
        kill -QUIT "$(<"$dir/$2.pid")"
        within 3 eval '! listens '"$3"
        sleep 0.5
        start_member "$2" "$3" "${4-}"
    done
    loaded "$2 retired twice"
}
retired_h1() { retired 'fail_timeout = "1s"' two "$two"; }
check "reverse: one of two ends in good order under load, twice: no error" retired_h1

start_member three "$three" http2
start_member four "$four" http2
h2_fleet() { servers="\"127.0.0.1:$three\", \"127.0.0.1:$four\""; }
retired_h2() {
    local servers
    h2_fleet
    retired $'http = "h2"\nfail_timeout = "1s"' four "$four" http2
}
check "reverse: the same with servers of HTTP/2: no error" retired_h2

killed_h2() {
    local servers pid said
    h2_fleet
    start_fleet $'http = "h2"\nfail_timeout = "1s"'
    h2load -D 4 -c 10 -m 10 "http://127.0.0.1:$fleet/" >"$dir/h2load" 2>&1 &
    local client=$!
    sleep 1.5
    kill -9 "$(<"$dir/four.pid")"
    sleep 1
    start_member four "$four" http2
    wait "$client"
    said=$(cat "$dir/h2load")
    like "requests" "$said" '[1-9][0-9]{3,} succeeded, 0 failed, 0 errored'
    like "statuses" "$said" 'status codes: [0-9]+ 2xx, 0 3xx, 0 4xx, 0 5xx'
    note "killed, HTTP/2 on both sides: $(grep '^requests' <<<"$said")"
    within 4 eval '[[ $(names) == "four three " ]]' || { echo "after it is back: $(names)"; return 1; }
}
check "reverse: kill -9 of one of two, HTTP/2 on both sides: no error" killed_h2

balanced() {
    local how first n
    for how in round-robin least-conn random p2c; do
        start_fleet "balance = \"$how\""
        same "$how" "$(names 30)" "one two "
        kill "$fleet_pid"
    done
    start_fleet $'balance = "hash"\nhash_by = "header:x-user"'
    for n in $(seq 8); do
        first=$(site -H "X-User: $n" "http://127.0.0.1:$fleet/")
        same "user $n again" "$(site -H "X-User: $n" "http://127.0.0.1:$fleet/")" "$first"
        echo "$first"
    done | tee "$dir/hashed" >/dev/null
    same "by hash" "$(sort -u "$dir/hashed" | tr '\n' ' ')" "one two "
}
check "reverse: every way of balancing reaches both, the hash the same again" balanced

upgraded() {
    local new
    start_fleet ''
    load 4 20
    sleep 1
    upgrade fleet
    trap "kill $new" EXIT
    # The old process ends connections that are idle: each may meet that once, just as it asks.
    wait "$load_pid"
    if grep Non-2xx "$dir/wrk"; then return 1; fi
    local ended
    ended=$(sed -n 's/.*read \([0-9]*\),.*/\1/p' "$dir/wrk")
    less "connections ended in a request" "${ended:-0}" 20
    note "an upgrade: $(grep -E 'requests in|Socket' "$dir/wrk" | tr -s ' \n' ' ')"
    within 5 gone "$fleet_pid" || { echo "the old process is still there"; return 1; }
    same "the new one" "$(names)" "one two "
}
check "reverse: an upgrade under load: no error but idle connections that end" upgraded

frozen() {
    local two_pid
    two_pid=$(<"$dir/two.pid")
    # A machine that stands still for 300 ms looks like the other one frozen too: then they wait.
    answer_timeout=300ms start_fleet $'fail_timeout = "1s"\nqueue = { length = 100, timeout = "3s" }'
    load 4 20
    sleep 1
    kill -STOP "$two_pid"
    trap "kill $fleet_pid; kill -CONT $two_pid" EXIT
    sleep 2
    kill -CONT "$two_pid"
    loaded "frozen for 2 s"
    note "of them have waited for a server: $(ask fleet /metrics | sed -n 's/^risefall_upstream_queued_total.* //p')"
}
check "reverse: one of two frozen for 2 s under load, answer_timeout 300 ms: no error" frozen

black_holed() {
    start_black_hole
    servers="\"127.0.0.1:$one\", \"127.0.0.1:$hole\"" start_fleet ''
    trap "kill $fleet_pid; end_black_hole" EXIT
    load 3 20
    loaded "one black-holed"
}
check "reverse: one of two black-holed, default settings: no error" black_holed

reloaded() {
    local n
    start_fleet ''
    load 5 20
    for n in $(seq 20); do
        fleet_conf "max_fails = $((n + 1))" >"$dir/fleet.toml"
        kill -HUP "$fleet_pid"
        within 5 is_generation fleet $((n + 1))
    done
    loaded "20 reloads"
}
check "reverse: 20 reloads under load: no error" reloaded

sticks() {
    local first n jar=$dir/jar again
    start_fleet 'sticky = { cookie = "server", max_age = "1h" }'
    first=$(site -c "$jar" "http://127.0.0.1:$fleet/")
    like jar "$(cat "$jar")" 'server'
    if grep -E "$one|$two" "$jar" | grep -v "127.0.0.1:$fleet"; then echo "it tells the server"; return 1; fi
    for n in $(seq 10); do
        again=$(site -b "$jar" "http://127.0.0.1:$fleet/")
        same "request $n" "$again" "$first"
    done
    same "without it" "$(names 10)" "one two "
    same "a cookie of no sense" "$(code site -b 'server=zzzz' "http://127.0.0.1:$fleet/")" 200
}
check "reverse: a sticky cookie in curl's jar" sticks

checked() {
    start_fleet 'check = { type = "http", path = "/healthz", interval = "100ms", timeout = "500ms", fall = 2, rise = 2 }'
    within 5 is_up check "$two" 1
    load 4 10
    sleep 0.5
    touch "$dir/ill-two"
    within 3 is_up check "$two" 0 || { echo "the check does not see it"; return 1; }
    same "while it is ill" "$(names)" "one "
    rm "$dir/ill-two"
    within 3 is_up check "$two" 1 || { echo "the check does not see its return"; return 1; }
    loaded "taken down by a check, and back"
    same "when it is well" "$(names)" "one two "
}
check "reverse: a check by HTTP takes a server down and up again under load: no error" checked

queued() {
    local late n clients=() pid client
    late=$(free_ports 1)
    servers="\"127.0.0.1:$late\"" start_fleet 'queue = { length = 100, timeout = "5s" }
check = { type = "http", path = "/healthz", interval = "100ms", timeout = "500ms", fall = 1, rise = 1 }'
    within 5 is_up check "$late" 0
    for n in $(seq 10); do
        site -o /dev/null -w '%{http_code} %{time_total}\n' "http://127.0.0.1:$fleet/" >>"$dir/queued" &
        clients+=($!)
    done
    sleep 0.7
    less "answered before" "$(wc -l <"$dir/queued")" 0
    start_member late "$late"
    trap "kill $fleet_pid $pid" EXIT
    for client in "${clients[@]}"; do wait "$client"; done
    same "served" "$(grep -c '^200' "$dir/queued")" 10
    less "longest wait in ms" "$(awk '$2 > most { most = $2 } END { print int(most * 1000) }' "$dir/queued")" 2000
}
check "reverse: all down, requests wait in the queue and are served when one returns" queued
