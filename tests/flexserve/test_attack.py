"""The hostile normal world: every attack is blocked, says by what, and would get through if nothing protected."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from emulator.devices.npu import NpuCore, Problem
from emulator.events import EventKind, Filter, NpuWhat
from emulator.machine import Machine
from emulator.memory_map import MIB, PAGE_SIZE, DramLayout, Nsaid
from emulator.native import lib
from emulator.world import World
from flexserve import attack
from flexserve.attack import NOTHING, Battle, Verdict, peaceful_tokens, run, select
from flexserve.attacked_model import NPU_SHAPE, SHAPE
from flexserve.cli import execute
from flexserve.evidence import FIQ, Evidence
from flexserve.system import Generation, Images
from monitor import abi
from monitor.abi import PageState
from monitor.services.messages import ServiceStatus
from nworld.attacks import ATTACKS, Attack, Moment
from nworld.attacks.registry import Script, until
from nworld.npu_sandbox import NpuSandbox
from tests.flexserve.test_mutations import MUTATIONS, SECOND_LINES

ROOT = Path(__file__).resolve().parents[2]
PAGE = 0x4123_4000
MASK = (1 << 64) - 1
DRIVER = World.NORMAL | abi.Vmid.DRIVER << lib.EVENT_VMID_SHIFT  # the driver context, in an event

GONE = "the page has left the secure world's lists"
BUSY = f"SECURE_RESUME: BUSY, {GONE}"

# What the event stream must name as the reason, attack by attack.
STOPPED_BY = {
    "cpu-read-locked": "stage-2 translation fault, level 3",
    "cpu-write-locked": "stage-2 translation fault, level 3",
    "cpu-execute-locked": "stage-2 translation fault, level 3",
    "cpu-read-warm-tlb": "stage-2 translation fault, level 3",
    "cpu-write-warm-tlb": "stage-2 translation fault, level 3",
    "cpu-execute-warm-tlb": "stage-2 translation fault, level 3",
    "cpu-read-secure-dram": "stage-2 translation fault, level 2",
    "cpu-write-secure-dram": "stage-2 translation fault, level 2",
    "cpu-read-secure-sram": "stage-2 translation fault, level 2",
    "tables-in-locked-page": "stage-2 translation fault, level 3, on a table walk",
    "tables-in-secure-dram": "stage-2 translation fault, level 2, on a table walk",
    "tables-in-secure-sram": "stage-2 translation fault, level 2, on a table walk",
    "at-locked-page": "stage-2 translation fault, level 3, on a table walk",
    "at-secure-dram": "stage-2 translation fault, level 2, on a table walk",
    "at-carve-out": "stage-2 translation fault, level 2, on a table walk",
    "write-tzasc": "stage-2 translation fault, level 3",
    "write-tzpc": "stage-2 translation fault, level 3",
    "write-smmu": "stage-2 translation fault, level 3",
    "write-stage-2": "stage-2 translation fault, level 2",
    "dma-read-locked": "SMMU F_TRANSLATION",
    "dma-write-locked": "SMMU F_TRANSLATION",
    "dma-read-secure-dram": "SMMU F_TRANSLATION",
    "dma-write-carve-out": "SMMU F_TRANSLATION",
    "dma-out-across-lock": "CMD_SYNC: LOCK returned when the burst in flight had been performed",
    "dma-in-across-lock": "CMD_SYNC: LOCK returned when the burst in flight had been performed",
    "dma-during-reclaim": "SMMU F_TRANSLATION",
    "npu-features-locked": "SMMU F_TRANSLATION",
    "npu-weights-locked": "SMMU F_TRANSLATION",
    "npu-sums-locked": "SMMU F_TRANSLATION",
    "npu-program-locked": "SMMU F_TRANSLATION",
    "npu-features-secure-dram": "SMMU F_TRANSLATION",
    "npu-features-secure-sram": "SMMU F_TRANSLATION",
    "npu-sums-carve-out": "SMMU F_TRANSLATION",
    "npu-program-secure-dram": "SMMU F_TRANSLATION",
    "npu-features-driver": "SMMU F_TRANSLATION",
    "npu-sums-driver": "SMMU F_TRANSLATION",
    "npu-features-staged": "SMMU F_TRANSLATION",
    "npu-sums-staged": "SMMU F_TRANSLATION",
    "npu-program-staged": "SMMU F_TRANSLATION",
    "npu-program-by-iova": "SMMU F_TRANSLATION",
    "npu-stop-job": "stage-2 translation fault, level 2",
    "npu-redirect-job": "stage-2 translation fault, level 2",
    "npu-mask-job": "stage-2 translation fault, level 2",
    "npu-reset-job": "stage-2 translation fault, level 2",
    "npu-stop-clock": "stage-2 translation fault, level 2",
    "npu-power-off": "stage-2 translation fault, level 2",
    "npu-read-registers": "stage-2 translation fault, level 2",
    "npu-warm-tlb": "stage-2 translation fault, level 2",
    "npu-registers-to-storage": "SMMU F_TRANSLATION",
    "npu-registers-from-storage": "SMMU F_TRANSLATION",
    "npu-bypass-stream": "stage-2 translation fault, level 2",
    "npu-move-stream-table": "stage-2 translation fault, level 3",
    "npu-map-page": "stage-2 translation fault, level 2",
    "npu-sums-stream-table": "SMMU F_TRANSLATION",
    "npu-sums-across-lock": "CMD_SYNC: LOCK returned when the burst in flight had been performed",
    "npu-start-while-draining": "stage-2 translation fault, level 2",
    "npu-never-ends": "NPU ABORTED",
    "npu-left-over-registers": "NPU ABORTED, scrubbed: the registers hold their reset values",
    "npu-left-over-features": "NPU BAD_VALUE CNA_CBUF_CON0",
    "npu-left-over-output": "NPU ABORTED",
    "npu-reclaim-without-recall": "NPU_RECLAIM: NOT_OWED",
    "npu-reclaim-before-deadline": "NPU_RECLAIM: NOT_DUE",
    "npu-short-recall": "NPU_RECALL: INVALID_PARAMETER",
    "driver-skips-jobs": "check of the sums: WRONG",
    "driver-skips-tasks": "NPU BAD_VALUE PC_TASK_CON, DRIVER_RETURN: JOB_FAILED, check of the sums: WRONG",
    "driver-swaps-jobs": "check of the sums: WRONG",
    "driver-runs-twice": "check of the sums: WRONG",
    "driver-reports-early": "NPU ABORTED, check of the sums: BUSY",
    "driver-starts-anywhere": "NPU UNKNOWN_TARGET, check of the sums: WRONG",
    "driver-powers-off": "NPU ABORTED, check of the sums: WRONG",
    "driver-never-answers": "secure timer: DRIVER_CALL ends with TIMEOUT",
    "driver-reads-memory": "stage-2 translation fault, level 2, DRIVER_CALL: FAULT",
    "driver-writes-memory": "stage-2 translation fault, level 2, DRIVER_CALL: FAULT",
    "driver-debug-registers": "trapped register, to EL3",
    "driver-times-its-fault": (
        "stage-2 translation fault, level 2, secure timer: DRIVER_CALL ends with TIMEOUT, check of the sums: RIGHT"
    ),
    "driver-calls-monitor": "NOT_SUPPORTED, check of the sums: RIGHT",
    "interrupt-forge": "GIC: ISPENDR keeps what it held",
    "interrupt-activate": "GIC: ISACTIVER keeps what it held",
    "interrupt-disable": "GIC: ICENABLER keeps what it held",
    "interrupt-end": "GIC: ISACTIVER keeps what it held",
    "interrupt-prioritise": "GIC: IPRIORITYR keeps what it held",
    "interrupt-regroup": "GIC: IGROUPR keeps what it held",
    "interrupt-retarget": "GIC: ITARGETSR keeps what it held",
    "interrupt-software": "GIC: ISPENDR keeps what it held",
    "interrupt-forge-deadline": "GIC: ISPENDR keeps what it held",
    "interrupt-disable-deadline": "GIC: ICENABLER keeps what it held",
    "allocate-twice": "MEM_ALLOCATE: WRONG_STATE",
    "allocate-overlapping": "MEM_ALLOCATE: WRONG_STATE",
    "allocate-carve-out": "MEM_ALLOCATE: DENIED",
    "allocate-into-carve-out": "MEM_ALLOCATE: DENIED",
    "allocate-secure-dram": "MEM_ALLOCATE: DENIED",
    "allocate-secure-sram": "MEM_ALLOCATE: DENIED",
    "allocate-mmio": "MEM_ALLOCATE: DENIED",
    "allocate-past-dram": "MEM_ALLOCATE: DENIED",
    "allocate-wrapping": "MEM_ALLOCATE: DENIED",
    "allocate-to-2-64": "MEM_ALLOCATE: DENIED",
    "reclaim-to-2-64": "MEM_RECLAIM: DENIED",
    "lock-from-normal": "MEM_LOCK: NOT_SUPPORTED",
    "release-from-normal": "MEM_RELEASE: NOT_SUPPORTED",
    "wrong-world-function": "NOT_SUPPORTED",
    "npu-wrong-world-function": "NOT_SUPPORTED",
    "unknown-function": "NOT_SUPPORTED",
    "reserved-bits": "NOT_SUPPORTED",
    "smc-immediate": "MEM_ALLOCATE: NOT_SUPPORTED",
    "arbitrary-registers": "NOT_SUPPORTED, INVALID_PARAMETERS, INVALID_PARAMETER",
    "reclaim-without-recall": "MEM_RECLAIM: WRONG_STATE",
    "force-without-recall": "MEM_RECLAIM: NOT_OWED",
    "force-before-deadline": "MEM_RECLAIM: NOT_DUE",
    "force-after-second-recall": "MEM_RECLAIM: NOT_DUE",
    "force-beyond-owed": "MEM_RECLAIM: NOT_OWED",
    "allocate-revoked": "MEM_ALLOCATE: WRONG_STATE",
    "left-over-reclaimed": "scrubbed: the page holds only zeros",
    "left-over-forced": "scrubbed: the page holds only zeros",
    "registers-x": "world switch: 25 registers hold what they held before",
    "registers-v": "world switch: 33 registers hold what they held before",
    "registers-el1": "world switch: 16 registers hold what they held before",
    "reply-own-page": "secure world: BAD_GRANT",
    "reply-own-page-npu": "secure world: BAD_GRANT",
    "reply-taken-back": "secure world: BAD_GRANT",
    "race-lock": BUSY,
    "race-decrypt": BUSY,
    "race-growth": BUSY,
    "race-drop": BUSY,
    "race-recall": BUSY,
    "race-revocation": BUSY,
    "race-jobs": BUSY,
    "sequence-promise": GONE,
    "sequence-calls": f"SECURE_CALL: BUSY, {BUSY}",
    "sequence-share": f"SECURE_RESUME: BUSY, secure world: IN_USE, SECURE_CALL: BUSY, {GONE}",
    "flipped-bit": "secure world: BAD_TAG",
    "swapped-layers": "secure world: BAD_TAG",
    "other-model": "secure world: WRONG_MODEL",
    "older-package": "secure world: OLD_VERSION",
}


@pytest.fixture(name="images", scope="module")
def _images() -> Images:
    return Images.load()


@pytest.fixture(name="verdicts", scope="module")
def _verdicts() -> dict[str, Verdict]:
    """Of all attacks, each phone's when its battle is fought."""
    return {}


@pytest.fixture(name="served", scope="module")
def _served(images: Images, verdicts: dict[str, Verdict]) -> dict[type[NpuSandbox] | None, Generation]:
    """By each phone at the end of its battle."""
    served = {}
    for driver in dict.fromkeys(one.driver for one in ATTACKS):
        attacks = sorted((one for one in ATTACKS if one.driver is driver), key=lambda one: one.begins.number)
        with contextlib.closing(Battle(images, driver)) as battle:
            served[driver] = battle.fight(attacks, lambda verdict: verdicts.update({verdict.name: verdict}))
    return served


@pytest.fixture(name="lifted", scope="module")
def _lifted(images: Images) -> dict[str, Verdict]:
    liftable = tuple(one for one in ATTACKS if one.control)
    return {verdict.name: verdict for verdict in run(liftable, images=images, lifted=True)}


def names(attacks: Sequence[Attack]) -> list[str]:
    return [one.name for one in attacks]


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("name", names(ATTACKS))
def test_attack_is_blocked_by_what_the_event_stream_names(name: str, verdicts: dict[str, Verdict]) -> None:
    assert verdicts[name].blocked
    assert verdicts[name].by == STOPPED_BY[name]


@pytest.mark.parametrize("name", [one.name for one in ATTACKS if one.control])
def test_the_same_gets_through_where_nothing_protects(name: str, lifted: dict[str, Verdict]) -> None:
    assert not lifted[name].blocked


def test_attacks_without_such_a_control_have_a_mutated_firmware_as_theirs() -> None:
    mutated = {name for _, _, attacks in (*MUTATIONS, *SECOND_LINES) for name in attacks}
    assert {one.name for one in ATTACKS if not one.control} <= mutated


@pytest.mark.parametrize(
    "name",
    [
        "cpu-read-warm-tlb",
        "dma-in-across-lock",
        "allocate-revoked",
        "registers-el1",
        "npu-stop-job",
        "npu-left-over-features",
        "npu-start-while-draining",
        "interrupt-end",
    ],
)
@pytest.mark.usefixtures("served")
def test_an_attack_alone_ends_as_among_all(name: str, verdicts: dict[str, Verdict], images: Images) -> None:
    assert run(select([name]), images=images) == (verdicts[name],)


@pytest.mark.parametrize("driver", list(dict.fromkeys(one.driver for one in ATTACKS)))
def test_attacks_change_no_token_that_is_served_meanwhile(
    driver: type[NpuSandbox] | None, served: dict[type[NpuSandbox] | None, Generation]
) -> None:
    tokens = served[driver].tokens
    assert tokens == peaceful_tokens(len(tokens), NPU_SHAPE if driver else SHAPE)
    assert len(set(tokens)) > 1 or not driver


def test_after_a_breach_the_next_attack_gets_a_fresh_phone(images: Images) -> None:
    def helpless(*_: object) -> Script[bool]:
        yield from until(Moment.TOKEN)
        return True

    attacks = [Attack("helpless", "", helpless), *select(["cpu-read-locked"])]
    assert [(verdict.blocked, verdict.by) for verdict in run(attacks, images=images)] == [
        (False, NOTHING),
        (True, STOPPED_BY["cpu-read-locked"]),
    ]


# No attack is an empty gesture


def test_planting_wants_the_page_in_the_state_that_is_said(images: Images) -> None:
    battle = Battle(images)
    page = battle.hostile.take_page()
    with pytest.raises(AssertionError, match="is NORMAL, not RELEASED"):
        battle.judge.plant(page, PageState.RELEASED)
    with pytest.raises(AssertionError, match="wants a locked page"):
        battle.judge.locked()
    battle.close()


def test_warmed_and_loaded_pages_were_reached_before_they_were_locked(images: Images) -> None:
    battle = Battle(images)
    battle.fight((), lambda _: None)
    assert battle.hostile.warmed
    assert battle.hostile.loaded
    battle.close()


def test_planted_page_is_put_right_again_after_the_attack(images: Images) -> None:
    battle = Battle(images)
    address = battle.judge.secure_dram().address
    planted = battle.system.machine.read_physical(address, PAGE_SIZE)
    battle.judge.end()
    assert battle.system.machine.read_physical(address, PAGE_SIZE) != planted
    battle.close()


# What stopped an attack


@pytest.fixture(name="machine")
def _machine() -> Machine:
    return Machine(DramLayout(64 * MIB))


@pytest.mark.parametrize(
    ("kind", "args", "by"),
    [
        (EventKind.EXCEPTION, (0x24 << 26 | 0x07, 0, 0, 1, 2), "stage-2 translation fault, level 3"),
        (EventKind.EXCEPTION, (0x20 << 26 | 0x0D, 0, 0, 1, 2), "stage-2 permission fault, level 1"),
        (EventKind.EXCEPTION, (0x25 << 26 | 0x10, 0, 0, 1, 1), "external abort"),
        (EventKind.EXCEPTION, (0x25 << 26 | 0x15, 0, 0, 1, 1), "external abort, level 1"),
        (EventKind.EXCEPTION, (0x25 << 26 | 0x06, 0, 0, 1, 1), "translation fault, level 2"),
        (EventKind.EXCEPTION, (0, 0, 0, 1, 1), "undefined instruction, to EL1"),
        (EventKind.EXCEPTION, (0x2F << 26, 0, 0, 1, 1), "SError, to EL1"),
        (EventKind.EXCEPTION, (0x17 << 26, 0, 0, 1, 3), ""),
        (EventKind.DENIED, (PAGE, Nsaid.STORAGE, 0, 1, Filter.TZASC, 1), "TZASC denies NSAID 2"),
        (EventKind.SMMU_FAULT, (1, PAGE, 0x10, 1), "SMMU F_TRANSLATION"),
        (EventKind.NPU, (0, NpuWhat.ABORTED, 8, 0), "NPU ABORTED"),
        (
            EventKind.NPU,
            (0, NpuWhat.FAULT, Problem.BAD_VALUE, NpuCore.CNA_CBUF_CON0.offset),
            "NPU BAD_VALUE CNA_CBUF_CON0",
        ),
        (EventKind.NPU, (0, NpuWhat.FAULT, Problem.DMA_READ, 0, PAGE), ""),
        (EventKind.SMC, (abi.DRIVER_RETURN.function, 1, 0, 0, 0, 0, 1, DRIVER), "DRIVER_RETURN: JOB_FAILED"),
        (EventKind.SMC, (abi.DRIVER_RETURN.function, 0, 0, 0, 0, 0, 1, DRIVER), ""),
        (EventKind.SMC_RETURN, (abi.Status.FAULT & MASK, 0, 0, 0, 0, 0, 1, World.SECURE), "DRIVER_CALL: FAULT"),
    ],
)
def test_refusal_is_read_off_the_syndrome(machine: Machine, kind: EventKind, args: tuple[int, ...], by: str) -> None:
    evidence = Evidence(machine.events)
    machine.events.emit(kind, *args)
    assert evidence.stopped_by() == by
    evidence.clear()
    assert evidence.stopped_by() == ""


@pytest.mark.parametrize(("then", "by"), [(World.SECURE, "secure timer: DRIVER_CALL ends with TIMEOUT"), (DRIVER, "")])
def test_driver_that_a_deadline_has_stopped_is_known_by_who_calls_next(machine: Machine, then: int, by: str) -> None:
    evidence = Evidence(machine.events)
    machine.events.emit(EventKind.EXCEPTION, 0, 0, 0, 1, 3, 0, FIQ, DRIVER)
    machine.events.emit(EventKind.SMC, abi.NPU_RELEASE.function, 0, 0, 0, 0, 0, 1, then)
    assert evidence.stopped_by() == by


def test_refusal_of_a_call_names_it_and_success_names_nothing(machine: Machine) -> None:
    evidence = Evidence(machine.events)
    for call, status, detail in (
        (abi.MEM_LOCK, abi.Status.SUCCESS, 1),
        (abi.MEM_RECLAIM, abi.Status.NOT_DUE, 0),
        (abi.SECURE_DONE, abi.Status.SUCCESS, ServiceStatus.BAD_TAG),
    ):
        machine.events.emit(EventKind.SMC, call.function)
        machine.events.emit(EventKind.SMC_RETURN, status & (1 << 64) - 1, detail, 0, 0, 0, 0, 1, World.NORMAL)
    assert evidence.stopped_by() == "MEM_RECLAIM: NOT_DUE, secure world: BAD_TAG"


def test_dma_is_told_apart_by_the_lock_it_meets(machine: Machine) -> None:
    evidence = Evidence(machine.events)
    reach = (EventKind.DMA, 1, PAGE, PAGE, 4096, 1)
    machine.events.emit(*reach)
    machine.events.emit(EventKind.SMC, abi.MEM_LOCK.function, PAGE, 1)
    assert not evidence.dma_at(PAGE).during_lock
    machine.events.emit(*reach)
    machine.events.emit(EventKind.SMC_RETURN, abi.Status.SUCCESS, 1)
    timing = evidence.dma_at(PAGE)
    assert timing.during_lock and not timing.after_lock
    machine.events.emit(*reach)
    assert evidence.dma_at(PAGE).after_lock


# The command


def test_json_lists_each_attack_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["attack", "--json", "older-package", "allocate-twice"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "attacks": [
            {"name": name, "blocked": True, "by": STOPPED_BY[name], "times": 1}
            for name in ("allocate-twice", "older-package")
        ],
        "blocked": 2,
        "total": 2,
    }


def test_attack_that_gets_through_is_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breached(attacks: Sequence[Attack], **_: object) -> tuple[Verdict, ...]:
        return tuple(Verdict(one.name, one.tries, False, NOTHING) for one in attacks)

    monkeypatch.setattr("flexserve.attack_recipe.run", breached)
    assert execute(["attack", "cpu-read-locked"]) == 1
    assert "0 of 1 attacks blocked" in capsys.readouterr().out
    assert execute(["attack", "--json", "cpu-read-locked"]) == 1


def test_table_says_what_was_tried_and_what_stopped_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["attack", "cpu-read-locked"]) == 0
    out = capsys.readouterr().out
    assert "loads a secret from a locked page" in out
    assert "stage-2 translation fault, level 3" in out
    assert "1 of 1 attacks blocked" in out


def test_unknown_name_is_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["attack", "cpu-read-locked", "rowhammer"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "flexserve: there is no attack 'rowhammer': `flexserve attack --list` names them all\n"


def test_list_names_every_attack(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["attack", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names(ATTACKS)


def test_controls_are_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["attack", "--controls", "cpu-read-locked", "lock-from-normal"]) == 0
    assert "1 of 1 got through" in capsys.readouterr().out


def test_guide_has_a_row_for_every_attack() -> None:
    guide = (ROOT / "docs" / "attacks.md").read_text()
    rows = [line for line in guide.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == names(ATTACKS)
    assert all(f"| {one.tries} |" in row for one, row in zip(ATTACKS, rows, strict=True))


def test_names_are_unique_and_select_keeps_the_order() -> None:
    assert len(set(names(ATTACKS))) == len(ATTACKS)
    assert names(select(["older-package", "cpu-read-locked"])) == ["cpu-read-locked", "older-package"]
    assert select([]) == ATTACKS
    with pytest.raises(attack.UnknownAttack):
        select(["rowhammer"])
