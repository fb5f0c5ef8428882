# What is needed on this machine: Debian's packages, a python with what clients are written in, and
# the binary. Sourced by interop, with the words of harness.sh.

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

install_missing
export PATH=$PATH:/usr/sbin
find_websockets
if [[ -n ${RISEFALL-} ]]; then
    risefall=$RISEFALL
else
    cargo build --quiet --release -p risefall-proxy
    risefall=${CARGO_TARGET_DIR:-$PWD/target}/release/risefall
fi
