#!/usr/bin/env bash
# SMC round trips on an empty EL3 vector: our core against QEMU, from an environment that has flexserve installed.
set -uo pipefail
source "$(dirname "$0")/report.sh"

figures=$(flexserve bench smc --json) || exit 1

field() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]] or "")' "$figures" "$1"; }

core=$(field core_smc_per_s)
qemu=$(field qemu_per_s)
if [ -z "$qemu" ]; then
	report "core_smc_per_s (no QEMU to compare with)" "$(printf '%.0f' "$core")" fail
else
	ratio=$(python3 -c 'import sys; print(f"{float(sys.argv[1]) / float(sys.argv[2]):.2f}")' "$core" "$qemu")
	passed=$(python3 -c 'import sys; print("pass" if float(sys.argv[1]) >= 1.5 else "fail")' "$ratio")
	report "core_smc_per_s / qemu_per_s (at least 1.5)" "$ratio" "$passed"
fi

verdict
