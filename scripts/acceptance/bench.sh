#!/usr/bin/env bash
# Rates, as ratios in one run, and the bounds of a call and of memory; from an environment that has flexserve installed.
set -uo pipefail
source "$(dirname "$0")/report.sh"

check() { # what, python expression over `f`, condition over the value `v`, format
	python3 - "$figures" "$@" <<'PYTHON'
import json, sys
f, what, expression, condition, form = json.loads(sys.argv[1]), *sys.argv[2:]
v = eval(expression)
print(what, format(v, form), "pass" if eval(condition) else "fail", sep="\t")
PYTHON
}

compare() {
	local what figure passed
	IFS=$'\t' read -r what figure passed < <(check "$@")
	report "$what" "$figure" "$passed"
}

figures=$(flexserve bench smc --json) || exit 1
compare "core_smc_per_s / qemu_per_s (at least 1.5)" 'f["core_smc_per_s"] / f["qemu_per_s"]' 'v >= 1.5' .2f
compare "fast_call_per_s / qemu_per_s (at least 0.5)" 'f["fast_call_per_s"] / f["qemu_per_s"]' 'v >= 0.5' .2f
compare "fast_call_instructions (at most 250)" 'f["fast_call_instructions"]' 'v <= 250' d
figures=$(flexserve bench flexmem --json) || exit 1
compare "bench flexmem 4 GiB: longest call / MAX_CALL_INSTRUCTIONS" 'f["max_call_instructions"] / f["call_bound"]' 'v <= 1' .2f
compare "bench flexmem 4 GiB: peak MiB of the process" 'f["max_rss_mib"]' 'v < 512' .0f
held "FLEX_VERSION takes the path of every other call" tests/firmware/test_calls.py -k path_of_every_other
held "run --dram 16G within 64 MiB of 1G" tests/flexserve/test_run.py::test_16_gib_cost_hardly_more_than_1

verdict
