# curl through the forward proxy: methods, bodies, connections, CONNECT and SOCKS. Sourced by interop,
# with the words of proxy.sh.

get() {
    same body "$(http "http://127.0.0.1:$origin/hello")" hello
    same "from nginx" "$(http "http://127.0.0.1:$web/20m.bin" | sum)" "$(sum "$dir/www/20m.bin")"
    same "from http.server" "$(http "http://127.0.0.1:$static/20m.bin" | sum)" \
        "$(sum "$dir/www/20m.bin")"
    same "by name" "$(http "http://localhost:$origin/hello")" hello
    same "not found" "$(code http "http://127.0.0.1:$origin/none")" 404
}
check "curl GET" get

head_() {
    local answer
    answer=$(http -I "http://127.0.0.1:$web/20m.bin")
    like status "$answer" '^HTTP/1.1 200'
    like length "$answer" '^content-length: 20971520'
}
check "curl HEAD" head_

via() {
    like "to the origin" "$(http "http://127.0.0.1:$origin/head")" '^via: .*risefall'
    like "to the client" "$(http -i "http://127.0.0.1:$origin/hello")" '^via: .*risefall'
    local head
    head=$(http -H 'Connection: x-mine' -H 'X-Mine: 1' -H 'Proxy-Authorization: Basic eDp5' \
        -H 'TE: deflate' -H 'Keep-Alive: 5' "http://127.0.0.1:$origin/head")
    if grep -Ei '^(x-mine|proxy-|keep-alive|te:)' <<<"$head"; then return 1; fi
}
check "Via is told, fields of one hop are not passed on" via

post_chunked() {
    local answer
    answer=$(http -H 'Transfer-Encoding: chunked' --data-binary @- "http://127.0.0.1:$origin/" \
        <"$dir/www/20m.bin")
    same answer "$answer" "$(sum "$dir/www/20m.bin") 20971520 chunked"
}
check "curl POST of 20 MB, chunked" post_chunked

post_length() {
    local answer
    answer=$(http --data-binary "@$dir/www/20m.bin" "http://127.0.0.1:$origin/")
    same answer "$answer" "$(sum "$dir/www/20m.bin") 20971520 length"
}
check "curl POST of 20 MB, with its length" post_length

continue_() {
    local trace
    trace=$(http -v -H 'Expect: 100-continue' --data-binary "@$dir/www/text.txt" \
        "http://127.0.0.1:$origin/" 2>&1)
    like interim "$trace" '^< HTTP/1.1 100'
    like answer "$trace" "$(sum "$dir/www/text.txt")"
}
check "curl waits for 100 Continue" continue_

keep_alive() {
    local trace
    trace=$(http -v "http://127.0.0.1:$origin/hello" --next \
        -sS -v -x "http://127.0.0.1:$proxy" -o /dev/null "http://127.0.0.1:$web/text.txt" --next \
        -sS -v -x "http://127.0.0.1:$proxy" "http://localhost:$origin/hello" 2>&1)
    same "answers of 200" "$(grep -c '^< HTTP/1.1 200' <<<"$trace")" 3
    same connections "$(grep -Ec 'Connected to|Established connection' <<<"$trace")" 1
}
check "one connection for several hosts" keep_alive

pool() {
    local first second
    # Which worker has a client is the kernel's choice: one client connection, so one worker.
    read -r first second <<<"$(http "http://127.0.0.1:$origin/peer" \
        "http://127.0.0.1:$origin/peer" | tr '\n' ' ')"
    same "the origin's peer" "$second" "$first"
}
check "a connection to the origin is used again" pool

ranges() {
    same range "$(http -r 100-1099 "http://127.0.0.1:$web/20m.bin" | sum)" \
        "$(tail -c +101 "$dir/www/20m.bin" | head -c 1000 | sum)"
    head -c 5000000 "$dir/www/20m.bin" >"$dir/part.bin"
    http -C - -o "$dir/part.bin" "http://127.0.0.1:$web/20m.bin"
    same resumed "$(sum "$dir/part.bin")" "$(sum "$dir/www/20m.bin")"
}
check "ranges and resuming" ranges

gzip_() {
    local head
    head=$(http -D - -o "$dir/text.gz" -H 'Accept-Encoding: gzip' "http://127.0.0.1:$web/text.txt")
    like field "$head" '^content-encoding: gzip'
    same unpacked "$(gzip -dc <"$dir/text.gz" | sum)" "$(sum "$dir/www/text.txt")"
    same "by curl" "$(http --compressed "http://127.0.0.1:$web/text.txt" | sum)" \
        "$(sum "$dir/www/text.txt")"
}
check "gzip passes as it is" gzip_

old() {
    same body "$(http -0 "http://127.0.0.1:$origin/hello")" hello
    # What the origin sends in chunks, this client can only read to the end of the connection.
    same chunks "$(http -0 "http://127.0.0.1:$origin/drip?pieces=3&pause=0" | tr '\n' ' ')" "0 1 2 "
    same post "$(http -0 --data-binary "@$dir/www/20m.bin" "http://127.0.0.1:$origin/")" \
        "$(sum "$dir/www/20m.bin") 20971520 length"
}
check "an HTTP/1.0 client" old

streaming() {
    local times
    times=$(http -N -o /dev/null -w '%{time_starttransfer} %{time_total}' \
        "http://127.0.0.1:$origin/drip?pieces=5&pause=0.2")
    streamed "by HTTP/1.1" "$times"
}
check "a chunked answer is streamed, not gathered" streaming

slow() {
    local out
    out=$(http -r 0-2999999 -o "$dir/slow.bin" -w '%{time_total}' "http://127.0.0.1:$web/slow/20m.bin")
    same body "$(sum "$dir/slow.bin")" "$(head -c 3000000 "$dir/www/20m.bin" | sum)"
    awk -v t="$out" 'BEGIN { exit !(t > 1.5) }' || { echo "took $out s"; return 1; }
}
check "a slow answer from nginx" slow

connect_http() {
    same GET "$(tunnel "http://127.0.0.1:$web/20m.bin" | sum)" "$(sum "$dir/www/20m.bin")"
    same POST "$(tunnel --data-binary "@$dir/www/20m.bin" "http://127.0.0.1:$origin/")" \
        "$(sum "$dir/www/20m.bin") 20971520 length"
}
check "curl CONNECT to an http origin" connect_http

connect_https() {
    local known=(--cacert "$dir/ca.pem")
    same GET "$(http "${known[@]}" "https://127.0.0.1:$tls/20m.bin" | sum)" \
        "$(sum "$dir/www/20m.bin")"
    same "by name" "$(http "${known[@]}" "https://localhost:$tls/text.txt" | sum)" \
        "$(sum "$dir/www/text.txt")"
    fails 60 http "https://127.0.0.1:$tls/text.txt"
}
check "curl CONNECT to an https origin" connect_https

socks5() {
    same address "$(curl -sS --socks5 "127.0.0.1:$proxy" "http://127.0.0.1:$web/20m.bin" | sum)" \
        "$(sum "$dir/www/20m.bin")"
    same name "$(socks --cacert "$dir/ca.pem" "https://localhost:$tls/20m.bin" | sum)" \
        "$(sum "$dir/www/20m.bin")"
    same POST "$(socks --data-binary "@$dir/www/20m.bin" "http://localhost:$origin/")" \
        "$(sum "$dir/www/20m.bin") 20971520 length"
}
check "curl --socks5 and --socks5-hostname" socks5

socks4() {
    fails 97 curl -sS --max-time 5 --socks4 "127.0.0.1:$proxy" "http://127.0.0.1:$origin/hello"
    fails 97 curl -sS --max-time 5 --socks4a "127.0.0.1:$proxy" "http://localhost:$origin/hello"
}
check "SOCKS4 is refused cleanly" socks4
