#!/usr/bin/env bash
# Forward and backward, snapshots, and the walk-through of docs/stepping.md.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "n back and n forward is the same state, any n" tests/emulator/debug/test_timeline.py -k "back or seek or reverse"
held "a run that is stepped, watched or saved is the run" \
	tests/emulator/debug/test_timeline.py tests/flexserve/test_snapshot.py tests/flexserve/trace/test_trace.py \
	tests/flexserve/export/test_export.py -k "the_run or same_trace or goes_on or gives_what or is_the_same_run"
held "walk-through of docs/stepping.md" tests/flexserve/stepper -k walk_through
held "the stepper" tests/flexserve/stepper
held "real gdb-multiarch, both worlds, backwards" tests/flexserve/gdb
held "snapshots: damaged, other version, other firmware" tests/flexserve/test_snapshot.py -k "refused or said"

verdict
