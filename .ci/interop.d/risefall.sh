# The program that is checked: how it is started, asked, looked at from outside, and ended. Sourced by
# interop, with the words of harness.sh and the binary of needed.sh.

# --- Starts and ends --------------------------------------------------------------------------

# start_risefall NAME ARGUMENTS: and waits until it serves.
start_risefall() {
    start "$1" "$risefall" "${@:2}"
    ready "$1"
}

# start_from_file NAME: what NAME.toml says.
start_from_file() {
    start_risefall "$1" run -c "$dir/$1.toml"
}

# ready NAME: it has said where it listens.
ready() {
    within 10 grep -qs '^  try it' "$dir/$1.err" || { cat "$dir/$1.err" >&2; return 1; }
}

# port_of NAME WHAT: where its `proxy`, `site` or `admin` listens, as it has said.
port_of() {
    sed -n "s|^  $2 *\(http://\)\?127.0.0.1:\([0-9]*\) .*|\2|p" "$dir/$1.err"
}

# upgrade NAME: the pid of the process that has taken over in `new`.
upgrade() {
    "$risefall" upgrade --admin "unix:$dir/$1.sock" 2>"$dir/upgraded"
    new=$(sed -n 's/^process \([0-9]*\) has taken over.*/\1/p' "$dir/upgraded")
    [[ -n $new ]] || { cat "$dir/upgraded"; return 1; }
    will_end "$new"
}

# end PID: as an operator does.
end() {
    kill "$1"
    within 5 gone "$1" || { echo "it does not end"; return 1; }
}

# --- What it says -----------------------------------------------------------------------------

# ask NAME PATH: its admin, by the socket NAME.sock.
ask() { curl -sS --max-time 10 --unix-socket "$dir/$1.sock" "http://localhost$2"; }

generation() {
    ask "$1" /status | python3 -c 'import json, sys; print(json.load(sys.stdin)["generation"])'
}

# is_generation NAME NUMBER
is_generation() { [[ $(generation "$1") == "$2" ]]; }

# read_metrics PYTHON: metrics on standard input, as `families` by the library of Prometheus.
read_metrics() {
    "$websockets" -c "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
families = {family.name: family for family in read(sys.stdin.read())}
$1"
}

# --- What it takes ----------------------------------------------------------------------------

# memory PID WHICH: VmRSS or VmHWM, in kB.
memory() { sed -n "s/^$2:[^0-9]*\([0-9]*\) kB/\1/p" "/proc/$1/status"; }

# open_files PID CONDITIONS: how many, or how many such.
open_files() { find "/proc/$1/fd" -type l "${@:2}" | wc -l; }

# few_files PID MOST
few_files() { less "open files" "$(open_files "$1")" "$2"; }

# at_rest PID MOST_FILES: nobody asks, so it has let go, and does nothing.
at_rest() {
    local before used
    kill -0 "$1"
    within 5 few_files "$@" || few_files "$@"
    before=$(ticks "$1")
    sleep 1
    used=$(($(ticks "$1") - before))
    # Hundredths of a second: a connection that ended oddly must not leave a loop behind.
    less "hundredths of a processor when idle" "$used" 5
}

# ticks PID: of a processor, in the process and in the kernel.
ticks() { echo $(($(cut -d' ' -f14,15 "/proc/$1/stat" | tr ' ' +))); }
