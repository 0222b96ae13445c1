#!/usr/bin/env bash
# The boundary between the worlds, by kinds of holes that such a boundary can have. Most kinds are tried by attacks on a
# phone that serves a model, whose events must name what blocked them; each by further variants, as tests: three at least.
set -uo pipefail
source "$(dirname "$0")/report.sh"

fewest=3
verdicts=$(cd "$root" && python3 -m flexserve attack --json)

attacks() { # kind, attack=what blocked it...: an asterisk in what blocked it stands for anything
	local kind=$1 found
	shift
	mapfile -t found < <(python3 - "$verdicts" "$@" <<'PYTHON'
import fnmatch, json, sys
verdicts = {attack["name"]: attack for attack in json.loads(sys.argv[1])["attacks"]}
tried = [(verdicts[name], by) for name, by in (row.split("=", 1) for row in sys.argv[2:])]
blocked = [attack["blocked"] and fnmatch.fnmatchcase(attack["by"], by) for attack, by in tried]
print(f"{sum(blocked)} of {len(blocked)}", "pass" if all(blocked) else "fail", sep="\n")
for attack, _ in tried:
    print("    {name}: {by}".format_map(attack) + (" ({times} times)" if attack["times"] > 1 else "").format_map(attack))
PYTHON
	)
	report "$kind: attacks" "${found[0]:-none}" "${found[1]:-fail}"
	printf '%s\n' "${found[@]:2}"
}

variants() { # kind and what refuses, pytest arguments...
	local kind=$1 log count
	shift
	log=$(cd "$root" && python3 -m pytest -q -p no:cacheprovider "$@" 2>&1)
	if [ $? -ne 0 ]; then
		report "$kind" "$(tail -n 1 <<<"$log" | grep -o '[0-9]* failed')" fail
		grep -E '^(FAILED|ERROR|E  )' <<<"$log" >&2
		return
	fi
	count=$(tail -n 1 <<<"$log" | grep -o '[0-9]* passed')
	report "$kind" "$count" "$([ "${count% *}" -ge "$fewest" ] && echo pass || echo fail)"
}

taken="SECURE_RESUME: BUSY, the page has left*"
fire=tests/sworld/test_under_fire.py
pool=tests/sworld/test_flexmem.py
pool_interrupted=tests/sworld/test_flexmem_interrupted.py
flexmem=tests/firmware/test_flexmem.py
driver=tests/firmware/test_driver_context.py

attacks "wrap at 2^64" allocate-wrapping="MEM_ALLOCATE: DENIED" allocate-to-2-64="MEM_ALLOCATE: DENIED" \
	reclaim-to-2-64="MEM_RECLAIM: DENIED"
variants "  other calls, FORCE, the NPU's addresses, grants: DENIED, INVALID_PARAMETER, BAD_GRANT" \
	tests/firmware/test_calls.py::test_fails_as_its_row_says tests/firmware/test_npu_switch.py::test_fails_as_its_row_says \
	$pool::test_what_wraps_is_neither_shared_nor_taken_for_a_grant

attacks "a second recall's deadline" force-after-second-recall="MEM_RECLAIM: NOT_DUE" \
	force-before-deadline="MEM_RECLAIM: NOT_DUE"
variants "  after, before and between deadlines, a part taken, an interrupted world: NOT_DUE" \
	$flexmem -k "time_of_its_own or leaves_no_deadline"

attacks "EL2 and the driver's timing" \
	driver-times-its-fault="stage-2 translation fault, level 2, secure timer: DRIVER_CALL ends with TIMEOUT, *"
variants "  by load, store, fetch, trapped register; an interrupt in the stub: TIMEOUT, FAULT" \
	$driver::test_driver_whose_time_ends_in_el2_leaves_nothing_there $driver::test_driver_that_never_returns_is_stopped \
	tests/firmware/test_preemption.py::test_driver_that_is_interrupted_in_el2_is_ended_when_it_goes_on

attacks "the confused deputy" reply-own-page="secure world: BAD_GRANT" reply-taken-back="secure world: BAD_GRANT"
variants "  what is behind a region, free or in another grant, and every other lie: BAD_GRANT" \
	$pool::test_grant_of_what_is_held_already_is_refused \
	"$fire::test_every_false_reply_is_refused_by_name_or_harmless[processor]"

attacks "the confused deputy, and the NPU" reply-own-page-npu="secure world: BAD_GRANT"
variants "  weights, cache, features, programs, sums, checks in use: BAD_GRANT" \
	$fire::test_page_that_is_in_use_is_no_grant "$fire::test_every_false_reply_is_refused_by_name_or_harmless[npu]"

attacks "FORCE behind MEM_LOCK, at every instruction" race-lock="$taken" race-decrypt="$taken" race-growth="$taken" \
	sequence-promise="the page has left*"
variants "  around each call, in every gap of the flows that lock: REVOKED before all else" \
	$fire::test_page_that_is_taken_around_a_call_is_nobodys \
	"$fire::test_pool_flow_survives_everything_everywhere[back]" \
	"$fire::test_pool_flow_survives_everything_everywhere[load]" \
	"$fire::test_pool_flow_survives_everything_everywhere[back out of free pages]"

attacks "FORCE inside a drop, at every instruction" race-drop="$taken" race-recall="$taken" race-jobs="$taken" \
	sequence-calls="SECURE_CALL: BUSY, $taken" sequence-share="*SECURE_CALL: BUSY, the page has left*"
variants "  in every gap of the flows that drop or release: REVOKED before all else" \
	$fire::test_page_that_is_taken_inside_a_drop_is_nobodys \
	$fire::test_what_is_taken_by_force_in_a_recall_is_paid_by_that \
	"$fire::test_pool_flow_survives_everything_everywhere[drop]" \
	"$fire::test_pool_flow_survives_everything_everywhere[discard]" \
	"$fire::test_pool_flow_survives_everything_everywhere[recall a region]"

variants "replies that end the secure kernel: every lie, sequences: refused by name, or harmless" \
	$fire::test_every_false_reply_is_refused_by_name_or_harmless $fire::test_service_survives_sequences \
	$fire::test_reply_to_a_thread_that_does_not_wait_is_refused_by_name \
	$pool::test_grant_that_was_never_allocated_is_neither_locked_nor_said_to_be_declined

variants "tables and addresses that run out: refused OPENs, regions: OUT_OF_TABLES, or no loss" \
	tests/sworld/test_refused_opens.py $fire::test_refused_opens_cost_nothing_that_lasts \
	$pool::test_regions_that_come_and_go_use_the_same_addresses_and_tables \
	$pool::test_out_of_tables_is_refused_and_leaves_nothing_behind \
	$pool::test_out_of_virtual_addresses_is_refused_and_they_come_back

variants "interrupts and arguments that end the secure kernel: IN_USE, BAD_REQUEST, other names" \
	$fire::test_entry_above_an_interrupted_thread_serves_revocations_only \
	$fire::test_region_whose_pages_are_taken_while_it_is_decrypted_is_not_ready \
	$fire::test_recall_that_comes_above_an_interrupted_thread_waits_for_it \
	$fire::test_service_survives_any_one_thing_anywhere $fire::test_any_arguments_of_a_service_are_refused_by_name \
	$fire::test_calls_while_a_thread_waits_for_its_reply_are_refused_by_name

attacks "a revocation that is interrupted, at every instruction" race-revocation="$taken"
variants "  one or many pages, in every gap: served once, acknowledged once" \
	$pool::test_revocation_above_a_revocation_serves_every_page_once \
	$pool_interrupted::test_page_that_is_taken_while_others_are_acknowledged_is_not_forgotten

variants "traps that are no calls, of AArch32 too: FAULT, or undefined" tests/firmware/test_traps.py
variants "refused stores whose SError goes with the core: it waits for who made it, or is gone" tests/firmware/test_serrors.py
variants "ticks that the driver silences, sets, puts off: the normal world's own in the secure world" \
	tests/firmware/test_ticks.py

attacks "registers that carry a value" registers-x="world switch: *" registers-v="world switch: *" \
	registers-el1="world switch: *" driver-debug-registers="trapped register, to EL3"
variants "  every encoding that EL1 can write, by both contexts: undefined, FAULT, or switched" \
	tests/firmware/test_register_channels.py tests/firmware/test_world_switch.py

variants "an interrupt at every instruction of EL2 and EL3: same ends, nothing left" \
	tests/firmware/test_interrupt_everywhere.py tests/firmware/test_interrupts_at_once.py tests/firmware/test_stub.py
variants "everything the normal world can do in every gap of every flow of the pool" \
	$fire::test_pool_flow_survives_everything_everywhere

variants "blind invariants: each rule, any bit of a table or register: the rule that is broken" \
	tests/monitor/test_rules.py

verdict
