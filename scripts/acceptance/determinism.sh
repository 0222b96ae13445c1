#!/usr/bin/env bash
# Same seed, same run; one hash of logits everywhere.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "same seed: same text, SMC counts, guest instructions" tests/flexserve/test_run.py::test_same_seed_same_everything \
	tests/flexserve/test_system.py::test_same_seed_gives_the_same_run_and_another_seed_another_text
held "one hash of logits: numpy features off, vector dispatch off" \
	tests/sworld/test_transformer.py::test_logits_hash_is_the_same_everywhere
held "two seeds differ at temperature 1" tests/flexserve/test_run.py::test_seeds_differ_at_temperature_1
held "a run in slices is the same run" tests/emulator/test_core.py

verdict
