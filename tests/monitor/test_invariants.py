"""Random calls of both worlds, hostile ones included: after each, tables and ownership agree; none takes long."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.image import Image
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, StreamId
from emulator.native import lib
from emulator.world import World
from firmware.build import Mutation, build
from monitor import abi
from monitor.invariants import npu_stream
from monitor.view import read_stream
from tests.firmware.npu import broken
from tests.firmware.phone import PAGE, Images, Phone

MODES = {abi.NPU_ACQUIRE: True, abi.NPU_RELEASE: False, abi.NPU_RECLAIM: False}  # whose the NPU is afterwards
CALLS = (
    abi.MEM_ALLOCATE,
    abi.MEM_LOCK,
    abi.MEM_RECALL,
    abi.MEM_RELEASE,
    abi.MEM_RECLAIM,
    abi.MEM_NEXT_RELEASED,
    abi.MEM_NEXT_REVOKED,
    abi.MEM_ACK_REVOKED,
    abi.NPU_MAP,
    abi.NPU_UNMAP,
    abi.NPU_ACQUIRE,
    abi.NPU_RELEASE,
    abi.NPU_RECALL,
    abi.NPU_RECLAIM,
    abi.DRIVER_CALL,
)
IOVAS = st.one_of(
    st.integers(0, 5).map(lambda page: page * PAGE_SIZE),
    st.sampled_from([8, (64 << 20) - PAGE_SIZE, 64 << 20, 1 << 32, (1 << 64) - PAGE_SIZE]),
)
PLACES = st.one_of(
    st.integers(0, 5).map(lambda page: PAGE + page * PAGE_SIZE),
    st.sampled_from([0, DRAM_BASE, PAGE + 8, DRAM_BASE + (64 << 20) - PAGE_SIZE, (1 << 64) - PAGE_SIZE]),
)
COUNTS = st.one_of(st.integers(0, 6), st.sampled_from([abi.PAGES_PER_CALL + 1, abi.MINIMUM_DEADLINE, (1 << 64) - 1]))
FLAGS = st.sampled_from([0, 0, abi.FORCE, 2])
STEPS = st.tuples(st.sampled_from(CALLS), PLACES, COUNTS, IOVAS, FLAGS, st.booleans())


def check(phone: Phone) -> list[str]:
    return broken(phone)


def npu_is_secure(phone: Phone) -> bool:
    """By its first stream; the checker sees to it that everything else says the same."""
    table = phone.board.smmu.STRTAB_BASE["address"] << 6
    return read_stream(phone.machine, table, StreamId.NPU0) == npu_stream(phone.layout)


def call_driver(phone: Phone, hostile: bool) -> None:
    """In and out again, or to an end that the monitor makes."""
    phone.enter(World.SECURE)
    phone.smc_to_its_end(abi.DRIVER_CALL.function)
    if phone.in_driver:
        assert check(phone) == []
        if hostile:
            phone.core.x[0] = PAGE
            phone.core.pc = phone.gate("gate_touch")
            assert phone.go_on(phone.run()) == "arrive_return"
        else:
            phone.smc_to_its_end(abi.DRIVER_RETURN.function)
    assert phone.core.world is World.SECURE


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_tables_and_ownership_agree_after_every_call(steps: list[tuple[abi.Call, int, int, int, int, bool]]) -> None:
    phone = Phone().boot()
    lib.core_watch_calls(phone.machine.native, True)
    secure = False
    for call, place, count, iova, flags, late in steps:
        if late:  # past any deadline
            lib.core_advance(phone.machine.native, phone.machine.instructions + 2 * abi.MINIMUM_DEADLINE)
        if call is abi.MEM_RECALL:
            phone.call(call, count, abi.MINIMUM_DEADLINE)
        elif call in (abi.MEM_NEXT_RELEASED, abi.MEM_NEXT_REVOKED):
            phone.call(call, count)
        elif call is abi.NPU_MAP:
            phone.call(call, iova, place, count, flags)
        elif call is abi.NPU_UNMAP:
            phone.call(call, iova, count)
        elif call is abi.NPU_RECALL:
            phone.call(call, abi.MINIMUM_DEADLINE)
        elif call is abi.DRIVER_CALL:
            call_driver(phone, hostile=bool(flags))
        elif call in MODES:
            secure = MODES[call] if phone.status(call) == abi.Status.SUCCESS else secure
        else:
            phone.call(call, place, count, flags)
        assert check(phone) == []
        assert npu_is_secure(phone) == secure
        assert lib.core_longest_call(phone.machine.native) <= abi.MAX_CALL_INSTRUCTIONS
    phone.machine.close()


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("flexmem.c", "stage2_unmap(&extent);", "maps"),
        ("flexmem.c", "ownership_move(&extent, PAGE_ALLOCATED, PAGE_LOCKED);", "does not map"),
        ("npu_tables.c", "unmap((iova_of[page] & ~REVERSE_WRITE) - 1);", "is not LOCKED"),
        ("npu_tables.c", "entries[iova_page] = 0;", "do not agree"),
        ("npu.c", "smmu_move_npu(1);", "in normal mode"),
        ("npu.c", "stage2_move_npu(NPU_IN_DRIVER);", "not in secure mode"),
        ("stage2.c", "*normal.npu_link = 0;", "in secure mode"),
        ("stage2.c", "*driver.npu_link = 0;", "in normal mode"),
        ("npu.c", "gic_take(INTERRUPT_NPU0 + core);", "interrupt 142 is in Group 1"),
        ("npu.c", "gic_give_back(INTERRUPT_NPU0 + core, normal_enabled[core]);", "interrupt 144 is in Group 0"),
        ("gic.c", "set_priority(interrupt, SECURE_PRIORITY);", "interrupt 143 is the monitor's"),
        ("gic.c", "set_priority(interrupt, NORMAL_PRIORITY);", "interrupt 142 is the normal world's"),
    ],
)
def test_checker_sees_a_monitor_that_forgets(
    file: str, line: str, said: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    build(folder, ["monitor"], Mutation(f"el3/{file}", line, "(void)0;"))
    whole = Images.load()
    phone = Phone(images=Images(Image.load(folder / "monitor.elf"), whole.gate, whole.probe)).boot()
    assert check(phone) == []
    found: list[str] = []
    for call, *arguments in (
        (abi.MEM_ALLOCATE, PAGE, 2), (abi.MEM_LOCK, PAGE, 2), (abi.NPU_MAP, 0, PAGE, 2), (abi.NPU_ACQUIRE,),
        (abi.MEM_RELEASE, PAGE, 1), (abi.NPU_UNMAP, 0, 2), (abi.NPU_RELEASE,),
    ):  # fmt: skip
        phone.call(call, *arguments)
        found += check(phone)
    assert any(said in line for line in found), found
    phone.machine.close()
