#!/usr/bin/env bash
# Translation, TLB and allocator against slow, obvious models.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "translation and TLB against the model, forgotten TLBIs included" tests/emulator/test_translation_model.py
held "exceptions, aborts, devices, exact time" tests/emulator/test_exceptions.py tests/emulator/test_aborts.py \
	tests/emulator/test_core.py
held "the page allocator against its model" tests/nworld/test_pages.py

verdict
