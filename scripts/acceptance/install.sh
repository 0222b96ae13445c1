#!/usr/bin/env bash
# Installation as a newcomer does it: a copy of the sources in a path with spaces, a fresh virtual environment and
# nothing else on PATH (no cc, gcc, clang, ld), for each way to install. One line each: what, seconds, pass or fail.
set -uo pipefail
source "$(dirname "$0")/report.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checkout="$work/flex serve"

fresh() { # a clean copy of the sources and a new environment, alone on PATH
	rm -rf "$checkout" "$work/its venv"
	mkdir "$checkout"
	(cd "$root" && git ls-files -z -co --exclude-standard | tar --null -T - -cf -) | tar -xf - -C "$checkout"
	python3 -m venv "$work/its venv"
}

alone() { # run in the checkout with only the environment on PATH
	(cd "$checkout" && env -u CC -u CFLAGS -u LDSHARED -u PYTHONPATH PATH="$work/its venv/bin" "$@")
}

measure() { # name, command...
	local name=$1 started=$SECONDS
	shift
	if alone "$@" >"$work/log" 2>&1; then
		report "$name" "$((SECONDS - started)) s" pass
	else
		report "$name" "$((SECONDS - started)) s" fail
		tail -n 20 "$work/log" >&2
	fi
}

fresh
measure "pip wheel ." pip wheel -q --no-deps -w "$work/dist" .
measure "wheel holds every ELF" python -c "
import pathlib, sys, zipfile
names = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob('*.whl'))).namelist()
elves = [f'firmware/elf/{path.name}' for path in pathlib.Path('firmware/elf').glob('*.elf')]
assert elves and set(elves) <= set(names), (elves, names)" "$work/dist"

fresh
measure "pip install ." pip install -q .
measure "installed: flexserve run" /usr/bin/env -C "$work" flexserve run --tokens 4

fresh
measure "pip install -e ." pip install -q -e .
measure "editable: flexserve run" flexserve run --tokens 4
measure "pip install -e .[test]" pip install -q -e '.[test]'
measure "editable: pytest collects" pytest -q --collect-only

verdict
