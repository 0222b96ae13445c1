#!/usr/bin/env bash
# The NPU's products of every shape against plain references: some 190,000, for minutes; and 100,000 bad programs.
set -uo pipefail
source "$(dirname "$0")/report.sh"

sweep=tests/emulator/devices/npu/sweep.py
held "every shape up to 40 x 40 x 40, int8 and fp16" $sweep::test_every_shape_up_to_40
held "every remainder by the blocking, all three sizes at once, four kinds of results" \
	$sweep::test_every_remainder_of_all_three_sizes_at_once
held "large shapes by each kernel of this processor" $sweep::test_large_shapes_by_each_kernel
held "4096 x 4096 by 4096 x 4096, and one less" $sweep::test_the_largest_product
held "100,000 bad programs: each ends with a status, a name, and nothing written elsewhere" \
	$sweep::test_bad_programs_and_accesses_at_random

verdict
