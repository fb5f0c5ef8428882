# The servers that every part asks, and what they show. Sourced by interop, with the words of
# harness.sh and what needed.sh has found.

# --- What servers need ------------------------------------------------------------------------

# free_ports COUNT: of 127.0.0.1, in a line.
free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))
PYTHON
}

# A certificate authority, for what is shown to clients and what servers show.
make_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=interop' \
        -addext 'keyUsage=critical,keyCertSign' -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
}

# certificate NAME NAMES...: NAME.pem and NAME.key, for these names, and for addresses.
certificate() {
    local name=$1 names
    shift
    names=$(printf ',DNS:%s' "$@" | sed -E 's/DNS:([0-9.]+)(,|$)/IP:\1\2/g')
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$dir/$name.key.new" -out "$dir/$name.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 2 \
        -set_serial "0x1$(openssl rand -hex 8)" -out "$dir/$name.pem.new" 2>/dev/null \
        -extfile <(echo "subjectAltName=${names#,}")
    mv "$dir/$name.key.new" "$dir/$name.key"
    mv "$dir/$name.pem.new" "$dir/$name.pem"
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

# --- Servers ----------------------------------------------------------------------------------

# nginx_conf NAME: up to where its servers go.
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

# start_nginx NAME PORT: one with the servers that are on standard input, waited for at that port.
start_nginx() {
    { nginx_conf "$1"; cat; echo '}'; } >"$dir/$1.conf"
    start "$1" nginx -p "$dir" -e "$dir/$1.log" -c "$dir/$1.conf"
    within 10 listens "$2"
}

# HTTP/1.1 on $web, by TLS on $tls.
start_web() {
    start_nginx web "$web" <<CONF
    types { text/plain txt; }
    sendfile on;
    gzip on;
    gzip_proxied any;
    gzip_types text/plain;
    server {
        listen 127.0.0.1:$web;
        listen 127.0.0.1:$tls ssl;
        ssl_certificate $dir/web.pem;
        ssl_certificate_key $dir/web.key;
        root $dir/www;
        location /slow/ { alias $dir/www/; gzip off; limit_rate 1m; }
    }
CONF
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

# start_black_hole: a port that drops what comes, in `hole`, until end_black_hole.
start_black_hole() {
    start_port hole python3 "$parts/origin.py" --hold
    hole=$port held=$pid
    kill -STOP "$held"
    start_port fill python3 "$parts/fill.py" "$hole"
    fill=$pid
}

end_black_hole() {
    kill "$fill"
    kill -CONT "$held"
    kill "$held"
}

make_files
read -r web tls sshd redis closed <<<"$(free_ports 5)"
make_authority
certificate web localhost 127.0.0.1
start_web
start_sshd
start redis redis-server --port "$redis" --bind 127.0.0.1 --dir "$dir" --save ''
start_port origin python3 "$parts/origin.py"
origin=$port
start_port static python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$dir/www"
static=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$dir/static.out")
within 10 listens "$redis"
