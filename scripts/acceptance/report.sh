# Sourced by the acceptance scripts: one line a finding, and an exit status that tells whether all passed.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
failures=0

report() { # what, figure, pass|fail
	printf '%-48s %16s  %s\n' "$1" "$2" "$3"
	[ "$3" = pass ] || failures=$((failures + 1))
}

verdict() {
	exit $((failures > 0))
}
