# What the operator of a forward proxy looks at, or points it at. Sourced by interop, with the words
# of proxy.sh.

metrics_read() {
    curl -sS "http://127.0.0.1:$main_admin/metrics" | read_metrics '
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
    start_from_file page
    at=$(port_of page admin)
    python3 "$parts/forward/page.py" "http://127.0.0.1:$at/" "$dir/page.png"
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
