#!/usr/bin/env bash
# The NPU that both worlds share: device, switch, drivers, interrupts, and what it is worth beside llama-cpp-python (which
# FLEXSERVE_PEER_PYTHON may name a Python for). npu_products.sh goes through many more shapes and bad programs.
set -uo pipefail
source "$(dirname "$0")/report.sh"

npu=tests/emulator/devices/npu

held "int8 products exactly, fp16 ones to the last bit, by each kernel of this processor" $npu/test_products.py
held "bad programs, drivers and accesses: status bits, and an event that names the register" \
	$npu/test_programs.py $npu/test_bad_programs.py $npu/test_control.py
held "a lock or an unmap under a job: a DMA error, no wrong result, no leak" \
	$npu/test_dma.py tests/firmware/test_npu_in_flight.py
held "the same integers and floats by the baseline's instructions" tests/emulator/test_tensor.py \
	tests/sworld/test_transformer.py::test_logits_hash_is_the_same_everywhere \
	tests/flexserve/test_run.py::test_same_seed_same_everything
held "an interrupt after every instruction of every call: no result changes, none is lost" \
	tests/firmware/test_interrupt_everywhere.py
held "deadlines and normal interrupts take the core from a secure world that does not return" \
	tests/firmware/test_preemption.py tests/firmware/test_secure_interrupts.py tests/firmware/test_npu_interrupt.py
held "secure, normal, secure: within the instructions that FEATURES says" tests/firmware/test_npu_switch.py -k bounded
held "the switch: who reaches what before, during and after, every failure of its calls" tests/firmware/test_npu_switch.py
held "one driver in both worlds; what it spoils is found out; the app and the model get on" \
	tests/firmware/test_driver_context.py tests/sworld/test_npu.py tests/nworld/test_npu.py tests/nworld/test_npu_share.py
held "the same tokens with --npu-app, under recalls, with bad drivers" tests/flexserve/test_npu_serving.py
held "golden traces: jobs, recall, each attack on the NPU, by its driver, by interrupts" \
	tests/test_golden.py -k "npu or driver or interrupt"
held "the NPU in the stepper" tests/flexserve/stepper/test_npu.py
held "the NPU's track in exports" tests/flexserve/export -k "npu or normal_job"
held "a snapshot in the middle of a job, or of an interrupt, goes on as the run did" \
	tests/flexserve/test_snapshot.py -k "middle_of_a_job or interrupt_under_way"
held "bench npu, bench llm: their keys, and a peer that is not there" \
	tests/flexserve/test_bench_npu.py tests/flexserve/test_bench_llm.py

IFS=$'\t' read -r figure passed < <(python3 - "$(flexserve run --json --tokens 24)" \
	"$(flexserve run --json --tokens 24 --device cpu)" "$(flexserve run --json --tokens 24 --npu-app)" <<'PYTHON'
import json, sys
npu, cpu, shared = (json.loads(run) for run in sys.argv[1:])
right = (
    npu["tokens"] == cpu["tokens"] == shared["tokens"]
    and all(set(run["npu"]) == {"jobs", "switches", "normal_jobs", "recalls", "macs"} for run in (npu, cpu, shared))
    and npu["npu"]["jobs"] > 0 and not any(cpu["npu"].values()) and all(shared["npu"].values())
)
print(f"{shared['npu']['switches']} switches", "pass" if right else "fail", sep="\t")
PYTHON
)
report "flexserve run --json: the same tokens by NPU, by processor, beside --npu-app" "$figure" "$passed"

attacks=$(flexserve attack --json)
for kind in npu driver interrupt; do
	IFS=$'\t' read -r figure passed < <(python3 - "$attacks" "$kind-" <<'PYTHON'
import json, sys
blocked = [attack["blocked"] for attack in json.loads(sys.argv[1])["attacks"] if attack["name"].startswith(sys.argv[2])]
print(f"{sum(blocked)} of {len(blocked)}", "pass" if blocked and all(blocked) else "fail", sep="\t")
PYTHON
	)
	report "flexserve attack: $kind-...: blocked" "$figure" "$passed"
done

# In one run on the same cores; the median ratio of three.
rates=()
for _ in 1 2 3; do
	rates+=("$(flexserve bench llm --params 110M --json)")
done
for kind in prefill:1 decode:0.5; do
	IFS=$'\t' read -r figure passed < <(python3 - "${kind%:*}" "${kind#*:}" "${rates[@]}" <<'PYTHON'
import json, statistics, sys
kind, least, *runs = sys.argv[1:]
rates = [json.loads(run) for run in runs]
ours, peers = ([run[f"{who}{kind}_tokens_per_s"] for run in rates] for who in ("", "peer_"))
if all(peers):
    ratio = statistics.median(our / peer for our, peer in zip(ours, peers))
    print(f"{ratio:.2f}", "pass" if ratio >= float(least) else "fail", sep="\t")
else:
    print("no peer", "skipped", sep="\t")
PYTHON
	)
	what="bench llm --params 110M: ${kind%:*}, ours / llama-cpp-python (at least ${kind#*:})"
	if [ "$passed" = skipped ]; then
		printf 'skipped, llama-cpp-python does not run here: %s\n' "$what"
	else
		report "$what" "$figure" "$passed"
	fi
done

verdict
