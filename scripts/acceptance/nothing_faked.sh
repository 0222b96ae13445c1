#!/usr/bin/env bash
# What is computed comes from guest memory.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "a flipped weight byte gives the reference's logits for that weight" \
	tests/flexserve/test_system.py::test_flipped_weight_byte_gives_the_references_logits_for_that_weight
held "a flipped KV byte likewise" \
	tests/flexserve/test_system.py::test_flipped_cache_byte_gives_the_references_logits_for_that_entry
held "storage unplugged after a full recall: the run fails by name" \
	tests/flexserve/test_system.py::test_unplugged_storage_after_a_full_recall_ends_the_run_by_name

verdict
