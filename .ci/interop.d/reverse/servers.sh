# Certificates, and the servers behind the sites. Sourced by reverse.sh, with its words.

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
