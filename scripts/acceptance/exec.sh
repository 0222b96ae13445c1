#!/usr/bin/env bash
# Any EL3 image on the board of QEMU's virt: devices, U-Boot, and rates beside QEMU's.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "the board's devices, semihosting, device tree, exit status" tests/emulator/virt tests/flexserve/test_exec.py
held "step, trace and gdb on an image" tests/flexserve/test_exec_timeline.py tests/flexserve/stepper/test_step_exec.py
held "interrupts and timers" tests/emulator -k "interrupt or timer or gic"

figures=$(flexserve bench exec --json) || exit 1
for kind in compute:0.5 memory:0.5 smc:1.5; do
	IFS=$'\t' read -r what figure passed < <(python3 - "$figures" "${kind%:*}" "${kind#*:}" <<'PYTHON'
import json, sys
figures, kind, least = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3])
ratio = figures["ours"][kind] / figures["qemu"][kind] if figures["qemu"] else 0
print(f"bench exec: {kind}, ours / qemu (at least {least})", f"{ratio:.2f}", "pass" if ratio >= least else "fail", sep="\t")
PYTHON
	)
	report "$what" "$figure" "$passed"
done

verdict
