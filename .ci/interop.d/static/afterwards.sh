# The process that shows all folders, when all is asked. Sourced by interop, last of this folder.

shown_well() {
    at_rest "$shown_pid" 300
    note "files that are open: $(open_files "$shown_pid"), of which removed: $(open_files "$shown_pid" -lname '*(deleted)')"
    note "VmHWM of it all: $(memory "$shown_pid" VmHWM) kB"
    end "$shown_pid"
}
check "static: afterwards: few files left open, no work when idle, it ends" shown_well
