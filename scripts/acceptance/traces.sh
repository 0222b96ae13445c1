#!/usr/bin/env bash
# Canonical traces: golden ones, their portability, what recording costs, and the exports.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "the project's flows are their golden traces" tests/test_golden.py
held "same bytes whatever the host is like" tests/flexserve/trace/test_trace.py -k same_bytes
held "check, diff, show" tests/flexserve/trace
held "corrupt traces: one line, status 2" tests/flexserve/trace/test_trace.py -k "damaged or bad_trace or cannot"
held "pytest plugin: failure report, --update-golden, refusal in CI" tests/flexserve/test_pytest_plugin.py
held "Perfetto, Tarmac, drcov, LCOV, JSON" tests/flexserve/export

# Seconds of the processor in one process, recorded and not in turn, the best of each.
for device in cpu npu; do
	figure=$(cd "$root" && python3 - "$device" <<'PYTHON'
import sys
import time

from flexserve.recipe import PlainStage, parse
from flexserve.trace.record import record

recipe = parse(["run", "--tokens", "64", "--device", sys.argv[1]])
plain, recorded = [], []
for _ in range(7):
    for seconds, work in ((plain, lambda: recipe.drive(PlainStage())), (recorded, lambda: record(recipe))):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
cost = min(recorded) / min(plain) - 1
print(f"{cost:.1%}", "pass" if cost < 0.10 else "fail")
PYTHON
	)
	report "cost of recording, of the run's time, --device $device (under 10 %)" "${figure% *}" "${figure#* }"
done

verdict
