#!/usr/bin/env bash
# Attacks, their controls, and firmware with one line changed.
set -uo pipefail
source "$(dirname "$0")/report.sh"

figures=$(flexserve attack --json)
blocked=$(python3 -c 'import json, sys; a = json.loads(sys.argv[1]); print(a["blocked"], "of", a["total"])' "$figures")
report "flexserve attack: blocked" "$blocked" "$([ "${blocked% of*}" = "${blocked#*of }" ] && echo pass || echo fail)"
held "each attack by what the event stream names; each has a control" tests/flexserve/test_attack.py
held "one-line mutations of the firmware turn a named attack red" tests/flexserve/test_mutations.py

verdict
