"""The gate's own interrupts, at every instruction of what its kernel does: all registers come back, none is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.memory_map import GIC_CPU
from emulator.world import World
from monitor import abi

from .phone import PAGE, Phone
from .test_preemption import GICC_EOIR, GICC_IAR, TIMER, arm, load, store

FAR = 1 << 40  # ticks that nothing here lasts


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    arm(phone, FAR)
    phone.core.pc = phone.gate("gate_unmask")
    assert phone.run() == "arrive_return"
    yield phone
    phone.machine.close()


def plant(phone: Phone) -> None:
    for index in range(31):
        phone.core.x[index] = 0x9A7E_0000 + index


def go(phone: Phone, site: str, *registers: int, turns: tuple[int, int] = (0, 0)) -> str:
    """``turns``: long and short ones of the time that passes before, where it does."""
    plant(phone)
    for index, value in (*enumerate(registers), *zip((8, 9), turns, strict=True)):
        phone.core.x[index] = value
    phone.core.pc = phone.gate(site)
    return phone.run()


def serve(phone: Phone) -> None:
    """A handler that makes a call, takes an abort and uses every register; then it returns to what was interrupted."""
    assert load(phone, GIC_CPU.base + GICC_IAR) == TIMER
    phone.core.x[0], phone.core.x[1] = 0, 0
    phone.core.pc = phone.gate("gate_timer")
    assert phone.run() == "arrive_return"
    store(phone, GIC_CPU.base + GICC_EOIR, TIMER)
    assert phone.smc(abi.FLEX_VERSION.function) == "arrive_return"
    phone.core.x[0] = phone.layout.secure_base
    phone.core.pc = phone.gate("gate_touch")
    assert phone.run() == "arrive_sync"
    for index in range(31):
        phone.core.x[index] = 0xBAD
    phone.core.pc = phone.gate("gate_eret")


SITES: dict[str, Callable[[Phone], str]] = {
    "call": lambda phone: go(
        phone, "gate_call", abi.FLEX_FEATURES.function, abi.Feature.SCAN_PAGES, *[0] * 6, turns=(1, 3)
    ),
    "changing call": lambda phone: go(phone, "gate_call", abi.MEM_ALLOCATE.function, PAGE, 1, *[0] * 5),
    "busy": lambda phone: go(phone, "gate_busy", turns=(2, 20)),
    "invalidation": lambda phone: go(phone, "gate_tlbi", (1 << 64) - 1),
    "wait": lambda phone: go(phone, "gate_wait", turns=(1, 20)),
    "wait at once": lambda phone: go(phone, "gate_wait"),
    "touch": lambda phone: go(phone, "gate_touch", PAGE),
}


def stack(phone: Phone) -> tuple[int, int]:
    return phone.core.sp, phone.core.pstate


@pytest.mark.parametrize("name", SITES)
def test_interrupt_at_any_instruction_of_a_site_changes_no_register(phone: Phone, name: str) -> None:
    begin, act = phone.machine.save(), SITES[name]
    ended = act(phone)
    expected, before = phone.registers(31), stack(phone)
    length = phone.machine.instructions
    phone.machine.restore(begin)
    length -= phone.machine.instructions
    served = 0
    for ticks in range(1, length + 1):
        phone.machine.restore(begin)
        phone.set_timer(phone.machine.instructions + ticks)
        stopped = act(phone)
        if stopped == "arrive_irq":
            served += 1
            serve(phone)
            stopped = phone.run()
        # a wait that an interrupt has ended is over
        assert stopped == ("arrive_return" if ended == "gate_idle" else ended), ticks
        assert phone.registers(31) == expected, ticks
        assert stack(phone) == before, ticks
    assert served == length


def test_interrupt_before_a_wait_ends_it(phone: Phone) -> None:
    """It came after its kernel had looked, and before it slept."""
    phone.set_timer(phone.machine.instructions)
    assert go(phone, "gate_wait", turns=(0, 1)) == "arrive_irq"
    serve(phone)
    assert phone.run() == "arrive_return"


def test_masked_interrupt_waits_for_the_unmasking() -> None:
    masked = Phone().boot()
    arm(masked, 1)
    masked.wait(1000)
    assert masked.smc(abi.FLEX_VERSION.function) == "arrive_return"
    masked.core.pc = masked.gate("gate_unmask")
    assert masked.run() == "arrive_irq"
    assert masked.core.read_sysreg("ELR_EL1") == masked.gate("gate_unmask") + 4
    masked.machine.close()


def test_handler_is_not_interrupted_in_its_turn(phone: Phone) -> None:
    phone.set_timer(phone.machine.instructions)
    assert go(phone, "gate_busy", turns=(1, 0)) == "arrive_irq"
    assert phone.smc(abi.FLEX_VERSION.function) == "arrive_return"  # it is pending all the time
    phone.wait(1000)
    serve(phone)
    assert phone.run() == "arrive_return"


def test_interrupt_of_a_preempted_call_comes_before_its_answer(phone: Phone) -> None:
    phone.enter(World.SECURE)
    phone.set_timer(phone.machine.instructions + 1000)
    assert go(phone, "gate_busy", turns=(FAR, 0)) == "arrive_irq"
    assert (phone.core.world, phone.core.read_sysreg("ELR_EL1")) == (World.NORMAL, phone.gate("gate_smc") + 4)
    serve(phone)
    assert phone.run() == "arrive_return"
    assert phone.registers(6) == [abi.Status.PREEMPTED, 0, 0, 0, 0, 0]
