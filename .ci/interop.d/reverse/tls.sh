# Sites by TLS, and servers by TLS. Sourced by interop, with the words of sites.sh.

client() { openssl s_client -connect "127.0.0.1:$secure" -CAfile "$dir/ca.pem" "$@" 2>&1; }
serial() { openssl x509 -noout -serial -in "$dir/$1.pem" | cut -d= -f2; }
presented() { client -servername "$1" </dev/null | openssl x509 -noout -serial | cut -d= -f2; }

tls_versions() {
    local url=https://shop.test:$secure/text.txt wanted
    same HTTP/1.1 "$(secure --http1.1 -o /dev/null -w '%{http_code} %{http_version}' "$url")" "200 1.1"
    same HTTP/2 "$(secure --http2 -o /dev/null -w '%{http_code} %{http_version}' "$url")" "200 2"
    same "body by 1.2" "$(secure --tls-max 1.2 "$url" | sum)" "$(sum "$dir/www/text.txt")"
    same "body by 1.3" "$(secure --tlsv1.3 "$url" | sum)" "$(sum "$dir/www/text.txt")"
    fails 35 secure --tls-max 1.1 "$url" 2>/dev/null
    wanted=$(secure --http2 --data-binary "@$dir/www/20m.bin" "https://shop.test:$secure/origin/" | cut -d' ' -f1)
    same "POST by HTTP/2" "$wanted" "$(sum "$dir/www/20m.bin")"
    like proto "$(secure "https://shop.test:$secure/origin/head")" '^x-forwarded-proto: https'
}
check "reverse: TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, by curl" tls_versions

tls_names() {
    same exact "$(presented shop.test)" "$(serial shop)"
    same wildcard "$(presented www.shop.test)" "$(serial shop)"
    same other "$(presented other.test)" "$(serial other)"
    same unknown "$(presented unknown.test)" "$(serial other)"
    same "no name" "$(client -noservername </dev/null | openssl x509 -noout -serial | cut -d= -f2)" \
        "$(serial other)"
    like verified "$(client -servername other.test -verify_hostname other.test </dev/null)" \
        'Verify return code: 0'
    # The right site by each name; over one connection, another certificate's host is not answered.
    same "the other site" "$(secure "https://other.test:$secure/")" other
    same "another host, h1" "$(code secure --http1.1 -H 'Host: other.test' "https://shop.test:$secure/")" 421
    same "another host, h2" "$(code secure --http2 -H 'Host: other.test' "https://shop.test:$secure/")" 421
    same "covered, h1" "$(code secure --http1.1 -H 'Host: a.shop.test' "https://shop.test:$secure/text.txt")" 200
}
check "reverse: SNI chooses the certificate, 421 for what it does not cover" tls_names

redirects() {
    local head
    head=$(site -i -H 'Host: shop.test' "http://127.0.0.1:$redirected/a/b?c=d" | tr -d '\r')
    like status "$head" '^HTTP/1.1 308'
    like location "$head" "^location: https://shop.test:$secure/a/b\?c=d\$"
    same unknown "$(code site -H 'Host: unknown.test' "http://127.0.0.1:$redirected/")" 404
    # Plain HTTP to where TLS is spoken: an end, and no harm.
    site "http://127.0.0.1:$secure/" -o /dev/null 2>/dev/null && return 1
    same afterwards "$(code secure "https://shop.test:$secure/text.txt")" 200
}
check "reverse: plain HTTP is sent to TLS" redirects

resumes() {
    local version request='GET /text.txt HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n' said
    for version in -tls1_2 -tls1_3; do
        printf %b "$request" | client "$version" -servername shop.test -ign_eof -sess_out "$dir/session" >"$dir/first"
        like "$version first" "$(grep -a '^New, ' "$dir/first")" '^New, '
        printf %b "$request" | client "$version" -servername shop.test -ign_eof -sess_in "$dir/session" >"$dir/again"
        like "$version again" "$(grep -aE '^(New|Reused), ' "$dir/again")" '^Reused, '
        like "$version answer" "$(grep -a '^HTTP/1.1 ' "$dir/again")" ' 200 '
    done
    said=$(client -tls1_2 -servername shop.test -reconnect </dev/null | grep -acE '^Reused, ')
    same "times of -reconnect" "$said" 5
}
check "reverse: sessions are resumed, by TLS 1.2 and 1.3" resumes

post_quantum() {
    if ! client -groups X25519MLKEM768 -servername shop.test </dev/null >"$dir/kem"; then
        grep -q 'Call to SSL_CONF_cmd' "$dir/kem" && { note "this openssl has no X25519MLKEM768"; return; }
    fi
    like group "$(cat "$dir/kem")" 'X25519MLKEM768'
}
check "reverse: X25519MLKEM768, if this openssl has it" post_quantum

exchanged() {
    local before now
    before=$(generation front)
    certificate shop shop.test '*.shop.test'
    now=$(serial shop)
    within 2 eval '[[ $(presented shop.test) == '"$now"' ]]' || { echo "still $(presented shop.test), not $now"; return 1; }
    same "the other" "$(presented other.test)" "$(serial other)"
    same generation "$(generation front)" "$before"
    # A key that is not its own changes nothing.
    cp "$dir/shop.key" "$dir/shop.key.kept"
    cp "$dir/other.key" "$dir/shop.key"
    sleep 2.5
    same "after a wrong key" "$(presented shop.test)" "$now"
    mv "$dir/shop.key.kept" "$dir/shop.key"
}
check "reverse: certificate files that are exchanged are shown within 3 s, a wrong pair is not" exchanged

to_tls() {
    same "verified" "$(code site "$(at /tls/text.txt)")" 200
    same "wrong name" "$(code site "$(at /wrong/text.txt)")" 502
    same "unknown root" "$(code site "$(at /unknown/text.txt)")" 502
    if site "$(at /wrong/text.txt)" | grep -E "$back_tls|front.test"; then return 1; fi
    like reason "$(grep /wrong/ "$dir/front-access.log" | tail -1)" 'certificate|tls'
}
check "reverse: TLS to a server: its name and root are verified, else 502" to_tls
