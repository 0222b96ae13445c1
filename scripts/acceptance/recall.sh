#!/usr/bin/env bash
# Recall of any size at any token; FORCE and revocation.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "any token, any size: no token changes, short delivery is said" \
	tests/flexserve/test_system.py -k "recall" 
held "on the demo model, from the command line" tests/flexserve/test_run.py -k recall
held "FORCE takes exactly what is owed from an unwilling secure world" \
	tests/flexserve/test_system.py::test_unwilling_secure_world_loses_exactly_what_it_owes
held "a revocation is handled before any thread runs" \
	tests/flexserve/test_system.py::test_revocation_is_acknowledged_before_any_thread_runs
held "recalled pages hold only zeros and are used" tests/nworld/test_flexmem.py

verdict
