"""Random calls of both worlds, hostile ones included: after each, every rule holds; none takes long."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.image import Image
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, StreamId
from emulator.native import ffi, lib
from emulator.world import World
from firmware.build import Mutation, build
from monitor import abi
from monitor.checker import Broken
from monitor.invariants.descriptors import NPU_SECURE
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


def npu_is_secure(phone: Phone) -> bool:
    """As the monitor has it; the rules see to it that the hardware says the same."""
    return phone.machine.checker.look().variables["npu_mode"] == NPU_SECURE


def call_driver(phone: Phone, hostile: bool) -> None:
    """In and out again, or to an end that the monitor makes."""
    phone.enter(World.SECURE)
    phone.smc_to_its_end(abi.DRIVER_CALL.function)
    if phone.in_driver:
        if hostile:
            phone.core.x[0] = PAGE
            phone.core.pc = phone.gate("gate_touch")
            assert phone.go_on(phone.run()) == "arrive_return"
        else:
            phone.smc_to_its_end(abi.DRIVER_RETURN.function)
    assert phone.core.world is World.SECURE


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_every_rule_holds_after_every_call(steps: list[tuple[abi.Call, int, int, int, int, bool]]) -> None:
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
        assert npu_is_secure(phone) == secure
        assert lib.core_longest_call(phone.machine.native) <= abi.MAX_CALL_INSTRUCTIONS
    phone.machine.close()


# A line of the monitor's that is left out, and the rule that sees it.
FORGOTTEN = [
    ("flexmem.c", "stage2_unmap(&extent);", "normal_memory_is_mapped_by_owner"),
    ("flexmem.c", "stage2_invalidate();", "core_tlb_holds_todays_stage2"),
    ("flexmem.c", "smmu_invalidate(&extent);", "smmu_tlb_holds_todays_stage2"),
    ("flexmem.c", "ownership_move(&extent, PAGE_ALLOCATED, PAGE_LOCKED);", "normal_memory_is_mapped_by_owner"),
    ("flexmem.c", "zero_page(page_address(page));", "returned_pages_hold_zeros"),
    ("flexmem.c", "stage2_map(extent);", "normal_memory_is_mapped_by_owner"),
    ("ownership.c", "pages_in[to]++;", "pages_are_counted"),
    ("ownership.c", "table[page] = (uint8_t)to;", "pages_are_counted"),
    ("npu_tables.c", "unmap((iova_of[page] & ~REVERSE_WRITE) - 1);", "npu_maps_locked_pages"),
    ("npu_tables.c", "entries[iova_page] = 0;", "npu_entries_are_the_reverse_tables"),
    ("npu_tables.c", "smmu_forget_npu_page(iova_page * PAGE_SIZE);", "smmu_tlb_holds_todays_stage2"),
    ("npu.c", "smmu_move_npu(1);", "streams_have_their_owners_table"),
    ("npu.c", "smmu_move_npu(0);", "streams_have_their_owners_table"),
    ("npu.c", "stage2_move_npu(NPU_IN_DRIVER);", "npu_registers_are_linked_by_mode"),
    ("stage2.c", "*normal.npu_link = 0;", "npu_registers_are_linked_by_mode"),
    ("stage2.c", "*driver.npu_link = 0;", "npu_registers_are_linked_by_mode"),
    ("npu.c", "normals[core] = gic_take(INTERRUPT_NPU0 + core);", "group0_is_the_monitors"),
    ("npu.c", "gic_give_back(INTERRUPT_NPU0 + core, normals[core]);", "group0_is_the_monitors"),
    ("gic.c", "normal.priority = set_priority(interrupt, SECURE_PRIORITY);", "monitors_interrupts_come_first"),
    ("gic.c", "set_priority(interrupt, settings.priority);", "monitors_interrupts_come_first"),
    ("driver.c", "driver_watch();", "secure_timer_is_armed_for_the_earliest"),
]


@pytest.mark.parametrize(("file", "line", "rule"), FORGOTTEN)
def test_checker_sees_a_monitor_that_forgets(
    file: str, line: str, rule: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    build(folder, ["monitor"], Mutation(f"el3/{file}", line, "(void)0;"))
    whole = Images.load()
    phone = Phone(images=Images(Image.load(folder / "monitor.elf"), whole.gate, whole.probe)).boot()
    phone.machine.checks = False
    phone.fill(PAGE, 2)
    assert phone.probe("probe_read", PAGE) == "registers_done"
    assert lib.smmu_translate(phone.machine.native, StreamId.STORAGE, PAGE, False, ffi.new("uint64_t *"))
    found: list[Broken] = phone.machine.checker.broken()
    assert found == []
    for call, *arguments in (
        (abi.MEM_ALLOCATE, PAGE, 2), (abi.MEM_LOCK, PAGE, 2), (abi.NPU_MAP, 0, PAGE, 2), (abi.NPU_ACQUIRE,),
        (abi.MEM_RELEASE, PAGE, 1), (abi.NPU_UNMAP, 0, 2), (abi.NPU_RELEASE,), (abi.MEM_RECLAIM, PAGE, 1),
    ):  # fmt: skip
        phone.call(call, *arguments)
        found += phone.machine.checker.broken()
        if call is abi.NPU_ACQUIRE:
            lib.smmu_translate(phone.machine.native, StreamId.NPU0, 0, False, ffi.new("uint64_t *"))
            for inner in (abi.DRIVER_CALL, abi.DRIVER_RETURN):
                phone.smc(inner.function)
                found += phone.machine.checker.broken()
    assert rule in {one.rule for one in found}, found
    phone.machine.close()
