# curl to static files: paths, types, ranges, conditions, codings, listings, users. Sourced by interop,
# with the words of folders.sh.

shown_get() {
    local way whole method head
    whole=$(sum "$root/20m.bin")
    for way in http h2c tls tls1; do
        same "$way" "$(by "$way" /20m.bin | sum)" "$whole"
        same "$way, small" "$(by "$way" /small.txt)" small
        same "$way, empty" "$(by "$way" /empty.txt -w '%{http_code} %{size_download}')" "200 0"
        same "$way, HEAD" "$(by "$way" /20m.bin -I -o /dev/null -w '%{http_code} %{size_download}')" "200 0"
        same "$way, HEAD's length" "$(by "$way" /20m.bin -I | tr -d '\r' | sed -n 's/^content-length: //Ip')" 20971520
        same "$way, not there" "$(code by "$way" /none.txt)" 404
    done
    same HTTP/1.0 "$(site -0 "$(shown /20m.bin)" | sum)" "$whole"
    same "HTTP/1.0, kept" "$(site -0 -H 'Connection: keep-alive' "$(shown /small.txt)" "$(shown /small.txt)" | tr '\n' ' ')" "small small "
    head=$(site -v "$(shown /small.txt)" -I "$(shown /20m.bin)" "$(shown /none)" "$(shown /small.txt)" 2>&1 >/dev/null)
    same "connections" "$(grep -c '^\* Connected to' <<<"$head")" 1
    same "a name of many letters" "$(site "$(shown /h%C3%A9%20llo.txt)")" umlaut
    same "the same by raw bytes" "$(site "$(shown /hé%20llo.txt)")" umlaut
    same "with a query" "$(site "$(shown '/small.txt?v=1')")" small
}
check "static: GET and HEAD by HTTP/1.0, 1.1, h2c, TLS and HTTP/2" shown_get

shown_methods() {
    local method head
    head=$(site -i -X OPTIONS "$(shown /small.txt)")
    like OPTIONS "$head" '^HTTP/1.1 20[04]'
    like "its Allow" "$head" '^allow: GET, HEAD, OPTIONS'
    for method in POST PUT DELETE PATCH TRACE PROPFIND; do
        head=$(site -i -X "$method" -d x "$(shown /small.txt)")
        like "$method" "$head" '^HTTP/1.1 405'
        like "Allow of $method" "$head" '^allow: GET, HEAD, OPTIONS'
    done
    same "a large body is not waited for" "$(code site --max-time 10 -H Expect: --data-binary "@$dir/www/20m.bin" \
        "$(shown /small.txt)" 2>/dev/null || true)" 405
    # More than once: whether the body comes with the head or behind the answer is for the machine to say.
    for _ in {1..30}; do
        same "POST by HTTP/2" "$(code by h2c /small.txt -d x)" 405
    done
}
check "static: OPTIONS, and 405 with Allow" shown_methods

shown_paths() {
    local head path
    like "an index" "$(site "$(shown /)")" Front
    like "an index below" "$(site "$(shown /sub/)")" Below
    head=$(site -i "$(shown '/sub?q=1')" | tr -d '\r')
    like "a folder without its slash" "$head" '^HTTP/1.1 308'
    like "to where" "$head" '^location: /sub/\?q=1$'
    like "followed" "$(site -L "$(shown /sub)")" Below
    head=$(site -i "$(shown /app)" | tr -d '\r')
    like "a prefix without its slash" "$head" '^HTTP/1.1 (308|200)'
    for path in /none /small.txt/ /bare /bare/ /.x.txt /.hidden/x.txt /%2Ex.txt //small.txt /sub//index.html /sub%2Findex.html \
        /small.txt%2F /sub/index.html/ /SMALL.TXT; do
        same "$path" "$(code site --path-as-is "$(shown "$path")")" 404
    done
    ((EUID == 0)) || {
        (umask 777 && echo x >"$root/locked.txt")
        same "what may not be read" "$(code site "$(shown /locked.txt)")" 403
        rm -f "$root/locked.txt"
    }
}
check "static: index, 308 to the slash, what is hidden or not there" shown_paths

shown_types() {
    local name kind
    while read -r name kind; do
        same "type of $name" "$(field content-type "$(shown "/$name")")" "$kind"
        same "sniffing of $name" "$(field x-content-type-options "$(shown "/$name")")" nosniff
    done <<'LIST'
small.txt text/plain; charset=utf-8
index.html text/html; charset=utf-8
style.css text/css; charset=utf-8
right.js text/javascript; charset=utf-8
20m.bin application/octet-stream
LIST
    same "what a page is told" "$(field content-type "http://127.0.0.1:$page/empty.wasm")" application/wasm
    same "a font" "$(field content-type "http://127.0.0.1:$page/font.ttf")" font/ttf
    same "kept for an hour" "$(field cache-control "$(shown /kept/a.js)")" max-age=3600
    same "asked for each time" "$(field cache-control "$(shown /kept/a.html)")" no-cache
    same "not said" "$(field cache-control "$(shown /small.txt)")" ''
}
check "static: types, nosniff, Cache-Control by pattern" shown_types

shown_ranges() {
    files_py ranges "$shown" /300k.bin "$root/300k.bin"
    files_py ranges "$shown" /text.txt "$root/text.txt"
    files_py ranges "$shown" /style.css "$root/style.css"
    same "of nothing" "$(code site -r 0-0 "$(shown /empty.txt)")" 200
    same "by HTTP/2" "$(by tls /20m.bin -r 100-1099 | sum)" "$(tail -c +101 "$root/20m.bin" | head -c 1000 | sum)"
    same "several by HTTP/2" "$(by tls /20m.bin -r 0-9,100-109 -o /dev/null -w '%{http_code}')" 206
}
check "static: ranges of every kind, 416, If-Range, compared with the bytes on disk" shown_ranges

shown_conditions() {
    local tag
    files_py conditions "$shown" /300k.bin
    files_py conditions "$shown" /small.txt
    site --etag-save "$dir/tag" -o /dev/null "$(shown /20m.bin)"
    same "--etag-compare" "$(site --etag-compare "$dir/tag" -o /dev/null -w '%{http_code} %{size_download}' "$(shown /20m.bin)")" "304 0"
    same "--time-cond" "$(code site -z "$(date -R -d '1 day ago')" "$(shown /20m.bin)")" 304
    same "--time-cond, before" "$(code site -z "$(date -R -d '9 days ago')" "$(shown /20m.bin)")" 200
    tag=$(field etag "$(shown /small.txt)")
    same "by HTTP/2" "$(code by tls /small.txt -H "If-None-Match: $tag")" 304
}
check "static: every condition, by HTTP's order" shown_conditions

# coded ACCEPT WANTED PATH: how it comes to who asks so, and that it is the file nevertheless.
coded() {
    local head found vary=accept-encoding
    head=$(site --compressed -H "Accept-Encoding: $1" -D - -o "$dir/decoded" "$(shown "$3")" | tr -d '\r')
    found=$(sed -n 's/^content-encoding: //Ip' <<<"$head")
    same "coding of $3 for '$1'" "${found:-none}" "$2"
    same "what comes of $3 for '$1'" "$(sum "$dir/decoded")" "$(sum "$root$3")"
    like "Vary of $3 for '$1'" "$head" "^vary: .*$vary"
    same "HEAD of $3 for '$1'" "$(field content-encoding -I -H "Accept-Encoding: $1" "$(shown "$3")")" "${found}"
    if [[ $2 == none ]]; then
        like "tag of $3 for '$1'" "$head" '^etag: "'
        like "its parts" "$head" '^accept-ranges: bytes'
    else
        like "tag of $3 for '$1'" "$head" '^etag: W/"'
        if grep -qi '^accept-ranges: bytes' <<<"$head"; then echo "parts of $3 for '$1'"; return 1; fi
    fi
}

shown_codings() {
    local path tag
    # Compressed on its way, and compressed whole and kept; twice, for what was kept.
    for path in /text.txt /style.css /style.css; do
        coded br br "$path"
        coded zstd zstd "$path"
        coded gzip gzip "$path"
        coded BR br "$path"
        coded 'gzip;q=1, br;q=0.5' gzip "$path"
        coded 'br;q=0.2, gzip;q=0.3, zstd;q=0.1' gzip "$path"
        coded 'br;q=0, gzip' gzip "$path"
        coded '*;q=0.5, br;q=0, zstd;q=0' gzip "$path"
        coded identity none "$path"
        coded deflate none "$path"
        coded 'br;q=0, gzip;q=0, zstd;q=0' none "$path"
        coded '' none "$path"
        tag=$(field etag -H 'Accept-Encoding: gzip' "$(shown "$path")")
        same "not modified" "$(code site -H 'Accept-Encoding: gzip' -H "If-None-Match: $tag" "$(shown "$path")")" 304
        same "a part is of the file" "$(site -H 'Accept-Encoding: gzip' -r 5-14 "$(shown "$path")" | sum)" \
            "$(tail -c +6 "$root$path" | head -c 10 | sum)"
    done
    for path in /20m.bin /small.txt; do
        same "$path is not compressed" "$(field content-encoding -H 'Accept-Encoding: gzip, br' -I "$(shown "$path")")" ''
    done
    same "by HTTP/2" "$(by tls /text.txt --compressed -H 'Accept-Encoding: br' | sum)" "$(sum "$root/text.txt")"
    same "to HTTP/1.0" "$(site -0 --compressed -H 'Accept-Encoding: gzip' "$(shown /text.txt)" | sum)" "$(sum "$root/text.txt")"
}
check "static: br, zstd and gzip by q-value, with Vary, and back again" shown_codings

shown_siblings() {
    local head
    site -H 'Accept-Encoding: gzip, br' -D "$dir/head" -o "$dir/raw" "$(shown /right.js)"
    head=$(tr -d '\r' <"$dir/head")
    like coding "$head" '^content-encoding: br'
    like type "$head" '^content-type: text/javascript'
    like tag "$head" '^etag: "[0-9a-f]+-[0-9a-f]+-br"'
    like Vary "$head" '^vary: .*accept-encoding'
    cmp "$dir/raw" "$root/right.js.br"
    same gzip "$(site -H 'Accept-Encoding: gzip' "$(shown /right.js)" | sum)" "$(sum "$root/right.js.gz")"
    same "its parts" "$(site -H 'Accept-Encoding: gzip' -r 10-19 -w '%{http_code}' "$(shown /right.js)" | sum)" \
        "$( (tail -c +11 "$root/right.js.gz" | head -c 10; printf 206) | sum)"
    same "to who takes none" "$(site "$(shown /right.js)" | sum)" "$(sum "$root/right.js")"
    head=$(field etag -H 'Accept-Encoding: br' "$(shown /right.js)")
    same "not modified" "$(code site -H 'Accept-Encoding: br' -H "If-None-Match: $head" "$(shown /right.js)")" 304
    same "the tag of another form" "$(code site -H "If-None-Match: $head" "$(shown /right.js)")" 200
    same "a stale one" "$(site --compressed -H 'Accept-Encoding: gzip' "$(shown /stale.js)" | sum)" "$(sum "$root/stale.js")"
    same "a stale one's tag" "$(field etag -H 'Accept-Encoding: br' "$(shown /stale.js)" | grep -c -- '-br')" 0
    # What it was made of is written anew: within the moment that is promised it is not sent any more.
    echo 'console.log("new")' >"$root/right.js"
    within 3 eval '[[ $(site --compressed -H "Accept-Encoding: gzip" "$(shown /right.js)") == "console.log(\"new\")" ]]'
}
check "static: what lies compressed beside a file is sent, what is stale is not" shown_siblings

shown_app() {
    local path
    for path in /app/ /app/inbox /app/inbox/7 '/app/a?b=c.d'; do
        like "$path" "$(site -i "$(shown "$path")")" '^HTTP/1.1 200|<title>App'
        like "$path" "$(site "$(shown "$path")")" '<title>App'
    done
    like "a file of it" "$(site "$(shown /app/app.js)")" 'console'
    for path in /app/gone.js /app/inbox/gone.png /app/.env; do
        same "$path" "$(code site "$(shown "$path")")" 404
    done
}
check "static: the page of an application, and a missing picture is still 404" shown_app

shown_listing() {
    files_py listing "$shown" /listed/ "$dir/folders/listed"
    same "without its slash" "$(field location "$(shown /listed/deep)")" /listed/deep/
    same "an empty one" "$(code site "$(shown /listed/empty/)")" 200
    same "a hidden one" "$(code site "$(shown /listed/.none/)")" 404
    same "a pipe" "$(code site --max-time 5 "$(shown /listed/pipe)")" 404
    same "a link that leads out" "$(code site "$(shown /listed/out/small.txt)")" 404
    same "a link that leads inside" "$(site "$(shown /listed/in/deep.txt)")" deep
    like "what may run" "$(field content-security-policy "$(shown /listed/)")" "default-src 'none'"
}
check "static: a listing in HTML and JSON: each name leads to its file" shown_listing

shown_errors() {
    local head
    head=$(site -i "$(shown /pages/none)" | tr -d '\r')
    like status "$head" '^HTTP/1.1 404'
    like page "$head" 'Nothing here'
    like type "$head" '^content-type: text/html'
    same HEAD "$(code site -I "$(shown /pages/none)")" 404
    same "a part" "$(code site -r 0-3 "$(shown /pages/none)")" 404
    same "a condition" "$(code site -H 'If-None-Match: *' "$(shown /pages/none)")" 404
    same "itself" "$(code site "$(shown /pages/404.html)")" 200
    same "by HTTP/2" "$(code by h2c /pages/none)" 404
}
check "static: an error's page, with its true status" shown_errors

shown_origins() {
    local head asked=(-X OPTIONS -H 'Access-Control-Request-Method: GET' -H 'Access-Control-Request-Headers: range')
    head=$(site -i "${asked[@]}" -H 'Origin: https://a.test' "$(shown /open/small.txt)" | tr -d '\r')
    like preflight "$head" '^HTTP/1.1 20[04]'
    like "its origin" "$head" '^access-control-allow-origin: (\*|https://a.test)$'
    like "its methods" "$head" '^access-control-allow-methods: .*GET'
    like "its fields" "$head" '^access-control-allow-headers: .*(range|\*)'
    same "an answer" "$(field access-control-allow-origin -H 'Origin: https://a.test' "$(shown /open/small.txt)" | sed 's/https:.*/*/')" '*'
    same "a friend" "$(field access-control-allow-origin -H 'Origin: https://friend.test' "$(shown /friends/small.txt)")" https://friend.test
    like "for whom it is" "$(field vary -H 'Origin: https://friend.test' "$(shown /friends/small.txt)")" origin
    same "a stranger" "$(field access-control-allow-origin -H 'Origin: https://a.test' "$(shown /friends/small.txt)")" ''
    same "who does not tell" "$(field access-control-allow-origin -H 'Origin: https://a.test' "$(shown /small.txt)")" ''
}
check "static: pages of other origins, by preflight and without" shown_origins

shown_users() {
    local head
    head=$(site -i "$(shown /private/small.txt)")
    like nobody "$head" '^HTTP/1.1 401'
    like challenge "$head" '^www-authenticate: basic '
    same "a wrong password" "$(code site -u alice:close "$(shown /private/small.txt)")" 401
    same "a wrong name" "$(code site -u 'bob:open sesame' "$(shown /private/small.txt)")" 401
    same "the right ones" "$(site -u 'alice:open sesame' "$(shown /private/small.txt)")" small
    same "what is not there tells nothing" "$(code site "$(shown /private/none)")" 401
    same wget "$(wget -q -O - --user alice --password 'open sesame' "$(shown /private/small.txt)")" small
    same "a part" "$(site -u 'alice:open sesame' -r 0-1 "$(shown /private/small.txt)")" sm
}
check "static: users of a route: 401, and 200" shown_users
