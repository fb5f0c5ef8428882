# What every check is written with: processes that are started and ended, and what is compared. Sourced by
# interop, which has set `dir`, `results` and `started`.

# --- Ends -------------------------------------------------------------------------------------

finish() {
    local pid born
    while read -r pid born; do
        # Not another's process that has got the number since.
        [[ $(born "$pid") == "$born" ]] || continue
        # One that a check has stopped must run to be ended.
        kill -CONT "$pid" 2>/dev/null && kill "$pid" 2>/dev/null || true
        within 3 gone "$pid" || kill -9 "$pid" 2>/dev/null || true
    done <"$started"
    rm -rf "$dir"
}

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
    # In a file: a check starts its own in a subshell.
    echo "$pid $(born "$pid")" >>"$started"
    # Jobs that are killed on purpose need no obituary from the shell.
    disown "$pid"
}

# start_port NAME COMMAND: for a server that prints its port, which is left in `port`.
start_port() {
    start "$@"
    within 10 grep -q . "$dir/$1.out" || { cat "$dir/$1.err" >&2; return 1; }
    port=$(head -1 "$dir/$1.out")
}

# start_proxy NAME ARGUMENTS: its port in `port`, its admin port in `admin`.
start_proxy() {
    local name=$1
    shift
    start "$name" "$risefall" proxy --listen 127.0.0.1:0 --admin 127.0.0.1:0 "$@"
    within 10 grep -q '^  try it' "$dir/$name.err" || { cat "$dir/$name.err" >&2; return 1; }
    port=$(sed -n 's/^  proxy *127.0.0.1:\([0-9]*\) .*/\1/p' "$dir/$name.err")
    admin=$(sed -n 's/^  admin *127.0.0.1:\([0-9]*\) .*/\1/p' "$dir/$name.err")
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

# idle PID: fails if it takes more than a twentieth of a processor while nobody asks for anything. A
# connection that ended oddly must not leave a loop behind.
idle() {
    local before used
    before=$(ticks "$1")
    sleep 1
    used=$(($(ticks "$1") - before))
    less "hundredths of a processor when idle" "$used" 5
}

# The processor time of a process, in hundredths of a second.
ticks() {
    echo $(($(cut -d' ' -f14,15 "/proc/$1/stat" | tr ' ' +)))
}

# fails WITH COMMAND: passes on exactly that exit code.
fails() {
    local code=0
    "${@:2}" || code=$?
    same "exit code of ${*:2:2}" "$code" "$1"
}

sum() { sha256sum "$@" | cut -d' ' -f1; }
milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }
http() { curl -sS --max-time 30 -x "http://127.0.0.1:$proxy" "$@"; }
tunnel() { http -p "$@"; }
socks() { curl -sS --max-time 30 --socks5-hostname "127.0.0.1:$proxy" "$@"; }
code() { "$@" -o /dev/null -w '%{http_code}'; }
