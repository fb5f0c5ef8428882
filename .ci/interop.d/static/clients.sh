# Other clients of static files. Sourced by interop, with the words of folders.sh.

resumed() {
    local way whole
    whole=$(sum "$root/20m.bin")
    for way in "${ways[@]}"; do
        rm -f "$dir/cut.bin"
        by "$way" /20m.bin --limit-rate 8M --max-time 1 -o "$dir/cut.bin" 2>/dev/null || true
        (($(stat -c %s "$dir/cut.bin") < 20971520)) || { echo "$way: it was not cut"; return 1; }
        by "$way" /20m.bin -C - -o "$dir/cut.bin"
        same "curl -C - by $way" "$(sum "$dir/cut.bin")" "$whole"
    done
    rm -f "$dir/cut.bin"
    timeout 1 wget -q --limit-rate 8m -O "$dir/cut.bin" "$(shown /20m.bin)" || true
    (($(stat -c %s "$dir/cut.bin") < 20971520)) || { echo "wget: it was not cut"; return 1; }
    wget -q -c -O "$dir/cut.bin" "$(shown /20m.bin)"
    same "wget -c" "$(sum "$dir/cut.bin")" "$whole"
    # What is whole already is not fetched again.
    wget -q -c -O "$dir/cut.bin" "$(shown /20m.bin)" || true
    same "wget -c, again" "$(sum "$dir/cut.bin")" "$whole"
}
check "static: curl -C - and wget -c go on after a cut" resumed

aria() {
    local before
    before=$(grep -c ' 206 ' "$dir/shown-access.log" || true)
    # Not so fast that the first connections leave nothing for the others. It asks for all of it
    # first, and for parts by the other seven.
    aria2c -q -x 8 -s 8 -k 1M --max-overall-download-limit=16M --file-allocation=none \
        -d "$dir" -o aria.bin "$(shown /20m.bin)"
    same body "$(sum "$dir/aria.bin")" "$(sum "$root/20m.bin")"
    within 3 eval '(($(grep -c " 206 " "$dir/shown-access.log") >= '"$before"' + 7))' || {
        grep -c ' 206 ' "$dir/shown-access.log"
        return 1
    }
}
check "static: aria2c with eight connections" aria

beyond() {
    local before
    before=$(memory "$shown_pid" VmHWM)
    files_py large "$shown" /huge.bin "$root/huge.bin"
    less "growth of VmHWM in kB, from $before" "$(($(memory "$shown_pid" VmHWM) - before))" 16384
    same "by HTTP/2" "$(by tls /huge.bin -r 4294967000-4294968000 -o /dev/null -w '%{http_code} %{size_download}')" "206 1001"
}
check "static: more than 4 GiB, and parts on both sides of it, in bounded memory" beyond

dumb_git() {
    git clone -q "$(shown /git/it.git)" "$dir/cloned"
    same tip "$(git -C "$dir/cloned" rev-parse HEAD)" "$(git -C "$dir/git/it.git" rev-parse HEAD)"
    cmp "$dir/cloned/text.txt" "$root/text.txt"
}
check "static: git clone over dumb HTTP" dumb_git

shown_page() { python3 "$parts/static/shown.py" page "$page" "$dir/folders/page"; }
check "static: a page in Chromium: a font, a module, a sound that is sought in, a service worker" shown_page

shown_in_the_dark() { python3 "$parts/static/shown.py" listing "$shown" /listed/ "$dir/folders/listed" deep; }
check "static: a listing in Chromium: on a phone, in the dark, by keyboard" shown_in_the_dark

shown_load() {
    local said path
    for path in /small.txt /300k.bin /sub/ /none; do
        said=$(wrk -t 1 -c 50 -d 1s "$(shown "$path")")
        if grep -E 'Socket errors' <<<"$said"; then return 1; fi
        [[ $path == /none ]] || ! grep -E 'Non-2xx' <<<"$said" || return 1
        like "$path" "$said" 'requests in'
    done
    said=$(h2load -n 10000 -c 10 -m 10 -H ':authority: files.test' "https://127.0.0.1:$sealed/small.txt")
    like "by TLS" "$said" 'status codes: 10000 2xx'
    said=$(h2load -n 2000 -c 10 -m 10 -H ':authority: files.test' "https://127.0.0.1:$sealed/300k.bin")
    like "by TLS, larger" "$said" 'status codes: 2000 2xx'
    like "by TLS, whole" "$said" 'traffic: .*\(60[0-9]{7}\) total'
}
check "static: wrk and h2load: no error" shown_load
