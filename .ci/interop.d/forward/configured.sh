# A process by a file: reloads, parents, rules. Sourced by interop, with its words and its servers.

# configure MORE: the file of the process below.
configure() {
    cat >"$dir/risefall.toml" <<CONF
[process]
threads = 2
watch = true
[log]
access = "$dir/access.log"
[admin]
listen = "unix:$dir/admin.sock"
[forward.office]
listen = "127.0.0.1:0"
$1
CONF
}

start_configured() {
    configure ''
    start configured "$risefall" run -c "$dir/risefall.toml"
    configured=$pid
    within 10 grep -q '^  try it' "$dir/configured.err" || { cat "$dir/configured.err" >&2; return 1; }
    office=$(sed -n 's/^  proxy *127.0.0.1:\([0-9]*\) .*/\1/p' "$dir/configured.err")
}

ask() { curl -sS --max-time 10 --unix-socket "$dir/admin.sock" "$@"; }
generation() { ask http://localhost/status | python3 -c 'import json, sys; print(json.load(sys.stdin)["generation"])'; }
is_generation() { [[ $(generation) == "$1" ]]; }

reloads() {
    local client n proxy
    start_configured
    proxy=$office
    http -o "$dir/reloaded.bin" "http://127.0.0.1:$web/20m.bin" --limit-rate 8m &
    client=$!
    within 5 test -s "$dir/reloaded.bin"
    for n in 2 3 4; do
        configure "$(printf '[limits]\nlookups = %d\n[forward.lab%d]\nlisten = "127.0.0.1:0"' "$n" "$n")"
        # The first by a signal, the others because the file is watched.
        ((n > 2)) || kill -HUP "$configured"
        within 5 is_generation "$n"
        same "a request" "$(http "http://127.0.0.1:$origin/hello")" hello
    done
    configure 'listen = 3'
    within 5 grep -q 'not loaded' "$dir/configured.err"
    fails 1 "$risefall" reload --admin "unix:$dir/admin.sock" 2>"$dir/refused"
    like refusal "$(cat "$dir/refused")" 'risefall.toml:10:1'
    is_generation 4
    wait "$client" || { echo "the download ended with $?"; return 1; }
    same download "$(sum "$dir/reloaded.bin")" "$(sum "$dir/www/20m.bin")"
    kill "$configured"
    within 5 gone "$configured"
}
check "reloads by signal and by watching, in a download: it is completed" reloads

upgrades() {
    start_configured
    local proxy=$office client new
    http -o "$dir/upgraded.bin" "http://127.0.0.1:$web/20m.bin" --limit-rate 8m &
    client=$!
    within 5 test -s "$dir/upgraded.bin"
    "$risefall" upgrade --admin "unix:$dir/admin.sock" 2>"$dir/upgraded"
    new=$(sed -n 's/^process \([0-9]*\) has taken over.*/\1/p' "$dir/upgraded")
    [[ -n $new ]] || { cat "$dir/upgraded"; return 1; }
    echo "$new $(born "$new")" >>"$started"
    same "a request" "$(http "http://127.0.0.1:$origin/hello")" hello
    wait "$client" || { echo "the download ended with $?"; return 1; }
    same download "$(sum "$dir/upgraded.bin")" "$(sum "$dir/www/20m.bin")"
    within 5 gone "$configured" || { echo "the old process is still there"; return 1; }
    same "ready" "$(ask http://localhost/ready)" ready
    kill "$new"
    within 5 gone "$new"
}
check "an upgrade in a download: it is completed, and the new process serves" upgrades

metrics_read() {
    local proxy=$proxy
    curl -sS "http://127.0.0.1:$main_admin/metrics" | "$websockets" -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
families = {family.name: family for family in read(sys.stdin.read())}
assert families["risefall_requests"].type == "counter", families
assert sum(sample.value for sample in families["risefall_requests"].samples) > 50
assert families["risefall_request_duration_seconds"].type == "histogram"
'
}
check "the metrics are read by the library of Prometheus" metrics_read

page() {
    local at
    cat >"$dir/page.toml" <<CONF
[admin]
listen = "127.0.0.1:0"
[log]
access = "off"
[forward.branch]
listen = "127.0.0.1:0"
parent = "hub"
[upstream.hub]
servers = ["127.0.0.1:$proxy", { address = "127.0.0.1:$quick", backup = true }]
CONF
    start page "$risefall" run -c "$dir/page.toml"
    within 10 grep -q '^  try it' "$dir/page.err" || { cat "$dir/page.err" >&2; return 1; }
    at=$(sed -n 's/^  admin *127.0.0.1:\([0-9]*\) .*/\1/p' "$dir/page.err")
    python3 "$parts/page.py" "http://127.0.0.1:$at/" "$dir/page.png"
}
check "the page in Chromium: by keyboard, by night, without a fault" page

itself() {
    same HTTP "$(code http "http://127.0.0.1:$proxy/")" 508
    same admin "$(code http "http://127.0.0.1:$main_admin/status")" 508
    same name "$(code http "http://localhost:$proxy/")" 508
    same unspecified "$(code http "http://0.0.0.0:$proxy/")" 508
    local said
    said=$(tunnel "http://127.0.0.1:$proxy/" 2>&1 || true)
    like CONNECT "$said" 508
    fails 97 socks "http://127.0.0.1:$proxy/"
}
check "the proxy itself as a target: 508" itself
