# Clients of the forward proxy that mean no good. Sourced by interop, with the words of proxy.sh.

checks rough.py python3 "$parts/forward/rough.py" "$quick" "$origin" 1
