# What a check is made of: a throw-away folder, processes that are ended by their pid, and what must
# hold, one line each. Sourced by interop.

# The checks name their proxies themselves.
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$parts
dir=$(mktemp -d)
results=$dir/results
started=$dir/started
: >"$results"
: >"$started"

# --- Ends -------------------------------------------------------------------------------------

finish() {
    local pid born
    while read -r pid born; do
        # Not another's process that has got the number since.
        [[ $(born "$pid") == "$born" ]] || continue
        # One that a check has stopped must run to be ended.
        kill -CONT "$pid" 2>/dev/null || true
        kill "$pid" 2>/dev/null || true
        within 3 gone "$pid" || kill -9 "$pid" 2>/dev/null || true
    done <"$started"
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# within SECONDS COMMAND: until it succeeds; false if it does not in time.
within() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.02
    done
}

# When a process was started, in the kernel's ticks.
born() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

gone() {
    ! kill -0 "$1" 2>/dev/null || [[ $(ps -o stat= -p "$1") == Z* ]]
}

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1")
}

# start NAME COMMAND: in the background, output to NAME.out and NAME.err, its pid in `pid`.
start() {
    local name=$1
    shift
    # What an earlier one of that name said is not its word.
    rm -f "$dir/$name.out" "$dir/$name.err"
    "$@" >"$dir/$name.out" 2>"$dir/$name.err" </dev/null &
    pid=$!
    will_end "$pid"
    # Jobs that are killed on purpose need no obituary from the shell.
    disown "$pid"
}

# will_end PID: with everything else. In a file: a check starts its own in a subshell.
will_end() {
    echo "$1 $(born "$1")" >>"$started"
}

# start_port NAME COMMAND: for a server that prints its port, which is left in `port`.
start_port() {
    start "$@"
    within 10 grep -q . "$dir/$1.out" || { cat "$dir/$1.err" >&2; return 1; }
    port=$(head -1 "$dir/$1.out")
}

# --- Checks -----------------------------------------------------------------------------------

# check NAME FUNCTION: one line; what the function said last is the reason when it fails.
check() {
    local code=0 from=$EPOCHREALTIME
    # A subshell of its own, outside of any condition: only there does `set -e` hold in functions.
    set +e
    (set -e; "$2") >"$dir/said" 2>&1
    code=$?
    set -e
    if ((code == 0)); then
        echo "ok - $1" | tee -a "$results"
    else
        echo "not ok - $1: $(tail -n 2 "$dir/said" | tr '\n\r' '  ' | cut -c1-300)(exit $code)" |
            tee -a "$results"
    fi
    [[ -z ${INTEROP_TIMES-} ]] ||
        echo "# $(((${EPOCHREALTIME/./} - ${from/./}) / 1000)) ms"
}

# checks NAME COMMAND: a program that says lines of its own.
checks() {
    ("${@:2}" || echo "not ok - $1 failed itself (exit $?)") | tee -a "$results"
}

# What a check wants to be seen though it is well.
exec {notes}>&1
note() { echo "# $*" >&"$notes"; }

# same WHAT FOUND EXPECTED: fails unless they are.
same() {
    [[ $2 == "$3" ]] || { echo "$1: found '$2', expected '$3'"; return 1; }
}

# like WHAT TEXT PATTERN: fails unless the extended pattern is found.
like() {
    grep -Eqi -- "$3" <<<"$2" || { echo "$1: found '$2', expected /$3/"; return 1; }
}

# less WHAT FOUND MOST
less() {
    (($2 <= $3)) || { echo "$1: found $2, expected at most $3"; return 1; }
}

# streamed WHAT TIMES: curl's of the first byte and of all, of five pieces that are made in a second.
streamed() {
    awk -v t="$2" 'BEGIN { split(t, a); exit !(a[1] < 0.2 && a[2] > 0.7) }' ||
        { echo "$1: first byte and end after $2"; return 1; }
}

# fails WITH COMMAND: passes on exactly that exit code.
fails() {
    local code=0
    "${@:2}" || code=$?
    same "exit code of ${*:2:2}" "$code" "$1"
}

sum() { sha256sum "$@" | cut -d' ' -f1; }
milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }
code() { "$@" -o /dev/null -w '%{http_code}'; }
