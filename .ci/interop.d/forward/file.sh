# A forward proxy from a file: it is reloaded and replaced while it serves. Sourced by interop, with
# the words of proxy.sh.

# configure MORE: the file of the process below.
configure() {
    cat >"$dir/configured.toml" <<CONF
[process]
threads = 2
watch = true
[log]
access = "$dir/access.log"
[admin]
listen = "unix:$dir/configured.sock"
[forward.office]
listen = "127.0.0.1:0"
$1
CONF
}

start_configured() {
    configure ''
    start_from_file configured
    configured=$pid
    office=$(port_of configured proxy)
}

reloads() {
    local client n proxy
    start_configured
    proxy=$office
    http -o "$dir/reloaded.bin" "http://127.0.0.1:$web/20m.bin" --limit-rate 8m &
    client=$!
    within 5 test -s "$dir/reloaded.bin"
    for n in 2 3 4; do
        configure "$(printf '[limits]\nlookups = %d\n[forward.lab%d]\nlisten = "127.0.0.1:0"' "$n" "$n")"
        # The first by a signal, the others because the file is watched.
        ((n > 2)) || kill -HUP "$configured"
        within 5 is_generation configured "$n"
        same "a request" "$(http "http://127.0.0.1:$origin/hello")" hello
    done
    configure 'listen = 3'
    within 5 grep -q 'not loaded' "$dir/configured.err"
    fails 1 "$risefall" reload --admin "unix:$dir/configured.sock" 2>"$dir/refused"
    like refusal "$(cat "$dir/refused")" 'configured.toml:10:1'
    is_generation configured 4
    wait "$client" || { echo "the download ended with $?"; return 1; }
    same download "$(sum "$dir/reloaded.bin")" "$(sum "$dir/www/20m.bin")"
    end "$configured"
}
check "reloads by signal and by watching, in a download: it is completed" reloads

upgrades() {
    start_configured
    local proxy=$office client new
    http -o "$dir/upgraded.bin" "http://127.0.0.1:$web/20m.bin" --limit-rate 8m &
    client=$!
    within 5 test -s "$dir/upgraded.bin"
    upgrade configured
    same "a request" "$(http "http://127.0.0.1:$origin/hello")" hello
    wait "$client" || { echo "the download ended with $?"; return 1; }
    same download "$(sum "$dir/upgraded.bin")" "$(sum "$dir/www/20m.bin")"
    within 5 gone "$configured" || { echo "the old process is still there"; return 1; }
    same "ready" "$(ask configured /ready)" ready
    end "$new"
}
check "an upgrade in a download: it is completed, and the new process serves" upgrades
