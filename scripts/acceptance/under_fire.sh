#!/usr/bin/env bash
# The secure kernel under fire: everything that the normal world can do, in every gap of a whole service. Half an hour.
set -uo pipefail
source "$(dirname "$0")/report.sh"
export UNDER_FIRE=everything

held "a service by the processor: every act in every gap" --timeout 7200 \
	"tests/sworld/test_under_fire.py::test_service_survives_any_one_thing_anywhere[processor]"
held "a service by the NPU: every act in every gap" --timeout 7200 \
	"tests/sworld/test_under_fire.py::test_service_survives_any_one_thing_anywhere[npu]"
held "every flow of the pool: every act in every gap" \
	tests/sworld/test_under_fire.py::test_pool_flow_survives_everything_everywhere
held "revocations: every two acts in every two gaps" --timeout 7200 \
	tests/sworld/test_under_fire.py::test_revocation_survives_any_two_things_anywhere
held "a driver that fails and lies: every lie in every call" --timeout 7200 \
	tests/sworld/test_under_fire.py::test_every_false_answer_of_the_driver_is_found_out

verdict
