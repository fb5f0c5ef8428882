# Sites and servers by HTTP/2. Sourced by interop, with the words of sites.sh.

nghttp_() {
    local trace found
    trace=$(nghttp -v "$(at /ends/hello.txt)" | sed 's/\x1b\[[0-9;]*m//g')
    like "status" "$trace" ':status: 200'
    like trailers "$trace" 'x-end: here'
    trace=$(nghttp -v --trailer 'x-last: mine' -H':method: POST' -d "$dir/1m.bin" "$(at /)" |
        sed 's/\x1b\[[0-9;]*m//g')
    like "answer to trailers" "$trace" "$(sum "$dir/1m.bin") 1048576"
    found=$(nghttp -ns -p 3 -w 20 -W 20 "$(at /h2c/text.txt)" "$(at /web/text.txt)" "$(at /hello)" |
        grep -cE ' 200 +[0-9]')
    same "three at once, with priorities" "$found" 3
    trace=$(nghttp -nv --no-verify-peer -H':authority: shop.test' "https://127.0.0.1:$secure/text.txt" 2>&1 |
        sed 's/\x1b\[[0-9;]*m//g')
    like "by TLS" "$trace" 'negotiated protocol: h2'
    trace=$(nghttp -nvu "$(at /hello)" 2>&1 | sed 's/\x1b\[[0-9;]*m//g')
    note "h2c by Upgrade: $(grep -aoE 'HTTP/1.1 [0-9]+|:status: [0-9]+|HTTP Upgrade .*' <<<"$trace" | head -2 | tr '\n' ' ')"
}
echo hello >"$dir/www/hello.txt"
check "reverse: nghttp: trailers, priorities, h2c and TLS" nghttp_

h2load_() {
    local said where
    for where in "$(at /web/hello.txt)" "$(at /h2c/hello.txt)" "https://127.0.0.1:$secure/hello.txt"; do
        said=$(h2load -n 10000 -c 10 -m 10 -H ':authority: shop.test' "$where")
        like "$where" "$said" 'requests: 10000 total, 10000 started, 10000 done, 10000 succeeded, 0 failed, 0 errored'
        like "statuses of $where" "$said" 'status codes: 10000 2xx'
    done
    said=$(h2load --h1 -n 10000 -c 10 "$(at /h2c/hello.txt)")
    like "h1 to h2" "$said" 'status codes: 10000 2xx'
}
check "reverse: h2load: 10 000 requests each by h2c to h1, to h2c, by TLS, and h1 to h2" h2load_

prior_knowledge() {
    same "version" "$(site --http2-prior-knowledge -o /dev/null -w '%{http_code} %{http_version}' "$(at /hello)")" \
        "200 2"
    same "to h2" "$(site --http2-prior-knowledge "$(at /h2c/20m.bin)" | sum)" "$(sum "$dir/www/20m.bin")"
    # Not where it is not allowed.
    if site --http2-prior-knowledge -H 'Host: named.test' "http://127.0.0.1:$named/text.txt"; then return 1; fi
    same "upgrade is not taken" "$(site --http2 -o /dev/null -w '%{http_code} %{http_version}' "$(at /hello)")" \
        "200 1.1"
}
check "reverse: curl --http2-prior-knowledge" prior_knowledge
