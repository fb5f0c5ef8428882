# The forward proxy that was there all the time, when all is done. Sourced by interop, last of all.

still_well() {
    at_rest "$main_pid" 60
    if grep -Ei 'panicked' "$dir"/*.err; then return 1; fi
}
check "afterwards: no files left open, no work when idle, no panic" still_well
