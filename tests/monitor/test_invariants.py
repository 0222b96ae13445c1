"""Random calls of both worlds, hostile ones included: after each, tables and ownership agree; none takes long."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.image import Image
from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from emulator.native import lib
from emulator.world import World
from firmware.build import Mutation, build
from monitor import abi
from monitor.invariants import violations
from tests.firmware.phone import PAGE, Images, Phone

STE_BYTES = 64
ADDRESS = (1 << 48) - 1
CALLS = (
    abi.MEM_ALLOCATE,
    abi.MEM_LOCK,
    abi.MEM_RECALL,
    abi.MEM_RELEASE,
    abi.MEM_RECLAIM,
    abi.MEM_NEXT_RELEASED,
    abi.MEM_NEXT_REVOKED,
    abi.MEM_ACK_REVOKED,
)
PLACES = st.one_of(
    st.integers(0, 5).map(lambda page: PAGE + page * PAGE_SIZE),
    st.sampled_from([0, DRAM_BASE, PAGE + 8, DRAM_BASE + (64 << 20) - PAGE_SIZE, (1 << 64) - PAGE_SIZE]),
)
COUNTS = st.one_of(st.integers(0, 6), st.sampled_from([abi.PAGES_PER_CALL + 1, abi.MINIMUM_DEADLINE, (1 << 64) - 1]))
STEPS = st.tuples(st.sampled_from(CALLS), PLACES, COUNTS, st.sampled_from([0, 0, abi.FORCE, 2]), st.booleans())


def check(phone: Phone) -> list[str]:
    table = phone.board.smmu.STRTAB_BASE.value & ADDRESS & ~(STE_BYTES - 1)
    return violations(phone.machine, phone.layout, phone.core.read_sysreg("VTTBR_EL2"), table)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_tables_and_ownership_agree_after_every_call(steps: list[tuple[abi.Call, int, int, int, bool]]) -> None:
    phone = Phone().boot()
    lib.core_watch_calls(phone.machine.native, True)
    for call, place, count, flags, late in steps:
        if late:  # past any deadline
            lib.core_advance(phone.machine.native, phone.machine.instructions + 2 * abi.MINIMUM_DEADLINE)
        if call is abi.MEM_RECALL:
            phone.call(call, count, abi.MINIMUM_DEADLINE)
        elif call in (abi.MEM_NEXT_RELEASED, abi.MEM_NEXT_REVOKED):
            phone.call(call, count)
        else:
            phone.call(call, place, count, flags)
        assert check(phone) == []
        assert lib.core_longest_call(phone.machine.native) <= abi.MAX_CALL_INSTRUCTIONS
    phone.machine.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stage2_unmap(&extent);", "maps"),
        ("ownership_move(&extent, PAGE_ALLOCATED, PAGE_LOCKED);", "does not map"),
    ],
)
def test_checker_sees_a_monitor_that_forgets(line: str, said: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    build(folder, ["monitor"], Mutation("el3/flexmem.c", line, "(void)0;"))
    whole = Images.load()
    phone = Phone(images=Images(Image.load(folder / "monitor.elf"), whole.gate, whole.probe)).boot()
    assert check(phone) == []
    phone.call(abi.MEM_ALLOCATE, PAGE, 2)
    phone.call(abi.MEM_LOCK, PAGE, 2, by=World.SECURE)
    assert any(said in line for line in check(phone))
    phone.machine.close()
