#!/usr/bin/env bash
# The firmware images: the same bytes from anywhere, nothing in them that does not belong there.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "byte-identical from two checkouts" tests/firmware/test_build.py::test_two_checkouts_give_the_same_bytes
held "no absolute path" tests/firmware/test_build.py::test_holds_no_absolute_path
held "no vector register outside the save and restore" \
	tests/firmware/test_build.py::test_vector_registers_only_in_save_and_restore
held "generated headers and documents are fresh" tests/monitor/test_generated.py
held "every call: success and each failure of its row" \
	tests/firmware --ignore=tests/firmware/test_interrupt_everywhere.py

verdict
