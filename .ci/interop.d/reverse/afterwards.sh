# The process with most of the sites, when all is asked. Sourced by interop, last of this folder.

front_well() {
    at_rest "$front" 300
    note "VmHWM of it all: $(memory "$front" VmHWM) kB"
    end "$front"
}
check "reverse: afterwards: no files left open, no work when idle, it ends" front_well
