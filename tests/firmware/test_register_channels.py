"""No register carries a value from the secure world or the driver context to the normal world.

Every encoding of MRS and MSR that EL1 could execute is tried, so what is missing from the monitor's lists shows here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

import pytest

from emulator.state import MachineState
from emulator.world import World
from monitor import abi
from monitor.abi import Caller, Status

from .phone import PAGE, PSTATE, Phone

Encoding: TypeAlias = tuple[int, int, int, int, int]  # op0, op1, CRn, CRm, op2

FOUND = PAGE
MRS, MSR, STORE = 0xD530_0000, 0xD510_0000, 0xF800_8401  # str x1, [x0], #8
PATTERNS = (0x5A5A_5A50, 0x15, 0xA5)
EL1S_OWN_FLOOR = {  # of whoever writes a pattern there nothing is left to look at; test_world_switch.py has them
    (3, 0, 1, 0, 0), (3, 0, 2, 0, 0), (3, 0, 2, 0, 2), (3, 0, 10, 2, 0), (3, 0, 12, 0, 0), (3, 0, 4, 2, 0),
}  # fmt: skip  # SCTLR_EL1, TTBR0_EL1, TCR_EL1, MAIR_EL1, VBAR_EL1, SPSel
UNDEFINED = 0


def every_encoding() -> Iterator[Encoding]:
    """Those of EL1 and EL0: op1 of 4 and on is a higher level's."""
    for op0 in (2, 3):
        for op1 in range(4):
            for crn in range(16):
                for crm in range(16):
                    for op2 in range(8):
                        yield op0, op1, crn, crm, op2


def word(base: int, encoding: Encoding, register: int) -> int:
    op0, op1, crn, crm, op2 = encoding
    return base | (op0 - 2) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | register


def read_all(phone: Phone, readable: list[Encoding]) -> dict[Encoding, int]:
    """As the normal world's own instructions find them."""
    phone.enter(World.NORMAL)
    phone.place_code(*(one for encoding in readable for one in (word(MRS, encoding, 1), STORE)))
    phone.core.x[0] = FOUND
    assert phone.run() == "arrive_return"
    found = struct.unpack(f"<{len(readable)}Q", phone.machine.read_physical(FOUND, 8 * len(readable)))
    return dict(zip(readable, found, strict=True))


def visit(phone: Phone, caller: Caller) -> None:
    """``caller`` runs next."""
    phone.enter(World.SECURE)
    if caller is Caller.DRIVER:
        assert phone.smc(abi.DRIVER_CALL.function) == "arrive_entry" and phone.in_driver


def write(phone: Phone, caller: Caller, encoding: Encoding, value: int) -> bool:
    """Whether ``caller`` gets it through; a trap may have ended its stay."""
    visit(phone, caller)
    phone.place_code(word(MSR, encoding, 0))
    phone.core.x[0] = value
    stopped = phone.run()
    if caller is Caller.DRIVER and not phone.in_driver:
        assert abi.DRIVER_CALL.results(phone.registers())["status"] == Status.FAULT
        return False
    return stopped == "arrive_return"


def leave(phone: Phone) -> None:
    if phone.in_driver:
        phone.smc(abi.DRIVER_RETURN.function)
    phone.enter(World.NORMAL)


@pytest.fixture(name="phone", scope="module")
def _phone() -> Iterator[Phone]:
    phone = Phone().boot()
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
    phone.enter(World.NORMAL)
    phone.machine.excused = {"normal_worlds_ticks_go_on"}  # the secure world writes its timers here, before it leaves
    yield phone
    phone.machine.close()


@pytest.fixture(name="begin", scope="module")
def _begin(phone: Phone) -> MachineState:
    return phone.machine.save()


@pytest.fixture(name="readable", scope="module")
def _readable(phone: Phone, begin: MachineState) -> list[Encoding]:
    found = []
    for encoding in every_encoding():
        phone.place_code(word(MRS, encoding, 1))
        if phone.run() == "arrive_return":
            found.append(encoding)
        else:
            phone.machine.restore(begin)
    return found


@pytest.mark.parametrize("caller", [Caller.SECURE, Caller.DRIVER], ids=lambda caller: caller.name)
def test_what_they_write_the_normal_world_never_reads(
    phone: Phone, begin: MachineState, readable: list[Encoding], caller: Caller
) -> None:
    """Whatever a write does, the register that shows it (OSLSR of OSLAR, a pair's other half) is compared."""

    def after(encoding: Encoding | None, value: int) -> dict[Encoding, int]:
        phone.machine.restore(begin)
        if encoding is None:
            visit(phone, caller)
        else:
            write(phone, caller, encoding, value)
        leave(phone)
        return read_all(phone, readable)

    before = after(None, 0)
    again = read_all(phone, readable)
    passes = {encoding for encoding in readable if again[encoding] != before[encoding]}
    assert len(readable) > 100
    assert all(encoding[2] in (9, 14) for encoding in passes), "only counters go on by themselves"
    let_through = 0
    for encoding in every_encoding():
        if encoding in EL1S_OWN_FLOOR:
            continue
        phone.machine.restore(begin)
        if not write(phone, caller, encoding, 0):
            continue
        let_through += 1
        for pattern in PATTERNS:
            found = after(encoding, pattern)
            changed = {name for name in readable if name not in passes and found[name] != before[name]}
            assert not changed, f"{encoding} := {pattern:#x} shows in {changed}"
    assert let_through > 20


DEBUG_AND_PMU = [
    *((2, 0, 0, index, op2) for index in range(6) for op2 in (4, 5)),  # DBGBVR, DBGBCR
    *((2, 0, 0, index, op2) for index in range(4) for op2 in (6, 7)),  # DBGWVR, DBGWCR
    (2, 0, 0, 2, 2), (2, 0, 1, 0, 4), (2, 0, 1, 3, 4),  # MDSCR_EL1, OSLAR_EL1, OSDLR_EL1
    *((3, 3, 9, 12, op2) for op2 in range(6)),  # PMCR, PMCNTENSET, PMCNTENCLR, PMOVSCLR, PMSWINC, PMSELR
    *((3, 3, 9, 13, op2) for op2 in range(3)), *((3, 3, 9, 14, op2) for op2 in (0, 3)),
    *((3, 0, 9, 14, op2) for op2 in (1, 2)),
    *((3, 3, 14, 8, op2) for op2 in range(6)), *((3, 3, 14, 12, op2) for op2 in range(6)), (3, 3, 14, 15, 7),
]  # fmt: skip


@pytest.mark.parametrize("encoding", DEBUG_AND_PMU, ids=str)
def test_debug_and_pmu_registers_are_the_normal_worlds(phone: Phone, begin: MachineState, encoding: Encoding) -> None:
    """Undefined to the secure world, to which the monitor gives the exception back; the end of a driver's call."""
    phone.machine.restore(begin)
    phone.place_code(word(MSR, encoding, 31))
    assert phone.run() == "arrive_return", "the normal world's own"
    visit(phone, Caller.SECURE)
    phone.place_code(word(MSR, encoding, 31))
    code = phone.room
    flags = phone.core.pstate
    assert phone.run() == "arrive_sync"
    core = phone.core
    assert (core.world, core.level, core.pstate & 0x3FF) == (World.SECURE, 1, 0x3C5)
    assert (core.read_sysreg("ESR_EL1"), core.read_sysreg("ELR_EL1")) == (UNDEFINED << 26 | 1 << 25, code)
    assert core.read_sysreg("SPSR_EL1") == flags
    phone.core.pc = phone.gate("arrive_return")
    assert not write(phone, Caller.DRIVER, encoding, 0)
    assert phone.core.world is World.SECURE


MDCCSR_EL0 = (2, 3, 0, 1, 0)
FROM = {"EL0": (0x6000_0000, 0x400), "EL1 on SP_EL0": (0x6000_0004, 0x000), "EL1": (0x6000_0005, 0x200)}


@pytest.mark.parametrize("origin", FROM)
def test_undefined_comes_at_the_vector_of_where_it_came_from(phone: Phone, begin: MachineState, origin: str) -> None:
    """As if the secure world's core had taken it. Without a stage 1, for EL0."""
    state, offset = FROM[origin]
    phone.machine.restore(begin)
    visit(phone, Caller.SECURE)
    code, core = phone.room, phone.core
    phone.place_code(word(MRS, MDCCSR_EL0, 1))
    core.write_sysreg("SCTLR_EL1", core.read_sysreg("SCTLR_EL1") & ~1)
    core.x[PSTATE] = state
    phone.machine.excused.add("secure_world_has_its_own_tables")
    phone.machine.run(phone.machine.instructions + 1)
    while core.level == 3:
        phone.machine.run(phone.machine.instructions + 1)
    found = (core.pc - core.read_sysreg("VBAR_EL1"), core.pstate)
    told = [core.read_sysreg(name) for name in ("ESR_EL1", "ELR_EL1", "SPSR_EL1")]
    phone.machine.restore(begin)  # others have this phone, too
    phone.machine.excused.discard("secure_world_has_its_own_tables")
    assert found == (offset, 0x3C5)
    assert told == [UNDEFINED << 26 | 1 << 25, code, state]
