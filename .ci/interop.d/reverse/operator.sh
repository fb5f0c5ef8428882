# What the operator of sites looks at: check, explain, status, access log, metrics. Sourced by interop,
# with the words of sites.sh.

mistakes() {
    local said code=0
    cat >"$dir/broken.toml" <<'CONF'
[site.shop]
listen = "127.0.0.1"
hosts = ["shop.test", "shop.test"]
tls = { cert = "none.pem", key = "none.key" }
[[site.shop.route]]
path = "api"
upstream = "ap"
[[site.shop.route]]
redirct = { to = "/" }
[[site.shop.route]]
exact = "/a"
respond = { status = 999 }
[upstream.app]
servers = ["127.0.0.1"]
balance = "fair"
CONF
    said=$("$risefall" check -c "$dir/broken.toml" 2>&1) || code=$?
    same "exit code" "$code" 2
    local place
    for place in 2:10 6:8 7:12 9:1 12:22 14:12 15:11; do
        like "$place" "$said" "broken.toml:$place: "
    done
    like count "$said" '^([7-9]|[1-9][0-9]) mistakes'
    like hint "$said" 'did you mean "redirect"'
}
check "reverse: check tells every mistake of a file with its place" mistakes

operator() {
    local said line
    "$risefall" check -c "$dir/front.toml" >/dev/null
    said=$("$risefall" explain "https://shop.test:$secure/socket?x=1" --admin "unix:$dir/front.sock")
    like site "$said" 'shop'
    like route "$said" '/socket'
    like server "$said" "127.0.0.1:$socket"
    said=$("$risefall" explain "http://127.0.0.1:$plain/gone/x" --admin "unix:$dir/front.sock")
    like "one that is down" "$said" "127.0.0.1:$closed.*down"
    said=$("$risefall" explain "http://unknown.test:$named/" --admin "unix:$dir/front.sock")
    like "unknown host" "$said" '404'
    said=$("$risefall" status --admin "unix:$dir/front.sock")
    like status "$said" "127.0.0.1:$closed +down"
    site -H 'X-Request-Id: mine' -A interop "$(at '/hello?seen=1')" >/dev/null
    line=$(grep 'seen=1\|/hello' "$dir/front-access.log" | tail -1)
    like "access line" "$line" 'site'
    like "access line" "$line" "plain"
    like "access line" "$line" "127.0.0.1:$origin"
    like "access line" "$line" ' 200 '
}
check "reverse: check, explain, status, and the access line" operator

# What a client has left behind a moment ago may not have ended yet.
is_at_rest() {
    local told
    told=$(ask front /metrics | grep '^risefall_upstream_in_flight{upstream="back"}')
    same "in flight" "${told##* }" 0
}
site_metrics() {
    within 5 is_at_rest || is_at_rest
    ask front /metrics | read_metrics '
def total(name, **labels):
    found = [one.value for one in families[name].samples if labels.items() <= one.labels.items()]
    assert found, (name, labels, families[name].samples[:5])
    return sum(found)
assert total("risefall_site_requests", site="plain", code="2xx") > 20000
assert total("risefall_site_requests", site="shop", code="2xx") > 10000
assert total("risefall_upstream_requests", upstream="back") > 20000
assert total("risefall_upstream_in_flight", upstream="back") == 0
assert total("risefall_upstream_failures", upstream="gone", kind="connect") >= 1
assert total("risefall_upstream_failures", upstream="back-wrong", kind="tls") >= 1
assert total("risefall_server_up", upstream="gone") == 0
assert total("risefall_server_up", upstream="back") == 1
assert total("risefall_certificate_not_after_seconds", site="shop") > 1e9
'
}
check "reverse: the metrics of sites are read by the library of Prometheus" site_metrics
