#!/usr/bin/env bash
# Bad input and Ctrl-C.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "bad files, prompts and sizes: one line, status 2, nothing half-written" \
	tests/flexserve/test_run.py::test_bad_input_is_one_line_and_status_2 tests/flexserve/test_gguf_import.py
held "nonsense options" tests/flexserve/test_run.py::test_nonsense_options
held "Ctrl-C: status 130 within a second" tests/flexserve/test_run.py::test_ctrl_c_ends_it_within_a_second

verdict
