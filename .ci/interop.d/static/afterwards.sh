# What is left of it all. Sourced by static.sh, with its words.

shown_well() {
    kill -0 "$shown_pid"
    within 5 eval '(($(ls "/proc/$shown_pid/fd" | wc -l) < 300))' ||
        less "open files" "$(ls "/proc/$shown_pid/fd" | wc -l)" 300
    note "files that are open: $(ls "/proc/$shown_pid/fd" | wc -l), of which removed: $(ls -l "/proc/$shown_pid/fd" | grep -c deleted)"
    idle "$shown_pid"
    note "VmHWM of it all: $(memory "$shown_pid" VmHWM) kB"
    kill "$shown_pid"
    within 5 gone "$shown_pid" || { echo "it does not end"; return 1; }
}
check "static: afterwards: few files left open, no work when idle, it ends" shown_well
