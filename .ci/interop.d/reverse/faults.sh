# Servers that lie, answer late or are all gone. Sourced by interop, with the words of sites.sh.

lies() {
    local name seen got code n
    while read -r name seen; do
        code=0
        got=$(site --max-time 5 -o "$dir/lie" -w '%{http_code}' "$(at "/liar/$name")" 2>/dev/null) || code=$?
        case $seen in
        502) [[ $got == 502 ]] ;;
        cut) [[ $got == 200 && $code != 0 ]] ;;
        stray) [[ $got == 200 && $(<"$dir/lie") == hello || $got == [23]04 ]] ;;
        esac || { echo "$name: status $got, curl's code $code, expected $seen; "; }
        # One client connection, so one worker: it has what was left of the connection before.
        for n in 1 2; do
            got=$(site --max-time 5 "$(at "/liar/$name")" "$(at /liar/good)" -o /dev/null 2>/dev/null | tail -c 4) || true
            [[ $got == good ]] || { echo "after $name: '$got'; "; }
        done
    done < <(python3 "$parts/reverse/liar.py" --paths) >"$dir/lies"
    tr -d '\n' <"$dir/lies"
    [[ ! -s $dir/lies ]]
}
check "reverse: servers that lie: 502, or a cut answer; strays are nobody's answer" lies

# Each answer says what it is the answer to.
unmixed() {
    local how n
    for how in "--http1.1 https://shop.test:$secure" "--http2 https://shop.test:$secure" \
        "--http2 https://shop.test:$secure/h2c"; do
        rm -rf "$dir/said-by"
        mkdir "$dir/said-by"
        # shellcheck disable=SC2086
        secure -Z --parallel-max 50 -o "$dir/said-by/#1" ${how% *} "${how#* }/say/[1-3000]" 2>/dev/null
        for n in "$dir"/said-by/*; do echo "${n##*/} $(<"$n")"; done >"$dir/said-all"
        same "answers by $how" "$(wc -l <"$dir/said-all")" 3000
        same "wrong ones by $how" "$(awk '$2 != "/say/" $1' "$dir/said-all")" ""
    done
}
check "reverse: 9000 answers, 50 at a time, each to its own request" unmixed

all_down() {
    local head
    for _ in 1 2 3; do code site "$(at /gone/)" >/dev/null; done
    head=$(site -i "$(at /gone/)")
    like status "$head" '^HTTP/1.1 503'
    like "retry time" "$head" '^retry-after: [1-9]'
    like "proxy status" "$head" '^proxy-status: risefall; error='
    if grep "$closed" <<<"$head"; then echo "it tells the server"; return 1; fi
}
check "reverse: all down: 503, Retry-After, and nothing about the servers" all_down
