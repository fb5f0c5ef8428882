# What must not be shown. Sourced by interop, with the words of folders.sh.

traversal() {
    local said
    said=$(python3 "$parts/static/traversal.py" ask "$dir/folders/traversal" proxy/tests/corpus/traversal.txt "$@" 2>&1) ||
        { echo "$said"; return 1; }
    note "traversal: $said"
}
strict() { traversal "$strict"; }
check "static: targets that try to leave the root: no canary" strict
listing() { traversal "$listing" listed; }
check "static: the same where folders are listed: no canary" listing
