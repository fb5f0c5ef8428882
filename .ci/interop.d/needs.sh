# Programs that are installed if they are missing, and the servers behind the proxies. Sourced by interop, with
# its words.

install_missing() {
    local missing=() program package
    while read -r program package; do
        PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing+=("$package")
    done <<'LIST'
aria2c aria2
chromium chromium
curl curl
git git
nc netcat-openbsd
nghttp nghttp2-client
nghttpd nghttp2-server
nginx nginx-light
openssl openssl
proxychains4 proxychains4
ps procps
python3 python3
redis-cli redis-tools
redis-server redis-server
ssh openssh-client
sshd openssh-server
wget wget
wrk wrk
LIST
    if ((${#missing[@]})); then
        install "${missing[@]}"
    fi
}

install() {
    local as=() policy=/usr/sbin/policy-rc.d is_ours=
    ((EUID == 0)) || as=(sudo)
    # Packages of servers start them otherwise, on ports that are not ours to take.
    if [[ ! -e $policy ]]; then
        is_ours=yes
        printf '#!/bin/sh\nexit 101\n' | "${as[@]}" tee "$policy" >/dev/null
        "${as[@]}" chmod +x "$policy"
    fi
    "${as[@]}" apt-get update -qq
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" >/dev/null
    [[ -z $is_ours ]] || "${as[@]}" rm "$policy"
}

# A python that has a `websockets` which knows of proxies (15 or newer), a reader of metrics, gRPC and
# HTTP/2 by the frame.
find_websockets() {
    local test='import websockets, prometheus_client, grpc, h2
assert int(websockets.__version__.split(".")[0]) >= 15'
    websockets=python3
    if ! python3 -c "$test" 2>/dev/null; then
        python3 -m venv "$dir/venv" || {
            install python3-venv
            python3 -m venv --clear "$dir/venv"
        }
        "$dir/venv/bin/pip" install -q --disable-pip-version-check 'websockets>=15' prometheus-client \
            grpcio h2
        websockets=$dir/venv/bin/python3
    fi
}

free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))
PYTHON
}

start_nginx() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
        -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
    cat >"$dir/nginx.conf" <<CONF
daemon off;
worker_processes 1;
$( ((EUID != 0)) || echo 'user root;')
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events {}
http {
    access_log off;
    client_body_temp_path $dir/nginx-body;
    proxy_temp_path $dir/nginx-proxy;
    fastcgi_temp_path $dir/nginx-fastcgi;
    uwsgi_temp_path $dir/nginx-uwsgi;
    scgi_temp_path $dir/nginx-scgi;
    types { text/plain txt; }
    sendfile on;
    gzip on;
    gzip_proxied any;
    gzip_types text/plain;
    server {
        listen 127.0.0.1:$web;
        listen 127.0.0.1:$tls ssl;
        ssl_certificate $dir/cert.pem;
        ssl_certificate_key $dir/key.pem;
        root $dir/www;
        location /slow/ { alias $dir/www/; gzip off; limit_rate 1m; }
    }
}
CONF
    start nginx nginx -p "$dir" -e "$dir/nginx.log" -c "$dir/nginx.conf"
    within 10 listens "$web"
}

start_sshd() {
    ssh-keygen -q -t ed25519 -N '' -f "$dir/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$dir/user_key"
    cp "$dir/user_key.pub" "$dir/authorized_keys"
    echo "[127.0.0.1]:$sshd $(cut -d' ' -f1,2 "$dir/host_key.pub")" >"$dir/known_hosts"
    cat >"$dir/sshd_config" <<CONF
ListenAddress 127.0.0.1
Port $sshd
HostKey $dir/host_key
PidFile none
AuthorizedKeysFile $dir/authorized_keys
AuthenticationMethods publickey
StrictModes no
UsePAM no
CONF
    ((EUID != 0)) || mkdir -p /run/sshd
    start sshd /usr/sbin/sshd -D -e -f "$dir/sshd_config"
    within 10 listens "$sshd"
}

make_files() {
    mkdir -p "$dir/www" "$dir/git"
    head -c 20M /dev/urandom >"$dir/www/20m.bin"
    seq 200000 >"$dir/www/text.txt"
    truncate -s 1G "$dir/www/1g.bin"
    export GIT_CONFIG_GLOBAL=/dev/null GIT_ROOT=$dir/git GIT_TERMINAL_PROMPT=0
    git init -q "$dir/work"
    git -C "$dir/work" -c user.name=a -c user.email=a@b.test commit -q --allow-empty -m first
    cp "$dir/www/text.txt" "$dir/work"
    git -C "$dir/work" add .
    git -C "$dir/work" -c user.name=a -c user.email=a@b.test commit -q -m second
    git clone -q --bare "$dir/work" "$dir/git/it.git"
    git -C "$dir/git/it.git" config http.receivepack true
    git -C "$dir/git/it.git" update-server-info
    ln -s "$dir/git" "$dir/www/dumb"
}
