# `risefall serve DIR`: what it says, and what it shows. Sourced by interop,
# with the words of folders.sh and traversal.sh.

# start_serve ARGUMENTS: its URL in `served`, ended with the check that has started it.
start_serve() {
    start serve "$risefall" serve "$@" --listen 127.0.0.1:0 --admin off
    trap "kill $pid" EXIT
    within 10 grep -qE 'https?://127.0.0.1:[0-9]+' "$dir/serve.err" || { cat "$dir/serve.err"; return 1; }
    served=$(grep -oE 'https?://127.0.0.1:[0-9]+' "$dir/serve.err" | head -1)
}

serves() {
    start_serve "$dir/folders/listed" --access-log off
    like "what it says" "$(cat "$dir/serve.err")" "folders/listed"
    like "the same as a file" "$("$risefall" serve "$dir/folders/listed" --print-config)" 'root = '
    files_py listing "${served##*:}" / "$dir/folders/listed"
    kill "$pid"
    within 3 gone "$pid"
    start_serve "$dir/folders/web" --access-log off
    like "an index" "$(site "$served/")" Front
    same "a folder" "$(code site "$served/bare/")" 200
    same "hidden" "$(code site "$served/.x.txt")" 404
    kill "$pid"
    within 3 gone "$pid"
    cd "$dir/folders/first"
    start_serve
    same "where it is started" "$(site "$served/which.txt")" first
}
check "static: serve DIR: what it says, and what it shows" serves

serves_more() {
    start_serve "$dir/folders/app" --access-log off --spa --no-listing --cors --user 'alice:open:sesame'
    same "nobody" "$(code site "$served/")" 401
    like "--spa" "$(site -u alice:open:sesame "$served/inbox/7")" '<title>App'
    same "a picture" "$(code site -u alice:open:sesame "$served/inbox/7.png")" 404
    same "--cors" "$(field access-control-allow-origin -u alice:open:sesame -H 'Origin: https://a.test' "$served/")" '*'
    kill "$pid"
    within 3 gone "$pid"
    start_serve "$root" --access-log off --no-listing --tls-cert "$dir/files.pem" --tls-key "$dir/files.key"
    like "by TLS" "$served" '^https:'
    same "--no-listing" "$(code sealed --resolve "files.test:${served##*:}:127.0.0.1" "https://files.test:${served##*:}/bare/")" 404
    same "body" "$(sealed --resolve "files.test:${served##*:}:127.0.0.1" "https://files.test:${served##*:}/20m.bin" | sum)" \
        "$(sum "$root/20m.bin")"
}
check "static: serve --spa --no-listing --cors --user --tls-cert --tls-key" serves_more

serves_strictly() {
    start_serve "$dir/folders/traversal/root" --access-log off --no-listing
    mkdir -p "$dir/folders/traversal/root/files"
    cp "$dir/folders/traversal/root/page.html" "$dir/folders/traversal/root/files"
    traversal "${served##*:}"
}
check "static: serve, and targets that try to leave its folder: no canary" serves_strictly
