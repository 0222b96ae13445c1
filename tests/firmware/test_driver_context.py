"""The driver context: what it reaches, what ends it, what it sees of others, and every failure of its calls' rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.events import Event, EventKind
from emulator.memory_map import (
    DRAM_BASE,
    DRIVER_BYTES,
    MIB,
    NORMAL_IMAGE_BASE,
    NPU0,
    NPU_CONTROL,
    PAGE_SIZE,
    STORAGE,
    UART0,
    DramLayout,
)
from emulator.world import World, vmid_of
from monitor import abi
from monitor.abi import Call, Status
from monitor.memory import CarveOut

from .npu import CLOCK, POWER
from .phone import PAGE, Phone

MESSAGE = (11, 12, 13, 14, 15)
EL2_KEPT = ("HCR_EL2", "VTCR_EL2", "VBAR_EL2", "CNTHCTL_EL2", "SCTLR_EL2", "CPTR_EL2")
LDR, STR, BLR = 0xB940_0000, 0xB900_0001, 0xD63F_0000  # ldr w0, [x0]; str w1, [x0]; blr x0
SET_FPCR, SET_FPSR, GET_FPCR, GET_FPSR = 0xD51B_4401, 0xD51B_4421, 0xD53B_4400, 0xD53B_4420  # from x1, to x0


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
    yield phone
    phone.machine.close()


def enter(phone: Phone, *message: int) -> None:
    """DRIVER_CALL: the driver context stands at its entry."""
    phone.enter(World.SECURE)
    assert phone.smc(abi.DRIVER_CALL.function, *message) == "arrive_entry"
    assert phone.in_driver


def leave(phone: Phone, *message: int) -> dict[str, int]:
    """DRIVER_RETURN: what DRIVER_CALL answers."""
    assert phone.smc(abi.DRIVER_RETURN.function, *message) == "arrive_return"
    assert phone.core.world is World.SECURE
    return abi.DRIVER_CALL.results(phone.registers())


def execute(phone: Phone, instruction: int, address: int, value: int = 0) -> str:
    """One instruction in the driver context."""
    phone.place_code(instruction)
    phone.core.x[0], phone.core.x[1] = address, value
    return phone.run()


def fault(phone: Phone) -> None:
    """A call of the driver that ends in a fault."""
    enter(phone)
    assert execute(phone, LDR, PAGE) == "arrive_return"
    assert abi.DRIVER_CALL.results(phone.registers())["status"] == Status.FAULT


# --- calls ---------------------------------------------------------------------------------------------------------


def test_call_and_return_carry_messages(phone: Phone) -> None:
    enter(phone, *MESSAGE)
    assert phone.registers(31) == [0, *MESSAGE, *[0] * 25]
    found = leave(phone, *reversed(MESSAGE))
    assert found == {"status": Status.SUCCESS, **{f"message{n}": 16 - n for n in range(1, 6)}}


def test_every_other_call_is_unknown_to_it(phone: Phone) -> None:
    enter(phone)
    for call in abi.CALLS:
        if not call.by & abi.Caller.DRIVER:
            assert phone.smc(call.function, PAGE, 1) == "arrive_return", call.name
            assert (phone.in_driver, phone.registers(4)) == (True, [(1 << 64) - 1, PAGE, 1, 0]), call.name
    assert leave(phone)["status"] == Status.SUCCESS


def test_its_calls_are_unknown_to_both_worlds(phone: Phone) -> None:
    for world in World:
        for call in (abi.DRIVER_RETURN, abi.DRIVER_READY):
            assert phone.call(call, by=world) == {"status": Status.NOT_SUPPORTED}


def test_ready_is_said_once_and_with_an_aligned_entry() -> None:
    phone = Phone()
    assert phone.run() == "arrive_boot"
    assert phone.smc(abi.DRIVER_RETURN.function) == "arrive_return"
    assert abi.signed(phone.registers(1)[0]) == Status.WRONG_STATE
    assert phone.smc(abi.DRIVER_READY.function, 2) == "arrive_return"
    assert abi.signed(phone.registers(1)[0]) == Status.INVALID_PARAMETER
    assert phone.smc(abi.DRIVER_READY.function, phone.gate("arrive_entry")) == "arrive_boot"
    phone.smc(abi.SECURE_READY.function, phone.gate("arrive_entry"), phone.gate("arrive_revocation"))
    phone.call(abi.NPU_ACQUIRE)
    enter(phone)
    assert phone.smc(abi.DRIVER_READY.function, phone.gate("arrive_entry")) == "arrive_return"
    assert abi.signed(phone.registers(1)[0]) == Status.WRONG_STATE
    assert phone.in_driver


def test_fault_while_it_boots_is_a_panic_by_name() -> None:
    phone = Phone()
    assert phone.run() == "arrive_boot"
    assert execute(phone, LDR, PAGE) == "monitor_halted"
    assert phone.board.uart1.output.endswith(b"monitor: panic: driver: the driver context faults while it boots\n")


def test_it_is_not_entered_while_the_npu_is_the_normal_worlds(phone: Phone) -> None:
    assert phone.status(abi.NPU_RELEASE) == Status.SUCCESS
    assert phone.call(abi.DRIVER_CALL) == {"status": Status.WRONG_STATE}
    assert phone.registers(6)[1:] == [0] * 5


# --- what it reaches -----------------------------------------------------------------------------------------------


def test_it_reaches_its_own_memory_and_the_npu(phone: Phone) -> None:
    enter(phone)
    for register in (POWER, CLOCK):
        assert execute(phone, STR, register, 7) == "arrive_return"
    for address in (phone.driver_base, phone.driver_base + DRIVER_BYTES - 4, NPU0.base, POWER):
        assert execute(phone, LDR, address) == "arrive_return"
        assert phone.in_driver, hex(address)
    assert phone.registers(1) == [7]
    assert execute(phone, STR, phone.driver_base + 0x8_0000, 0x1234) == "arrive_return"
    assert execute(phone, LDR, phone.driver_base + 0x8_0000) == "arrive_return"
    assert (phone.in_driver, phone.registers(1)) == (True, [0x1234])
    assert leave(phone)["status"] == Status.SUCCESS


LAYOUT = DramLayout(64 * MIB)
OUTSIDE: dict[str, Callable[[DramLayout], int]] = {
    "the page below its own": lambda layout: layout.driver_base - PAGE_SIZE,
    "the page above its own": lambda layout: layout.driver_base + DRIVER_BYTES,
    "its own stage-2 table": lambda layout: layout.carve_out_base + CarveOut.DRIVER_ROOT,
    "the EL2 stub": lambda layout: layout.carve_out_base,
    "the NPU's table": lambda layout: layout.npu_tables_base,
    "a page of the normal world": lambda layout: PAGE + 16 * PAGE_SIZE,
    "the normal kernel": lambda layout: NORMAL_IMAGE_BASE,
    "a locked page": lambda layout: PAGE,
    "secure DRAM": lambda layout: layout.secure_base,
    "the reverse table": lambda layout: layout.secure_end,
    "the ownership table": lambda layout: layout.ownership_base,
    "the monitor": lambda layout: 0x0E00_0000,
    "UART0": lambda layout: UART0.base,
    "UART1": lambda layout: 0x0904_0000,
    "the SMMU": lambda layout: 0x0905_0000,
    "the GIC": lambda layout: 0x0800_0000,
    "the TZASC": lambda layout: 0x0A10_0000,
    "the trusted block": lambda layout: 0x0A12_0000,
    "storage": lambda layout: STORAGE.base,
    "what follows the NPU": lambda layout: NPU_CONTROL.end,
    "what is past DRAM": lambda layout: layout.end,
}


ATTEMPTS = [
    (place, instruction)
    for place in OUTSIDE
    for instruction in (LDR, STR, BLR)
    if instruction != BLR or OUTSIDE[place](LAYOUT) >= DRAM_BASE  # its own stage 1 fetches from DRAM only
]


@pytest.mark.parametrize(("place", "instruction"), ATTEMPTS)
def test_anything_else_ends_its_call(phone: Phone, place: str, instruction: int) -> None:
    phone.lock()
    address = OUTSIDE[place](phone.layout)
    before = phone.machine.read_physical(PAGE, PAGE_SIZE)
    enter(phone)
    assert execute(phone, instruction, address, 0xBAD) == "arrive_return"
    assert phone.core.world is World.SECURE
    assert abi.DRIVER_CALL.results(phone.registers()) == {"status": Status.FAULT}
    assert phone.registers(6)[1:] == [0] * 5
    assert phone.machine.read_physical(PAGE, PAGE_SIZE) == before
    enter(phone, *MESSAGE)  # it is there again
    assert leave(phone, 1)["message1"] == 1


def test_refusal_is_stage_2s_and_goes_to_el3(phone: Phone) -> None:
    """An abort to EL2, and the stub's SMC: nothing is given back to the driver."""
    events: list[Event] = []
    enter(phone)
    phone.machine.events.listen((EventKind.EXCEPTION,), events.append)
    execute(phone, LDR, PAGE)
    assert [(event.args[3], event.args[4]) for event in events] == [(1, 2), (2, 3)]
    assert events[0].args[0] >> 26 == 0x24 and events[0].args[5] & ~0xFFF == PAGE


def spin(phone: Phone) -> str:
    phone.core.x[8] = 1 << 40
    phone.core.pc = phone.gate("gate_busy")
    return phone.run()


def sleep(phone: Phone) -> str:
    """WFI for what never comes: time moves to the next event, which is the monitor's."""
    phone.core.pc = phone.gate("gate_idle")
    assert phone.run() == "gate_idle"
    assert phone.machine.advance_to_next_event()
    return phone.run()


@pytest.mark.parametrize("waste", [spin, sleep])
def test_driver_that_never_returns_is_stopped(phone: Phone, waste: Callable[[Phone], str]) -> None:
    enter(phone)
    begun = phone.machine.instructions
    assert waste(phone) == "arrive_return"
    assert phone.core.world is World.SECURE
    assert abi.DRIVER_CALL.results(phone.registers()) == {"status": Status.TIMEOUT}
    assert phone.registers(6)[1:] == [0] * 5
    assert 0 <= phone.machine.instructions - begun - abi.DRIVER_TICKS < 1024
    enter(phone, *MESSAGE)
    assert leave(phone, 1)["message1"] == 1


def test_deadline_is_that_of_one_call(phone: Phone) -> None:
    """Time outside the driver context does not count, and no old deadline meets anybody."""
    for _ in range(3):
        enter(phone)
        phone.wait(abi.DRIVER_TICKS // 2)
        assert leave(phone)["status"] == Status.SUCCESS
        phone.wait(abi.DRIVER_TICKS)
        assert phone.core.world is World.SECURE


# --- its time is up while it is refused something: EL3 never goes back to the stub ------------------------------------

COUNTDOWN = (0xF100_0529, 0x54FF_FFE1)  # subs x9, x9, #1; b.ne
NOP = 0xD503_201F
WRITE_PHYSICAL_TIMER = 0xD51B_E220  # msr cntp_ctl_el0, x0, which CNTHCTL_EL2 traps
LEFT = 2_000  # ticks of its time, where it begins to count
STUB_STEPS = 6  # instructions of EL2 from the driver's exception to the stub's SMC
STUB_BYTES = 0x2000  # with its tables of vectors, and room behind it


def refused_before_its_end(phone: Phone, instruction: int, ticks: int) -> str:
    """The driver is refused ``instruction``, with the address of a LOCKED page, so many ticks before its time is up."""
    enter(phone)
    end = phone.core.read_sysreg("CNTPS_CVAL_EL1")
    phone.wait(end - phone.machine.instructions - LEFT)
    assert phone.in_driver
    turns, odd = divmod(end - phone.machine.instructions - ticks, 2)
    phone.place_code(*COUNTDOWN, *(NOP,) * odd, instruction)
    for index in range(31):
        phone.core.x[index] = PAGE
    phone.core.x[9] = turns
    stopped = phone.run()
    assert phone.core.world is World.SECURE
    return Status(abi.signed(phone.registers(1)[0])).name if stopped == "arrive_return" else stopped


@pytest.mark.parametrize(
    "instruction", [LDR, STR, BLR, WRITE_PHYSICAL_TIMER], ids=["load", "store", "fetch", "trapped register"]
)
def test_driver_whose_time_ends_in_el2_leaves_nothing_there(phone: Phone, instruction: int) -> None:
    """At each instruction of EL2, time and again: neither the stub nor a register of EL2 keeps anything of it.

    A stack of the stub's went down by what it had pushed, and so through the stub's own code.
    """
    phone.lock()
    stub = phone.machine.read_physical(phone.layout.carve_out_base, STUB_BYTES)
    held = [phone.core.read_sysreg(name) for name in EL2_KEPT]
    before = phone.machine.read_physical(PAGE, PAGE_SIZE)
    ends = {ticks: refused_before_its_end(phone, instruction, ticks) for ticks in (*range(12), *range(6))}
    assert set(ends.values()) == {"TIMEOUT", "FAULT"}
    assert [ends[ticks] for ticks in range(12)] == sorted(ends.values(), reverse=True), "first in time, then late"
    assert sum(end == "TIMEOUT" for end in ends.values()) >= STUB_STEPS - 1
    assert phone.machine.read_physical(phone.layout.carve_out_base, STUB_BYTES) == stub
    assert [phone.core.read_sysreg(name) for name in EL2_KEPT] == held
    assert phone.machine.read_physical(PAGE, PAGE_SIZE) == before
    enter(phone, *MESSAGE)
    assert (phone.core.level, phone.registers(6)) == (1, [0, *MESSAGE])


# --- what it sees and leaves ---------------------------------------------------------------------------------------


def test_registers_of_the_secure_world_are_kept_and_not_shown(phone: Phone) -> None:
    phone.enter(World.SECURE)
    for index in range(8, 31):
        phone.core.x[index] = 0x5EC0_0000 + index
    for index in range(32):
        phone.core.write_vector(index, 0x5EC1_0000 + index)
    phone.core.write_sysreg("TPIDR_EL1", 0x5EC2)
    phone.smc(abi.DRIVER_CALL.function)
    assert phone.registers(31) == [0] * 31
    assert [phone.core.read_vector(index) for index in range(32)] == [0] * 32
    assert phone.core.read_sysreg("TPIDR_EL1") == 0
    for index in range(31):
        phone.core.x[index] = 0xD00D
    for index in range(32):
        phone.core.write_vector(index, 0xD00D)
    phone.core.write_sysreg("TPIDR_EL1", 0xD00D)
    leave(phone)
    assert phone.registers(31)[8:] == [0x5EC0_0000 + index for index in range(8, 31)]
    assert [phone.core.read_vector(index) for index in range(32)] == [0x5EC1_0000 + index for index in range(32)]
    assert phone.core.read_sysreg("TPIDR_EL1") == 0x5EC2


def test_normal_world_keeps_its_registers_across_the_drivers_call(phone: Phone) -> None:
    phone.enter(World.NORMAL)
    phone.core.write_sysreg("TPIDR_EL1", 0x40A1)
    vectors = phone.core.read_sysreg("VBAR_EL1")
    phone.core.write_vector(5, 0x40A2)
    enter(phone)
    assert phone.core.read_sysreg("VBAR_EL1") != vectors
    phone.core.write_sysreg("TPIDR_EL1", 1)
    leave(phone)
    phone.enter(World.NORMAL)
    assert phone.core.read_sysreg("TPIDR_EL1") == 0x40A1
    assert phone.core.read_sysreg("VBAR_EL1") == vectors
    assert phone.core.read_vector(5) == 0x40A2
    assert vmid_of(phone.core.context) == abi.Vmid.NORMAL


def test_after_a_fault_its_registers_are_those_of_its_boot(phone: Phone) -> None:
    names = ("SCTLR_EL1", "TTBR0_EL1", "TCR_EL1", "VBAR_EL1", "TPIDR_EL1", "CONTEXTIDR_EL1")
    enter(phone)
    before = [phone.core.read_sysreg(name) for name in names]
    phone.core.write_sysreg("TPIDR_EL1", 0xBAD)
    phone.core.write_sysreg("CONTEXTIDR_EL1", 0xBAD)
    phone.core.write_vector(7, 0xBAD << 64 | 0xBAD)
    for instruction, value in ((SET_FPCR, 1 << 22), (SET_FPSR, 1)):  # another rounding mode, an exception
        execute(phone, instruction, 0, value)
    execute(phone, LDR, PAGE)
    assert phone.core.world is World.SECURE
    enter(phone)
    assert [phone.core.read_sysreg(name) for name in names] == before
    assert phone.core.read_vector(7) == 0
    for instruction in (GET_FPCR, GET_FPSR):
        execute(phone, instruction, 0)
        assert phone.registers(1) == [0]


def test_fault_leaves_both_worlds_as_they_were(phone: Phone) -> None:
    phone.enter(World.SECURE)
    phone.core.x[20] = 0x5EC
    phone.smc(abi.DRIVER_CALL.function)
    execute(phone, STR, PAGE, 1)
    assert (phone.core.world, phone.core.x[20]) == (World.SECURE, 0x5EC)
    phone.enter(World.NORMAL)
    assert phone.call(abi.FLEX_VERSION)["version"] == abi.VERSION_MAJOR << 16
    assert phone.probe("probe_read", phone.layout.secure_base) == "arrive_sync"  # the guest's own abort, as ever


# --- rows and bounds -----------------------------------------------------------------------------------------------


def test_each_failing_status_of_the_table_is_tried() -> None:
    here = {
        (abi.DRIVER_CALL, Status.WRONG_STATE),
        (abi.DRIVER_CALL, Status.FAULT),
        (abi.DRIVER_CALL, Status.TIMEOUT),
        (abi.DRIVER_RETURN, Status.WRONG_STATE),
        (abi.DRIVER_READY, Status.WRONG_STATE),
        (abi.DRIVER_READY, Status.INVALID_PARAMETER),
    }
    interrupted = {(abi.DRIVER_CALL, Status.BUSY)}
    rows: list[Call] = [call for call in abi.CALLS if call.name.startswith("DRIVER_")]
    assert here | interrupted == {(call, status) for call in rows for status in call.fails}


@pytest.mark.parametrize("end", [leave, fault])
def test_its_calls_stay_within_the_bound_of_every_call(phone: Phone, end: Callable[[Phone], object]) -> None:
    enter(phone)
    assert phone.instructions <= 1024
    leave(phone)
    assert phone.instructions <= 1024
    if end is fault:
        fault(phone)
        begun = phone.machine.instructions
        enter(phone)
        assert phone.machine.instructions - begun <= 2048
