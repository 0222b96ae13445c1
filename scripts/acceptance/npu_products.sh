#!/usr/bin/env bash
# The NPU's products of every shape against plain references: some 130,000, for minutes.
set -uo pipefail
source "$(dirname "$0")/report.sh"

sweep=tests/emulator/devices/npu/sweep.py
held "every shape up to 40 x 40 x 40, int8 and fp16" $sweep::test_every_shape_up_to_40
held "every remainder by the blocking, all three sizes at once, four kinds of results" \
	$sweep::test_every_remainder_of_all_three_sizes_at_once
held "large shapes by each kernel of this processor" $sweep::test_large_shapes_by_each_kernel
held "4096 x 4096 by 4096 x 4096, and one less" $sweep::test_the_largest_product

verdict
