# Foreign clients and servers on both sides of a reverse proxy. Sourced by interop, with its words
# (start, check, same, ...) and its servers ($web, $static, $origin).
#
# `front` is one process with most of the sites; what is killed, frozen and reloaded under load has
# processes of its own.

source "$parts/reverse/servers.sh"
source "$parts/reverse/front.sh"
source "$parts/reverse/curl.sh"
source "$parts/reverse/tls.sh"
source "$parts/reverse/h2.sh"
source "$parts/reverse/streams.sh"
source "$parts/reverse/fleet.sh"
source "$parts/reverse/faults.sh"
source "$parts/reverse/rough.sh"
source "$parts/reverse/operator.sh"
