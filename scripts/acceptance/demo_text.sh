#!/usr/bin/env bash
# The demo model's text.
set -uo pipefail
source "$(dirname "$0")/report.sh"

held "95 % of the words of ten samples are the training text's" tests/flexserve/test_demo_model.py -k words_are
held "no four-word phrase more than five times" tests/flexserve/test_demo_model.py -k phrase

verdict
