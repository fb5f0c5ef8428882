# Other clients through the forward proxy, and what lasts long or is large. Sourced by interop, with
# the words of proxy.sh.

wget_() {
    export http_proxy=http://127.0.0.1:$proxy https_proxy=http://127.0.0.1:$proxy
    wget -q -O "$dir/wget.bin" "http://127.0.0.1:$web/20m.bin"
    same http "$(sum "$dir/wget.bin")" "$(sum "$dir/www/20m.bin")"
    wget -q --ca-certificate "$dir/ca.pem" -O "$dir/wget.txt" "https://localhost:$tls/text.txt"
    same https "$(sum "$dir/wget.txt")" "$(sum "$dir/www/text.txt")"
    head -c 5000000 "$dir/www/20m.bin" >"$dir/wget.bin"
    wget -q -c -O "$dir/wget.bin" "http://127.0.0.1:$web/20m.bin"
    same resumed "$(sum "$dir/wget.bin")" "$(sum "$dir/www/20m.bin")"
}
check "wget, both schemes, resuming" wget_

git_() {
    export http_proxy=http://127.0.0.1:$proxy
    local tip
    tip=$(git -C "$dir/work" rev-parse HEAD)
    git clone -q "http://127.0.0.1:$static/dumb/it.git" "$dir/dumb"
    same "dumb clone" "$(git -C "$dir/dumb" rev-parse HEAD)" "$tip"
    git clone -q "http://127.0.0.1:$origin/git/it.git" "$dir/smart"
    same "smart clone" "$(git -C "$dir/smart" rev-parse HEAD)" "$tip"
    # More than http.postBuffer: git sends it chunked.
    head -c 3M /dev/urandom >"$dir/smart/new"
    git -C "$dir/smart" add new
    git -C "$dir/smart" -c user.name=a -c user.email=a@b.test commit -q -m third
    git -C "$dir/smart" push -q origin HEAD
    same push "$(git -C "$dir/git/it.git" rev-parse HEAD)" "$(git -C "$dir/smart" rev-parse HEAD)"
}
check "git clone and push" git_

over_ssh() {
    local options=(-i "$dir/user_key" -o "UserKnownHostsFile=$dir/known_hosts" -p "$sshd"
        -o StrictHostKeyChecking=yes -o BatchMode=yes -o ConnectTimeout=10 -F none
        -o "ProxyCommand=nc -X $1 -x 127.0.0.1:$proxy %h %p" "$(id -un)@127.0.0.1")
    same command "$(ssh "${options[@]}" echo there)" there
    # shellcheck disable=SC2029 # The path is known on this side, and the same there.
    same download "$(ssh "${options[@]}" cat "$dir/www/20m.bin" | sum)" "$(sum "$dir/www/20m.bin")"
    same upload "$(ssh "${options[@]}" sha256sum <"$dir/www/20m.bin" | cut -d' ' -f1)" \
        "$(sum "$dir/www/20m.bin")"
}
ssh_socks() { over_ssh 5; }
ssh_connect() { over_ssh connect; }
check "ssh through SOCKS5: a command, 20 MB each way" ssh_socks
check "ssh through CONNECT: a command, 20 MB each way" ssh_connect

redis_() {
    local kind
    for kind in socks5 http; do
        printf 'strict_chain\nquiet_mode\n[ProxyList]\n%s 127.0.0.1 %s\n' \
            "$kind" "$proxy" >"$dir/chain.conf"
        local through=(proxychains4 -q -f "$dir/chain.conf" redis-cli -p "$redis")
        same "$kind SET" "$("${through[@]}" set "key $kind" "value $kind")" OK
        same "$kind GET" "$("${through[@]}" get "key $kind")" "value $kind"
        same "$kind pipe" "$(seq 2000 | sed 's/.*/INCRBY sum &/' | "${through[@]}" | tail -1)" \
            2001000
        "${through[@]}" del sum
    done
}
check "redis-cli through SOCKS5 and CONNECT" redis_

websocket() {
    same echoes "$("$websockets" "$parts/forward/echo.py" send "$echo" "http://127.0.0.1:$proxy" 1000)" \
        "1000 echoes"
}
check "WebSocket through CONNECT: 1000 messages" websocket

half_close() {
    # nc shuts its sending side at the end of its input, and still wants the answer.
    local kind answer
    for kind in 5 connect; do
        answer=$(printf 'GET /hello HTTP/1.0\r\n\r\n' |
            nc -N -w 5 -X "$kind" -x "127.0.0.1:$proxy" 127.0.0.1 "$origin")
        like "$kind" "$answer" '^hello'
    done
    answer=$(printf 'GET http://127.0.0.1:%s/drip?pieces=2&pause=0.3 HTTP/1.1\r\nhost: a\r\n\r\n' \
        "$origin" | nc -N -w 5 127.0.0.1 "$proxy")
    like plain "$answer" '^1'
}
check "a client that shuts its side still gets the answer" half_close

gigabyte() {
    local before
    before=$(memory "$main_pid" VmHWM)
    same http "$(http -o /dev/null -w '%{size_download}' "http://127.0.0.1:$web/1g.bin")" 1073741824
    same CONNECT "$(tunnel -o /dev/null -w '%{size_download}' "http://127.0.0.1:$web/1g.bin")" \
        1073741824
    # One that reads slowly: what the origin could send meanwhile must not pile up.
    http --limit-rate 20M --max-time 2 -o /dev/null "http://127.0.0.1:$web/1g.bin" 2>/dev/null || true
    tunnel --limit-rate 20M --max-time 2 -o /dev/null "http://127.0.0.1:$web/1g.bin" 2>/dev/null ||
        true
    less "growth of VmHWM in kB, from $before" "$(($(memory "$main_pid" VmHWM) - before))" 8192
}
check "1 GB by HTTP and by CONNECT, in constant memory" gigabyte
