# Sourced by the acceptance scripts: one line a finding, and an exit status that tells whether all passed.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
failures=0

report() { # what, figure, pass|fail
	printf '%-86s %14s  %s\n' "$1" "$2" "$3"
	[ "$3" = pass ] || failures=$((failures + 1))
}

held() { # what, pytest arguments...: the figure is how many tests passed
	local what=$1 log figure
	shift
	log=$(cd "$root" && python3 -m pytest -q -p no:cacheprovider "$@" 2>&1)
	if [ $? -eq 0 ]; then
		figure=$(tail -n 1 <<<"$log" | grep -o '[0-9]* passed')
		report "$what" "$figure" pass
	else
		report "$what" "$(tail -n 1 <<<"$log" | grep -o '[0-9]* failed')" fail
		grep -E '^(FAILED|ERROR|E  )' <<<"$log" >&2
	fi
}

verdict() {
	exit $((failures > 0))
}
