# The servers that stand behind sites beside those of ../servers.sh. Sourced by interop, first of this
# folder.

# One that speaks all: HTTP/1.1 on $back, HTTP/2 on $back_h2c, both by TLS on $back_tls.
start_back() {
    mkdir -p "$dir/put"
    start_nginx back "$back" <<CONF
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
CONF
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

certificate back back.test
make_page
read -r back back_h2c back_tls trailers <<<"$(free_ports 4)"
start_back
start trailers nghttpd -a 127.0.0.1 --no-tls -d "$dir/www" --trailer 'x-end: here' "$trailers"
start_port socket "$websockets" "$parts/reverse/sockets.py" serve
socket=$port
start_port events "$websockets" "$parts/reverse/sockets.py" events
events=$port
start_port liar python3 "$parts/reverse/liar.py"
liar=$port
start_port rpc "$websockets" "$parts/reverse/rpc.py" serve
rpc=$port rpc_pid=$pid
