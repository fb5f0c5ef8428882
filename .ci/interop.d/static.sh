# Foreign clients in front of static files. Sourced by interop, with its words and reverse.sh's
# (certificate, site, start_sites, memory, note).
#
# `shown` is one process with all of the folders; what `serve` says and does has processes of its own.

source "$parts/static/folders.sh"
source "$parts/static/curl.sh"
source "$parts/static/clients.sh"
source "$parts/static/changing.sh"
source "$parts/static/hidden.sh"
source "$parts/static/serve.sh"
source "$parts/static/afterwards.sh"
