# Files that shrink, grow, vanish and are replaced, while they are sent and between. Sourced by interop,
# with the words of folders.sh.

# while_sent WAY NAME COMMAND: runs it in the middle of a download into sent.bin; the client's code in `ended`.
while_sent() {
    local client
    rm -f "$dir/sent.bin"
    by "$1" "/$2" --limit-rate 30M -o "$dir/sent.bin" 2>/dev/null &
    client=$!
    within 5 test -s "$dir/sent.bin"
    "${@:3}"
    ended=0
    wait "$client" || ended=$?
}
# More than the kernel holds between the two.
make_sent() {
    rm -f "$root/sent.dat"
    cat "$root/20m.bin" "$root/20m.bin" >"$root/sent.dat"
    # Each worker may show for a second what was there before.
    sleep 1.1
}

shrinks() {
    local way ended came
    for way in "${ways[@]}" tls1; do
        make_sent
        cp "$root/sent.dat" "$dir/was.bin"
        while_sent "$way" sent.dat truncate -s 30000000 "$root/sent.dat"
        ((ended != 0)) || { echo "$way: the client takes it for whole"; return 1; }
        came=$(stat -c %s "$dir/sent.bin")
        ((came < 41943040)) || { echo "$way: $came bytes came"; return 1; }
        cmp -n "$came" "$dir/sent.bin" "$dir/was.bin" || { echo "$way: wrong bytes of $came"; return 1; }
        same "$way, afterwards" "$(by "$way" /small.txt)" small
    done
}
check "static: a file that shrinks while it is sent: cut, and never filled up" shrinks

replaced() {
    local way ended
    for way in "${ways[@]}" tls1; do
        make_sent
        cp "$root/sent.dat" "$dir/was.bin"
        head -c 40000000 /dev/zero >"$root/new.dat"
        while_sent "$way" sent.dat mv "$root/new.dat" "$root/sent.dat"
        same "$way: the client's code" "$ended" 0
        cmp "$dir/sent.bin" "$dir/was.bin"
        within 3 eval '[[ $(by "$way" /sent.dat -r 0-3 | tr -d "\0" | wc -c) == 0 ]]' || { echo "$way: not the new one"; return 1; }
    done
}
check "static: one that is replaced while it is sent: the old one, whole; then the new one" replaced

vanishes() {
    local way ended
    for way in "${ways[@]}"; do
        make_sent
        cp "$root/sent.dat" "$dir/was.bin"
        while_sent "$way" sent.dat rm "$root/sent.dat"
        same "$way: the client's code" "$ended" 0
        cmp "$dir/sent.bin" "$dir/was.bin"
        within 3 eval '[[ $(code by "$way" /sent.dat) == 404 ]]' || { echo "$way: it is still shown"; return 1; }
    done
}
check "static: one that is removed while it is sent: whole; then 404" vanishes

grows() {
    local way ended
    for way in "${ways[@]}"; do
        make_sent
        cp "$root/sent.dat" "$dir/was.bin"
        while_sent "$way" sent.dat eval 'head -c 5000000 /dev/zero >>"$root/sent.dat"'
        same "$way: the client's code" "$ended" 0
        cmp "$dir/sent.bin" "$dir/was.bin"
    done
    rm "$root/sent.dat"
}
check "static: one that grows while it is sent: as long as was promised" grows

flips() {
    local said
    said=$(files_py flip "$shown" /flipped.txt "$root/flipped.txt" 3 2>&1) || { echo "$said"; return 1; }
    note "$said"
    rm "$root/flipped.txt"
}
check "static: one that is replaced all the time: old or new, and each with its own tag" flips

switches() {
    same before "$(site "$(shown /switched/which.txt)")" first
    ln -sfn second "$dir/folders/switched.new"
    mv -T "$dir/folders/switched.new" "$dir/folders/switched"
    within 2 eval '[[ $(site "$(shown /switched/which.txt)") == second ]]'
    # The other worker as well, whichever it is.
    for _ in 1 2 3 4 5 6 7 8; do
        within 2 eval '[[ $(site "$(shown /switched/which.txt)") == second ]]'
    done
}
check "static: a root behind a link that is switched: the other one within 2 s" switches
