# The forward proxy that is asked by everyone, and how it is asked. Sourced by interop, first of this
# folder, with the words of risefall.sh and the servers of servers.sh.

# start_proxy NAME ARGUMENTS: its port in `port`, its admin port in `admin`.
start_proxy() {
    start_risefall "$1" proxy --listen 127.0.0.1:0 --admin 127.0.0.1:0 "${@:2}"
    port=$(port_of "$1" proxy)
    admin=$(port_of "$1" admin)
}

http() { curl -sS --max-time 30 -x "http://127.0.0.1:$proxy" "$@"; }
tunnel() { http -p "$@"; }
socks() { curl -sS --max-time 30 --socks5-hostname "127.0.0.1:$proxy" "$@"; }

start_port echo "$websockets" "$parts/forward/echo.py" serve
echo=$port
# One with the usual settings, and one that gives up soon.
start_proxy main
proxy=$port main_admin=$admin main_pid=$pid
start_proxy quick --connect-timeout 500ms --handshake-timeout 1s --header-timeout 1s --fail-timeout 2s
quick=$port
