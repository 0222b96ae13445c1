"""Time that passes in NOPs, countdowns and WFI: as exact as any other instructions', with the engine or past it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.events import EventKind
from emulator.machine import Lost, Machine, StopReason
from emulator.memory_map import DRAM_BASE, MIB, PAGE_SIZE, DramLayout
from emulator.native import ffi, lib
from tests.emulator import bare

NOP, ADD, WFI = 0xD503201F, 0x91000400, 0xD503207F  # ADD x0, x0, #1
SUBS_X1, SUBS_X2 = 0xF1000421, 0xF1000442  # SUBS Xn, Xn, #1
NOPS = 300
MOST_STOPS = 500
NOWHERE = DRAM_BASE + 8 * MIB  # a breakpoint here has every instruction looked at, so that all go through the engine


def branch_not_equal(offset: int) -> int:
    return 0x5400_0001 | (offset & 0x7FFFF) << 5


def branch_zero(register: int, offset: int) -> int:
    return 0xB400_0000 | (offset & 0x7FFFF) << 5 | register


def branch(offset: int) -> int:
    return 0x1400_0000 | offset & 0x3FFFFFF


SLED = [*[NOP] * NOPS, ADD, *[NOP] * NOPS, WFI]
LOOPS = [
    branch_zero(1, 5),  # over the first loop
    *[NOP] * 2,
    SUBS_X1,
    branch_not_equal(-3),
    branch_zero(2, 3),
    SUBS_X2,
    branch_not_equal(-1),
    ADD,
    branch(3),
    *[ADD] * 2,  # branched over
    SUBS_X1,  # 0 - 1: all flags but Z change
    NOP,
    WFI,
    branch(-1),
]


@contextmanager
def board(code: list[int]) -> Iterator[Machine]:
    """At EL3, before ``code``."""
    machine = Machine(DramLayout(64 * MIB))
    region = ffi.new("struct tzasc_region *")
    region.base, region.top, region.enabled = 0, (1 << 44) - 1, True
    region.secure_read = region.secure_write = True
    region.normal_read = region.normal_write = 0xFFFF
    lib.tzasc_set_region(machine.native, 0, region)
    lib.tzasc_set_control(machine.native, True, True)
    machine.write_physical(DRAM_BASE, b"".join(word.to_bytes(4, "little") for word in code))
    machine.reset(DRAM_BASE)
    yield machine
    machine.close()


@pytest.mark.parametrize("step", [1, 7, 64, 299, 300, 301, 302, 450, 600])
def test_every_stop_is_at_its_instruction(step: int) -> None:
    with board(SLED) as machine:
        begun = machine.instructions
        for end in range(step, 2 * NOPS + 1, step):
            stop = machine.run(begun + end)
            assert stop.reason is StopReason.BUDGET
            assert machine.instructions - begun == end
            assert machine.core.pc == DRAM_BASE + 4 * end
        stop = machine.run()
        assert (stop.reason, stop.pc) == (StopReason.WFI, DRAM_BASE + 4 * (2 * NOPS + 1))
        assert machine.instructions - begun == 2 * NOPS + 2
        assert machine.core.x[0] == 1


def states(step: int, turns: tuple[int, int], *, by_engine: bool, code: list[int] = LOOPS) -> list[tuple[int, ...]]:
    """Registers, flags and time at every stop of a run through the loops."""
    found: list[tuple[int, ...]] = []
    with board(code) as machine:
        if by_engine:
            machine.stops.break_at(NOWHERE)
        machine.core.x[1], machine.core.x[2] = turns
        reason = StopReason.BUDGET
        while reason is StopReason.BUDGET and len(found) < MOST_STOPS:
            stop = machine.run(machine.instructions + step)
            reason = stop.reason
            core = machine.core
            found.append((machine.instructions, core.pc, core.pstate, core.x[0], core.x[1], core.x[2], int(reason)))
        machine.stops.clear()
    return found


@pytest.mark.parametrize("turns", [(0, 0), (1, 1), (2, 0), (0, 5), (9, 31), (40, 3)])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 17, 1000])
def test_loops_end_as_the_engine_would_end_them(step: int, turns: tuple[int, int]) -> None:
    past_engine = states(step, turns, by_engine=False)
    assert past_engine == states(step, turns, by_engine=True)
    assert past_engine[-1][-1] == StopReason.WFI
    assert past_engine[-1][3] == 1


def test_a_loop_that_ends_on_the_next_page_is_taken_as_it_stands() -> None:
    """Its countdown is the page before's last instruction; another is the last of its branch's own page."""
    words_of_page = PAGE_SIZE // 4
    code = [NOP] * 2 * words_of_page
    code[0] = branch(words_of_page - 2)
    code[words_of_page - 2 : words_of_page + 2] = [ADD, SUBS_X1, branch_not_equal(-1), WFI]
    code[-1] = SUBS_X2
    past_engine = states(7, (40, 40), by_engine=False, code=code)
    assert past_engine == states(7, (40, 40), by_engine=True, code=code)
    assert past_engine[-1][-4:] == (1, 0, 40, StopReason.WFI)


def random_code(random: Random) -> list[int]:
    """Around the end of a page, mostly loops; the other pages hold other code at the same offsets."""
    words_of_page, half = PAGE_SIZE // 4, 30
    code = [random.choice([NOP, NOP, SUBS_X1, SUBS_X2, ADD]) for _ in range(2 * words_of_page)]
    code[0] = branch(words_of_page - half)
    for at in range(words_of_page - half, words_of_page + half):
        back = random.randrange(1, 9)
        code[at] = random.choice(
            [NOP, NOP, NOP, SUBS_X1, SUBS_X2, ADD, branch_not_equal(-back), branch_not_equal(-back),
             branch_zero(random.randrange(3), random.choice([-back, back])), branch(random.choice([-back, back]))]
        )  # fmt: skip
    code[words_of_page + half :] = [WFI] * (words_of_page - half)
    return code


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=True), st.sampled_from([1, 3, 50, 1000]))
def test_whatever_code_there_is_does_what_it_does_in_the_engine(random: Random, step: int) -> None:
    code = random_code(random)
    turns = random.choice([0, 1, 5, 40, 1 << 63]), random.choice([0, 2, 7, (1 << 64) - 1])
    assert states(step, turns, by_engine=False, code=code) == states(step, turns, by_engine=True, code=code)


def test_a_page_that_cannot_be_fetched_aborts() -> None:
    """NOPs that the filter withholds are not executed."""
    with board(SLED) as machine:
        lib.tzasc_set_control(machine.native, False, True)  # gates closed
        with pytest.raises(Exception, match="faults for ever"):
            machine.run(machine.instructions + 10)


MDSCR_EL1, OSLAR_EL1 = (2, 0, 0, 2, 2), (2, 0, 1, 0, 4)
SS_KDE, SPSR_SS = 1 | 1 << 13, 1 << 21
EC_SOFTWARE_STEP_SAME_LEVEL = 0x33


def test_a_guest_that_steps_its_own_code_has_each_nop_stepped() -> None:
    guest = bare.Guest("here: nop; nop; wfi; b .")
    lib.core_write_sysreg(guest.machine.native, *OSLAR_EL1, 0)
    lib.core_write_sysreg(guest.machine.native, *MDSCR_EL1, SS_KDE)
    guest.enter("here", 1, masked=0x1C0 | SPSR_SS)
    assert guest.vector() == (1, 0x200)
    assert guest["ESR_EL1"] >> 26 == EC_SOFTWARE_STEP_SAME_LEVEL
    assert guest["ELR_EL1"] == guest.at("here") + 4


def test_a_walk_that_is_denied_is_told_once() -> None:
    """Each fault's vector lies behind the same denied table."""
    guest = bare.Guest("here: nop; wfi")
    guest["TCR_EL1"], guest["TTBR0_EL1"], guest["SCTLR_EL1"] = bare.TCR_EL1, bare.TABLES, 1
    bare.set_region(guest.machine, 1, bare.TABLES, bare.TABLES + PAGE_SIZE - 1, normal="")
    kinds: list[EventKind] = []
    guest.machine.events.listen((EventKind.DENIED, EventKind.EXCEPTION), lambda event: kinds.append(event.kind))
    guest.enter("here", 1)
    with pytest.raises(Lost, match="faults for ever"):
        guest.machine.run(guest.machine.instructions + 1)
    assert kinds[:6] == [EventKind.DENIED, EventKind.EXCEPTION] * 3
