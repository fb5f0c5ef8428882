# Foreign clients and servers on both sides of a reverse proxy. Sourced by interop, with its words
# (start, check, same, ...) and its servers ($web, $static, $origin).
#
# `front` is one process with most of the sites; what is killed, frozen and reloaded under load has
# processes of its own.

# --- Servers and certificates -----------------------------------------------------------------

# What a check wants to be seen though it is well.
exec {notes}>&1
note() { echo "# $*" >&"$notes"; }

# A certificate authority, for what is shown to clients and what servers show.
make_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=interop' \
        -addext 'keyUsage=critical,keyCertSign' -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
}

# certificate NAME NAMES...: NAME.pem and NAME.key, for these names.
certificate() {
    local name=$1 names
    shift
    printf -v names 'DNS:%s,' "$@"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$dir/$name.key.new" -out "$dir/$name.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 2 \
        -set_serial "0x1$(openssl rand -hex 8)" -out "$dir/$name.pem.new" 2>/dev/null \
        -extfile <(echo "subjectAltName=${names%,}")
    mv "$dir/$name.key.new" "$dir/$name.key"
    mv "$dir/$name.pem.new" "$dir/$name.pem"
}

nginx_conf() {
    cat <<CONF
daemon off;
master_process off;
$( ((EUID != 0)) || echo 'user root;')
pid $dir/$1.pid;
events { worker_connections 12000; }
http {
    access_log off;
    client_body_temp_path $dir/$1-body;
    proxy_temp_path $dir/nginx-proxy;
    fastcgi_temp_path $dir/nginx-fastcgi;
    uwsgi_temp_path $dir/nginx-uwsgi;
    scgi_temp_path $dir/nginx-scgi;
    client_max_body_size 0;
    keepalive_requests 1000000;
CONF
}

# One that speaks all: HTTP/1.1 on $web, HTTP/2 on $back_h2c, both by TLS on $back_tls.
start_back() {
    mkdir -p "$dir/put"
    {
        nginx_conf back
        cat <<CONF
    types { text/html html; text/plain txt; }
    gzip on;
    gzip_types text/plain;
    gzip_http_version 1.1;
    gzip_proxied any;
    root $dir/www;
    server {
        listen 127.0.0.1:$back;
        location /say/ { return 200 \$request_uri; }
        location /put/ { alias $dir/put/; dav_methods PUT; }
    }
    server {
        listen 127.0.0.1:$back_h2c http2;
        location /say/ { return 200 \$request_uri; }
        http2_max_requests 1000000;
        location /put/ { alias $dir/put/; dav_methods PUT; }
    }
    server {
        listen 127.0.0.1:$back_tls ssl http2;
        ssl_certificate $dir/back.pem;
        ssl_certificate_key $dir/back.key;
    }
}
CONF
    } >"$dir/back.conf"
    start back nginx -p "$dir" -e "$dir/back.log" -c "$dir/back.conf"
    within 10 listens "$back"
}

# start_member NAME PORT [http2]: a small one that says its name, and is ill while $dir/ill-NAME is there.
start_member() {
    {
        nginx_conf "$1"
        cat <<CONF
    server {
        listen 127.0.0.1:$2 ${3-} backlog=1024;
        location / { return 200 "$1\n"; }
        location = /healthz {
            if (-f $dir/ill-$1) { return 503; }
            return 204;
        }
    }
}
CONF
    } >"$dir/$1.conf"
    start "$1" nginx -p "$dir" -e "$dir/$1.log" -c "$dir/$1.conf"
    within 10 listens "$2"
}

make_page() {
    cat >"$dir/www/page.html" <<'PAGE'
<!doctype html><link rel=icon href=data:,><title>A page</title><script>
window.said = [];
const socket = new WebSocket(`wss://${location.host}/socket`);
socket.onmessage = (event) => said.push(event.data);
socket.onopen = () => socket.send("from the page");
</script>
PAGE
}

# --- The process with most of the sites -------------------------------------------------------

front_conf() {
    cat <<CONF
[process]
threads = 2
[admin]
listen = "unix:$dir/front.sock"
[log]
access = "$dir/front-access.log"
[limits]
header_timeout = "1s"
handshake_timeout = "2s"
idle_per_origin = 64

[site.plain]
listen = "127.0.0.1:$plain"
h2c = true
$(route / origin false)
$(route /static static)
$(route /web back)
$(route /h2c back-h2c)
$(route /tls back-tls)
$(route /wrong back-wrong)
$(route /unknown back-unknown)
$(route /ends trailers)
$(route /gone gone)
$(route /socket socket false)
$(route /brief socket)
idle_timeout = "1s"
$(route /events events false)
$(route /risefall.Test rpc false)
$(route /liar liar)
$(route /small origin)
body_limit = "1KiB"

[site.named]
listen = "127.0.0.1:$named"
hosts = ["named.test", "*.named.test"]
$(site_route named / back false)

[site.rules]
listen = "127.0.0.1:$named"
hosts = ["rules.test"]
trusted = ["127.0.0.2"]
$(site_route rules /head origin false)
[[site.rules.route]]
path = "/api"
methods = ["POST", "PUT"]
headers = { x-version = "2" }
upstream = "origin"
strip_prefix = "/api"
add_prefix = "/v2"
host = "inner.test"
response_headers = { set = { x-set = "1" }, remove = ["server"] }
[[site.rules.route]]
path = "/api/read"
methods = ["GET"]
upstream = "origin"
strip_prefix = "/api/read"
request_headers = { set = { x-given = "yes" }, remove = ["user-agent"] }
[[site.rules.route]]
exact = "/old"
redirect = { to = "https://{host}/new{query}", status = 301 }
[[site.rules.route]]
path = "/closed"
respond = { status = 410, body = "no more\n" }

[site.shop]
listen = "127.0.0.1:$redirected"
hosts = ["shop.test", "*.shop.test"]
tls = { cert = "shop.pem", key = "shop.key", listen = "127.0.0.1:$secure" }
$(site_route shop / back false)
$(site_route shop /origin origin)
$(site_route shop /h2c back-h2c)
$(site_route shop /socket socket false)
$(site_route shop /risefall.Test rpc false)

[site.other]
listen = "127.0.0.1:$redirected"
hosts = ["other.test"]
tls = { cert = "other.pem", key = "other.key", listen = "127.0.0.1:$secure" }
[[site.other.route]]
respond = { body = "other\n" }

[upstream]
origin.servers = ["127.0.0.1:$origin"]
static.servers = ["127.0.0.1:$static"]
back.servers = ["127.0.0.1:$back"]
back-h2c = { servers = ["127.0.0.1:$back_h2c"], http = "h2" }
back-tls = { servers = ["localhost:$back_tls"], tls = { roots = "ca.pem", name = "back.test" } }
back-wrong = { servers = ["localhost:$back_tls"], tls = { roots = "ca.pem", name = "front.test" } }
back-unknown = { servers = ["localhost:$back_tls"], tls = { name = "back.test" } }
trailers = { servers = ["127.0.0.1:$trailers"], http = "h2" }
gone = { servers = ["127.0.0.1:$closed"] }
socket.servers = ["127.0.0.1:$socket"]
events.servers = ["127.0.0.1:$events"]
liar = { servers = ["127.0.0.1:$liar"], max_fails = 255 }
rpc = { servers = ["127.0.0.1:$rpc"], http = "h2" }
CONF
}

# site_route SITE PATH UPSTREAM [false]: with its prefix taken away, or not.
site_route() {
    printf '[[site.%s.route]]\npath = "%s"\nupstream = "%s"\n' "$1" "$2" "$3"
    [[ ${4-} == false ]] || printf 'strip_prefix = "%s"\n' "$2"
}
route() { site_route plain "$@"; }

# start_sites NAME: what NAME.toml says.
start_sites() {
    start "$1" "$risefall" run -c "$dir/$1.toml"
    within 10 grep -q '^  try it' "$dir/$1.err" || { cat "$dir/$1.err" >&2; return 1; }
}

site() { curl -sS --max-time 60 "$@"; }
at() { echo "http://127.0.0.1:$plain$1"; }
# By TLS, to the names of the certificates.
secure() {
    site --cacert "$dir/ca.pem" --resolve "shop.test:$secure:127.0.0.1" \
        --resolve "www.shop.test:$secure:127.0.0.1" --resolve "other.test:$secure:127.0.0.1" "$@"
}
# memory PID WHICH: VmRSS or VmHWM, in kB.
memory() { sed -n "s/^$2:[^0-9]*\([0-9]*\) kB/\1/p" "/proc/$1/status"; }

make_authority
certificate back back.test
certificate shop shop.test '*.shop.test'
certificate other other.test
make_page
read -r plain named secure redirected back back_h2c back_tls trailers one two three four closed <<<"$(free_ports 13)"
start_back
start trailers nghttpd -a 127.0.0.1 --no-tls -d "$dir/www" --trailer 'x-end: here' "$trailers"
start_port socket "$websockets" "$parts/sockets.py" serve
socket=$port
start_port events "$websockets" "$parts/sockets.py" events
events=$port
start_port liar python3 "$parts/liar.py"
liar=$port
start_port rpc "$websockets" "$parts/rpc.py" serve
rpc=$port rpc_pid=$pid
front_conf >"$dir/front.toml"
start_sites front
front=$pid

# --- curl -------------------------------------------------------------------------------------

one_line() {
    local pid line_port server
    for server in "$static" "$back"; do
        start line "$risefall" reverse --to "127.0.0.1:$server" --listen 127.0.0.1:0 --admin off
        within 5 grep -q '^  try it' "$dir/line.err"
        line_port=$(sed -n 's/^  site *http:\/\/127.0.0.1:\([0-9]*\) .*/\1/p' "$dir/line.err")
        same body "$(site "http://127.0.0.1:$line_port/20m.bin" | sum)" "$(sum "$dir/www/20m.bin")"
        same HEAD "$(site -I "http://127.0.0.1:$line_port/20m.bin" | tr -d '\r' |
            sed -n 's/^content-length: //Ip')" 20971520
        like access "$(cat "$dir/line.out")" '/20m.bin.* 200 '
        kill "$pid"
        within 5 gone "$pid"
    done
}
check "reverse --to: Python's http.server, and nginx" one_line

site_get() {
    local to
    for to in /static /web /h2c /tls /ends; do
        same "$to" "$(site "$(at "$to/20m.bin")" | sum)" "$(sum "$dir/www/20m.bin")"
        same "$to not there" "$(code site "$(at "$to/none")")" 404
        same "HEAD $to" "$(site -I "$(at "$to/text.txt")" | tr -d '\r' |
            sed -n 's/^content-length: //Ip')" 1288895
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
    head=$(site -I "$(at /web/20m.bin)" | tr -d '\r')
    same "not modified" "$(code site -H "If-None-Match: $(sed -n 's/^etag: //Ip' <<<"$head")" \
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

# --- TLS --------------------------------------------------------------------------------------

client() { openssl s_client -connect "127.0.0.1:$secure" -CAfile "$dir/ca.pem" "$@" 2>&1; }
serial() { openssl x509 -noout -serial -in "$dir/$1.pem" | cut -d= -f2; }
shown() { client -servername "$1" </dev/null | openssl x509 -noout -serial | cut -d= -f2; }

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
    same exact "$(shown shop.test)" "$(serial shop)"
    same wildcard "$(shown www.shop.test)" "$(serial shop)"
    same other "$(shown other.test)" "$(serial other)"
    same unknown "$(shown unknown.test)" "$(serial other)"
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
        printf "$request" | client "$version" -servername shop.test -ign_eof -sess_out "$dir/session" >"$dir/first"
        like "$version first" "$(grep -a '^New, ' "$dir/first")" '^New, '
        printf "$request" | client "$version" -servername shop.test -ign_eof -sess_in "$dir/session" >"$dir/again"
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
    before=$(ask_front http://localhost/status | generation_of)
    certificate shop shop.test '*.shop.test'
    now=$(serial shop)
    within 2 eval '[[ $(shown shop.test) == '"$now"' ]]' || { echo "still $(shown shop.test), not $now"; return 1; }
    same "the other" "$(shown other.test)" "$(serial other)"
    same generation "$(ask_front http://localhost/status | generation_of)" "$before"
    # A key that is not its own changes nothing.
    cp "$dir/shop.key" "$dir/shop.key.kept"
    cp "$dir/other.key" "$dir/shop.key"
    sleep 2.5
    same "after a wrong key" "$(shown shop.test)" "$now"
    mv "$dir/shop.key.kept" "$dir/shop.key"
}
ask_front() { curl -sS --max-time 10 --unix-socket "$dir/front.sock" "$@"; }
generation_of() { python3 -c 'import json, sys; print(json.load(sys.stdin)["generation"])'; }
check "reverse: certificate files that are exchanged are shown within 3 s, a wrong pair is not" exchanged

to_tls() {
    same "verified" "$(code site "$(at /tls/text.txt)")" 200
    same "wrong name" "$(code site "$(at /wrong/text.txt)")" 502
    same "unknown root" "$(code site "$(at /unknown/text.txt)")" 502
    if site "$(at /wrong/text.txt)" | grep -E "$back_tls|front.test"; then return 1; fi
    like reason "$(grep /wrong/ "$dir/front-access.log" | tail -1)" 'certificate|tls'
}
check "reverse: TLS to a server: its name and root are verified, else 502" to_tls

# --- HTTP/2 -----------------------------------------------------------------------------------

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

# --- gRPC, WebSocket, events ------------------------------------------------------------------

rpc_() { same said "$("$websockets" "$parts/rpc.py" call "127.0.0.1:$plain")" "all well"; }
check "reverse: gRPC: unary, 4 MiB, streams, both ways, statuses, deadline" rpc_

rpc_dead() {
    kill -9 "$rpc_pid"
    like first "$("$websockets" "$parts/rpc.py" dead "127.0.0.1:$plain")" '^UNAVAILABLE'
    for _ in 1 2 3; do "$websockets" "$parts/rpc.py" dead "127.0.0.1:$plain" >/dev/null; done
    like "when it is down" "$("$websockets" "$parts/rpc.py" dead "127.0.0.1:$plain")" '^UNAVAILABLE'
}
check "reverse: gRPC to a server that is gone: UNAVAILABLE" rpc_dead

sockets() { "$websockets" "$parts/sockets.py" "$@"; }
socket_talk() { same said "$(sockets talk "ws://127.0.0.1:$plain/socket")" "all well"; }
check "reverse: WebSocket: text, binary, ping, 1 MB, closing codes of both sides" socket_talk

socket_idle() { same said "$(sockets idle "ws://127.0.0.1:$plain/brief" 1)" ended; }
check "reverse: WebSocket: a route's idle_timeout" socket_idle

socket_reloads() {
    local talker n before
    before=$(ask_front http://localhost/status | generation_of)
    sockets last "ws://127.0.0.1:$plain/socket" "$dir/started" "$dir/sign" >"$dir/last.out" 2>&1 &
    talker=$!
    within 5 test -e "$dir/started"
    for n in $(seq 20); do
        { front_conf; printf '[site.plain%d]\nlisten = "127.0.0.1:0"\n[[site.plain%d.route]]\nrespond = {}\n' "$n" "$n"; } \
            >"$dir/front.toml"
        "$risefall" reload --admin "unix:$dir/front.sock" >"$dir/reload.out" 2>&1 || { cat "$dir/reload.out"; return 1; }
    done
    front_conf >"$dir/front.toml"
    "$risefall" reload --admin "unix:$dir/front.sock" >/dev/null 2>&1
    same generation "$(ask_front http://localhost/status | generation_of)" $((before + 21))
    touch "$dir/sign"
    wait "$talker" || { cat "$dir/last.out"; return 1; }
    like echoes "$(cat "$dir/last.out")" '^[1-9][0-9]+ echoes'
}
check "reverse: WebSocket lives through 21 reloads" socket_reloads

site_events() {
    same h1 "$(sockets hear "$(at /events)")" "5 events"
    local times
    times=$(site -N --http2-prior-knowledge -o /dev/null -w '%{time_starttransfer} %{time_total}' \
        "$(at '/drip?pieces=5&pause=0.2')")
    awk -v t="$times" 'BEGIN { split(t, a); exit !(a[1] < 0.2 && a[2] > 0.7) }' ||
        { echo "by HTTP/2, first byte and end after: $times"; return 1; }
}
check "reverse: server-sent events, each before the next is made" site_events

page_by_tls() {
    local key
    key=$(openssl pkey -in "$dir/shop.key" -pubout -outform der | openssl dgst -sha256 -binary | base64)
    python3 "$parts/secure.py" "$secure" "$key"
}
check "reverse: a page in Chromium by HTTP/2, with a WebSocket" page_by_tls

# --- Servers that fail ------------------------------------------------------------------------

source "$parts/fleet.sh"

lies() {
    local name seen got code n wrong=0
    while read -r name seen; do
        code=0
        got=$(site --max-time 5 -o "$dir/lie" -w '%{http_code}' "$(at "/liar/$name")" 2>/dev/null) || code=$?
        case $seen in
        502) [[ $got == 502 ]] ;;
        cut) [[ $got == 200 && $code != 0 ]] ;;
        stray) [[ $got == 200 && $(<"$dir/lie") == hello || $got == [23]04 ]] ;;
        esac || { echo "$name: status $got, curl's code $code, expected $seen; "; wrong=1; }
        # One client connection, so one worker: it has what was left of the connection before.
        for n in 1 2; do
            got=$(site --max-time 5 "$(at "/liar/$name")" "$(at /liar/good)" -o /dev/null 2>/dev/null | tail -c 4) || true
            [[ $got == good ]] || { echo "after $name: '$got'; "; wrong=1; }
        done
    done < <(python3 "$parts/liar.py" --paths) >"$dir/lies"
    tr -d '\n' <"$dir/lies"
    [[ ! -s $dir/lies ]]
}
check "reverse: servers that lie: 502, or a cut answer; strays are nobody's answer" lies

# Each answer says what it is the answer to.
unmixed() {
    local how n
    for how in "--http1.1 https://shop.test:$secure" "--http2 https://shop.test:$secure" \
        "--http2 https://shop.test:$secure/h2c"; do
        rm -rf "$dir/said-by"
        mkdir "$dir/said-by"
        # shellcheck disable=SC2086
        secure -Z --parallel-max 50 -o "$dir/said-by/#1" ${how% *} "${how#* }/say/[1-3000]" 2>/dev/null
        for n in "$dir"/said-by/*; do echo "${n##*/} $(<"$n")"; done >"$dir/said-all"
        same "answers by $how" "$(wc -l <"$dir/said-all")" 3000
        same "wrong ones by $how" "$(awk '$2 != "/say/" $1' "$dir/said-all")" ""
    done
}
check "reverse: 9000 answers, 50 at a time, each to its own request" unmixed

all_down() {
    local head
    for _ in 1 2 3; do code site "$(at /gone/)" >/dev/null; done
    head=$(site -i "$(at /gone/)")
    like status "$head" '^HTTP/1.1 503'
    like "retry time" "$head" '^retry-after: [1-9]'
    like "proxy status" "$head" '^proxy-status: risefall; error='
    if grep "$closed" <<<"$head"; then echo "it tells the server"; return 1; fi
}
check "reverse: all down: 503, Retry-After, and nothing about the servers" all_down

# --- Rough clients ----------------------------------------------------------------------------

(python3 "$parts/wire.py" "$plain" 1 || echo "not ok - reverse: wire.py failed itself (exit $?)") |
    tee -a "$results"

resets() {
    local before said
    before=$(memory "$front" VmRSS)
    said=$("$websockets" "$parts/flood.py" resets "$plain" /hello 20000)
    like said "$said" '^20000 streams|on 500 connections'
    same "the proxy" "$(site "$(at /hello)")" hello
    note "HTTP/2 rapid reset: $said; RSS $before kB before, $(memory "$front" VmRSS) kB after"
    less "growth in kB" "$(($(memory "$front" VmRSS) - before))" 32768
}
check "reverse: 20 000 streams of HTTP/2 reset at once: it lives, in bounded memory" resets

frames() {
    local kind before said
    before=$(memory "$front" VmRSS)
    for kind in ping settings window continuation empty; do
        said=$("$websockets" "$parts/flood.py" frames "$plain" "$kind" 200000)
        note "HTTP/2 flood: $said"
        [[ $kind != continuation ]] || like "$kind" "$said" 'ended'
        same "after $kind" "$(site "$(at /hello)")" hello
    done
    less "growth in kB" "$(($(memory "$front" VmRSS) - before))" 32768
}
check "reverse: floods of PING, SETTINGS, WINDOW_UPDATE, CONTINUATION, empty DATA" frames

crowd() {
    local before held most
    before=$(memory "$front" VmRSS)
    mkfifo "$dir/crowd.end"
    "$websockets" "$parts/flood.py" open "$plain" /web/hello.txt 10000 >"$dir/crowd" 2>&1 <"$dir/crowd.end" &
    local holder=$!
    exec {end}>"$dir/crowd.end"
    within 60 grep -q . "$dir/crowd"
    held=$(<"$dir/crowd")
    most=$(memory "$front" VmRSS)
    note "$held idle connections: RSS $before kB before, $most kB with them ($(((most - before) * 1024 / (held + 1))) B each)"
    (echo "$held" | grep -Eq '^[0-9]+$') || { cat "$dir/crowd"; return 1; }
    ((held >= 4000)) || { echo "only $held were served"; return 1; }
    exec {end}>&-
    wait "$holder"
    within 5 eval '[[ $(site "$(at /hello)") == hello ]]'
    less "kB for each" "$(((most - before) / held))" 64
}
check "reverse: 10 000 connections that stay: it lives" crowd

# --- The operator's view ----------------------------------------------------------------------

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

site_metrics() {
    ask_front http://localhost/metrics | "$websockets" -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
families = {family.name: family for family in read(sys.stdin.read())}
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

front_well() {
    local used before
    kill -0 "$front"
    # To each server, 64 that are idle may stay for either worker.
    within 5 eval '(($(ls "/proc/$front/fd" | wc -l) < 300))' ||
        less "open files" "$(ls "/proc/$front/fd" | wc -l)" 300
    before=$(cut -d' ' -f14,15 "/proc/$front/stat" | tr ' ' +)
    sleep 1
    used=$(($(cut -d' ' -f14,15 "/proc/$front/stat" | tr ' ' +) - (before)))
    less "hundredths of a processor when idle" "$used" 5
    note "VmHWM of it all: $(memory "$front" VmHWM) kB"
    kill "$front"
    within 5 gone "$front" || { echo "it does not end"; return 1; }
}
check "reverse: afterwards: no files left open, no work when idle, it ends" front_well
