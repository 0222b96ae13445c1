#!/usr/bin/env bash
# The core held against qemu-system-aarch64, case by case, on `flexserve exec`.
set -uo pipefail
source "$(dirname "$0")/report.sh"

log=$(cd "$root" && python3 -m pytest -q -s -p no:cacheprovider tests/fidelity 2>&1)
status=$?
cases=$(grep -o '[0-9]* cases on both' <<<"$log" | grep -o '^[0-9]*')
differing=$(grep -o '[0-9]* with a listed difference' <<<"$log" | grep -o '^[0-9]*')
[ "$status" = 0 ] && passed=pass || passed=fail
report "no difference from QEMU that docs/fidelity.md does not list" "${differing:-no QEMU} listed" "$passed"
[ "${cases:-0}" -ge 2000 ] && passed=pass || passed=fail
report "cases on both (at least 2000)" "${cases:-0}" "$passed"
held "docs/fidelity.md lists exactly what differs" tests/fidelity -k document

verdict
