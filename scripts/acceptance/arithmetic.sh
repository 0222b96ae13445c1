#!/usr/bin/env bash
# The served arithmetic against the plain reference and against float64.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "identical integers at every linear layer, 8 models" \
	tests/sworld/test_transformer.py::test_every_linear_layer_and_every_logit_is_the_references
held "identical tokens, any chunking" tests/sworld/test_transformer.py -k "chunks or cut or sampled"
held "8 models within 0.25 standard deviations of float64" tests/reference/test_accuracy.py
held "demo model: arg-max equal at 95 % of 500 positions" tests/flexserve/test_demo_model.py -k arg_max

verdict
