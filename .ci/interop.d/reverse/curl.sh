# curl to sites: methods, bodies, fields, names and rules. Sourced by interop, with the words of sites.sh.

one_line() {
    local pid line_port server
    for server in "$static" "$back"; do
        start_risefall line reverse --to "127.0.0.1:$server" --listen 127.0.0.1:0 --admin off
        line_port=$(port_of line site)
        same body "$(site "http://127.0.0.1:$line_port/20m.bin" | sum)" "$(sum "$dir/www/20m.bin")"
        same HEAD "$(field content-length -I "http://127.0.0.1:$line_port/20m.bin")" 20971520
        like access "$(cat "$dir/line.out")" '/20m.bin.* 200 '
        end "$pid"
    done
}
check "reverse --to: Python's http.server, and nginx" one_line

site_get() {
    local to
    for to in /static /web /h2c /tls /ends; do
        same "$to" "$(site "$(at "$to/20m.bin")" | sum)" "$(sum "$dir/www/20m.bin")"
        same "$to not there" "$(code site "$(at "$to/none")")" 404
        same "HEAD $to" "$(field content-length -I "$(at "$to/text.txt")")" 1288895
    done
}
check "reverse: GET and HEAD from http.server, nginx by h1, h2c and TLS, and nghttpd" site_get

site_post() {
    local whole found
    whole=$(sum "$dir/www/20m.bin")
    found=$(site -H 'Transfer-Encoding: chunked' --data-binary @- "$(at /)" <"$dir/www/20m.bin")
    same chunked "$found" "$whole 20971520 chunked"
    same length "$(site --data-binary "@$dir/www/20m.bin" "$(at /)")" "$whole 20971520 length"
    same empty "$(site -X POST "$(at /)" | cut -d' ' -f2,3)" "0 length"
    found=$(site --http2-prior-knowledge --data-binary @- -H 'Expect:' "$(at /)" <"$dir/www/20m.bin")
    same "by HTTP/2" "${found% *}" "$whole 20971520"
    same HTTP/1.0 "$(site -0 --data-binary "@$dir/www/20m.bin" "$(at /)")" "$whole 20971520 length"
    same "to HTTP/2" "$(code site -T "$dir/www/20m.bin" "$(at /h2c/put/h2c.bin)")" 201
    same "what came by HTTP/2" "$(sum "$dir/put/h2c.bin")" "$whole"
    same "too much" "$(code site --data-binary "@$dir/www/text.txt" "$(at /small/)")" 413
    same "too much, chunked" \
        "$(code site -H 'Transfer-Encoding: chunked' --data-binary "@$dir/www/text.txt" "$(at /small/)")" 413
    same "not too much" "$(site -d 12345 "$(at /small/)" | cut -d' ' -f2)" 5
}
check "reverse: POST and PUT of 20 MB, chunked, with a length, by HTTP/2 and 1.0; 413" site_post

large() {
    local before to
    head -c 100M "$dir/www/1g.bin" >"$dir/100m.bin"
    before=$(memory "$front" VmHWM)
    for to in /web /h2c /tls; do
        same "download $to" \
            "$(site -r 0-104857599 -o /dev/null -w '%{size_download}' "$(at "$to/1g.bin")")" 104857600
        site --limit-rate 10M --max-time 1 -o /dev/null "$(at "$to/1g.bin")" 2>/dev/null || true
    done
    same "download by HTTP/2" "$(site --http2-prior-knowledge -r 0-104857599 -o /dev/null \
        -w '%{size_download}' "$(at /h2c/1g.bin)")" 104857600
    for to in /web /h2c; do
        same "upload $to" "$(code site -T "$dir/100m.bin" "$(at "$to/put/100m.bin")")" 201
        same "what came by $to" "$(stat -c %s "$dir/put/100m.bin")" 104857600
        rm "$dir/put/100m.bin"
    done
    less "growth of VmHWM in kB, from $before" "$(($(memory "$front" VmHWM) - before))" 16384
}
check "reverse: 100 MB both ways, and to a slow reader, in bounded memory" large

site_fields() {
    local head
    same range "$(site -r 100-1099 "$(at /web/20m.bin)" | sum)" \
        "$(tail -c +101 "$dir/www/20m.bin" | head -c 1000 | sum)"
    same "status of a range" "$(code site -r 100-1099 "$(at /h2c/20m.bin)")" 206
    same "of one that is not there" "$(code site -r 999999999- "$(at /web/20m.bin)")" 416
    head=$(site -D - -o "$dir/text.gz" -H 'Accept-Encoding: gzip' "$(at /web/text.txt)")
    like compressed "$head" '^content-encoding: gzip'
    same "--compressed" "$(site --compressed "$(at /web/text.txt)" | sum)" "$(sum "$dir/www/text.txt")"
    same "not modified" "$(code site -H "If-None-Match: $(field etag -I "$(at /web/20m.bin)")" \
        "$(at /web/20m.bin)")" 304
    same OPTIONS "$(code site -X OPTIONS "$(at /web/)")" 405
}
check "reverse: ranges, --compressed, conditional requests" site_fields

site_continue() {
    local trace to
    head -c 1M "$dir/www/20m.bin" >"$dir/1m.bin"
    for to in / /web/put/continued.bin /h2c/put/continued.bin; do
        trace=$(site -v -H 'Expect: 100-continue' --expect100-timeout 20 -T "$dir/1m.bin" \
            -X "$([[ $to == / ]] && echo POST || echo PUT)" "$(at "$to")" -w '%{time_total}' 2>&1)
        like "interim of $to" "$trace" '^< HTTP/1.1 100'
        like "answer of $to" "$trace" '^< HTTP/1.1 20[0-4]'
        # Not because the client has given up to wait.
        awk -v took="${trace##*$'\n'}" 'BEGIN { exit !(took < 5) }' || { echo "$to took ${trace##*$'\n'}"; return 1; }
    done
    same body "$(sum "$dir/put/continued.bin")" "$(sum "$dir/1m.bin")"
}
check "reverse: Expect: 100-continue with 1 MB, to h1 and h2" site_continue

site_keep_alive() {
    local trace
    trace=$(site -v "$(at /hello)" "$(at /web/text.txt)" "$(at /web/none)" "$(at /hello)" -o /dev/null \
        -o /dev/null -o /dev/null -o /dev/null 2>&1)
    same "answers" "$(grep -c '^< HTTP/1.1 [24]' <<<"$trace")" 4
    same "connections" "$(grep -c '^\* Connected to' <<<"$trace")" 1
    local first second
    read -r first second <<<"$(site "$(at /peer)" "$(at /peer)" | tr '\n' ' ')"
    same "the server's peer" "$second" "$first"
    same HTTP/1.0 "$(site -0 "$(at /hello)")" hello
    same "chunks for HTTP/1.0" "$(site -0 "$(at '/drip?pieces=3&pause=0')" | tr '\n' ' ')" "0 1 2 "
    like "1.0 keeps alive" "$(site -0 -i -H 'Connection: keep-alive' "$(at /hello)")" '^HTTP/1.[01] 200'
}
check "reverse: keep-alive on both sides, HTTP/1.0 clients" site_keep_alive

site_names() {
    same known "$(code site -H 'Host: named.test' "http://127.0.0.1:$named/text.txt")" 200
    same "with a port" "$(code site -H 'Host: NAMED.test:81' "http://127.0.0.1:$named/text.txt")" 200
    same wildcard "$(code site -H 'Host: a.named.test' "http://127.0.0.1:$named/text.txt")" 200
    same "two labels" "$(code site -H 'Host: a.b.named.test' "http://127.0.0.1:$named/text.txt")" 404
    same unknown "$(code site -H 'Host: unknown.test' "http://127.0.0.1:$named/text.txt")" 404
    same "an address" "$(code site "http://127.0.0.1:$named/text.txt")" 404
}
check "reverse: hosts: exact, wildcard, unknown 404" site_names

rules() {
    local at=http://127.0.0.1:$named said
    local rules=(-H 'Host: rules.test')
    said=$(site -i "${rules[@]}" -H 'X-Version: 2' -d x "$at/api/x")
    like "methods and headers" "$said" ' x?1 length'
    like "a field that is set" "$said" '^x-set: 1'
    if grep -i '^server:' <<<"$said"; then return 1; fi
    same "another version" "$(code site "${rules[@]}" -H 'X-Version: 1' -d x "$at/api/x")" 404
    said=$(site "${rules[@]}" "$at/api/read/head")
    like "fields of the request" "$said" '^x-given: yes'
    if grep -i '^user-agent' <<<"$said"; then return 1; fi
    said=$(site -i -X DELETE "${rules[@]}" "$at/api/read/x")
    like "another method" "$said" '^HTTP/1.1 405'
    like "Allow" "$said" '^allow: .*GET'
    said=$(site -i "${rules[@]}" "$at/old?a=b" | tr -d '\r')
    like "redirect" "$said" '^HTTP/1.1 301'
    like "to where" "$said" '^location: https://rules.test/new\?a=b$'
    same "below it" "$(code site "${rules[@]}" "$at/old/x")" 404
    like "an answer from here" "$(site -i "${rules[@]}" "$at/closed/x")" '^HTTP/1.1 410|^no more'
    # From a proxy in front that is trusted, its account is continued; from others it is not.
    local forwarded=(-H 'X-Forwarded-For: 192.0.2.7' -H 'X-Forwarded-Proto: https' -H 'X-Request-Id: theirs')
    said=$(site "${rules[@]}" "${forwarded[@]}" --interface 127.0.0.2 "$at/head")
    like "a trusted peer's" "$said" '^x-forwarded-for: 192.0.2.7, ?127.0.0.2'
    like "its scheme" "$said" '^x-forwarded-proto: https'
    like "its number" "$said" '^x-request-id: theirs'
    said=$(site "${rules[@]}" "${forwarded[@]}" "$at/head")
    like "a stranger's" "$said" '^x-forwarded-for: 127.0.0.1'
    if grep -E '192.0.2.7|https|theirs' <<<"$said"; then return 1; fi
}
check "reverse: routes by method and field, redirects, fields, trusted proxies" rules
