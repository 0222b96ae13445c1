#!/usr/bin/env bash
# Every acceptance script in turn; the exit status tells whether all passed. Run it in a checkout, in an environment
# made by `pip install -e '.[test]'`. install.sh makes its own environments and takes longest.
cd "$(dirname "$0")" || exit 1
failed=0

for script in firmware determinism recall nothing_faked arithmetic npu npu_products demo_text attacks boundary translation fidelity stepping traces exec bench bad_input install; do
	printf '\n%s\n' "$script"
	"./$script.sh" || failed=1
done
exit "$failed"
