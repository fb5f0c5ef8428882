# What is left of it all. Sourced by interop, last.

still_well() {
    kill -0 "$main_pid"
    within 5 less "open files" "$(find "/proc/$main_pid/fd" -type l | wc -l)" 60
    idle "$main_pid"
    if grep -Ei 'panicked' "$dir"/*.err; then return 1; fi
}
check "afterwards: no files left open, no work when idle, no panic" still_well
