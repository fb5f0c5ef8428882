# The process with most of the sites, `front`, and how they are asked; what is killed, frozen and
# reloaded under load has processes of its own. Sourced by interop, with the words of servers.sh beside it.

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

site() { curl -sS --max-time 60 "$@"; }
at() { echo "http://127.0.0.1:$plain$1"; }
# By TLS, to the names of the certificates.
secure() {
    site --cacert "$dir/ca.pem" --resolve "shop.test:$secure:127.0.0.1" \
        --resolve "www.shop.test:$secure:127.0.0.1" --resolve "other.test:$secure:127.0.0.1" "$@"
}
# field NAME CURL...: of the last answer.
field() { site -o /dev/null -D - "${@:2}" | tr -d '\r' | sed -n "s/^$1: //Ip" | tail -1; }

certificate shop shop.test '*.shop.test'
certificate other other.test
read -r plain named secure redirected <<<"$(free_ports 4)"
front_conf >"$dir/front.toml"
start_from_file front
front=$pid
