"""A store that the bus refuses comes back as an SError: to the world that made it, or to nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.memory_map import NPU0, UART0
from emulator.world import World
from monitor import abi
from monitor.abi import Status

from .phone import PAGE, PSTATE, Phone
from .test_driver_context import LDR, enter, execute
from .test_preemption import arm, preempted, spin

NARROW, WIDE = 0x3900_0001, 0xF900_0001  # strb w1, [x0]; str x1, [x0]: sizes that the NPU and the UART have not
READ_ISR = 0xD538_C100  # mrs x0, isr_el1
PENDING = 1 << 8
SERRORS_UNMASKED = 0x2C5


@pytest.fixture(name="phone")
def _phone() -> Iterator[Phone]:
    phone = Phone().boot()
    phone.lock()
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
    arm(phone)
    yield phone
    phone.machine.close()


def is_pending(phone: Phone) -> bool:
    """As the context that runs sees it."""
    phone.place_code(READ_ISR)
    assert phone.run() == "arrive_return"
    return bool(phone.core.x[0] & PENDING)


def refused(phone: Phone, store: int, address: int) -> None:
    execute(phone, store, address)
    assert is_pending(phone)


def secure_world_is_refused(phone: Phone) -> None:
    """Its memory is read-only behind the monitor's back, and whole again before anything else is done."""
    phone.enter(World.SECURE)
    phone.machine.excused = {"tzasc_has_three_regions"}
    attributes = phone.board.tzasc.REGION_ATTRIBUTES
    before = attributes.at(3).value
    phone.board.tzasc.write(attributes.register.at(3), 4, before & ~(1 << 31), secure=True)
    execute(phone, WIDE, phone.gate("gate_stack"))
    phone.board.tzasc.write(attributes.register.at(3), 4, before, secure=True)
    phone.machine.excused = set()
    assert is_pending(phone)


def driver_is_refused(phone: Phone) -> None:
    enter(phone)
    refused(phone, NARROW, NPU0.base)
    assert phone.in_driver


def out_of_the_driver(phone: Phone) -> None:
    driver_is_refused(phone)
    phone.smc(abi.DRIVER_RETURN.function)


def out_of_a_driver_that_faults(phone: Phone) -> None:
    driver_is_refused(phone)
    execute(phone, LDR, PAGE)


def out_of_a_driver_that_is_interrupted(phone: Phone) -> None:
    driver_is_refused(phone)
    spin(phone)
    assert preempted(phone)


def out_of_the_normal_world(phone: Phone) -> None:
    phone.enter(World.NORMAL)
    refused(phone, WIDE, UART0.base)
    phone.smc(abi.SECURE_CALL.function)
    assert phone.core.world is World.SECURE


def out_of_the_secure_world(phone: Phone) -> None:
    secure_world_is_refused(phone)
    phone.smc(abi.SECURE_DONE.function)
    assert phone.core.world is World.NORMAL


def out_of_an_interrupted_secure_world(phone: Phone) -> None:
    secure_world_is_refused(phone)
    spin(phone)
    assert preempted(phone)


@pytest.mark.parametrize(
    "way",
    [
        out_of_the_driver,
        out_of_a_driver_that_faults,
        out_of_a_driver_that_is_interrupted,
        out_of_the_normal_world,
        out_of_the_secure_world,
        out_of_an_interrupted_secure_world,
    ],
)
def test_it_goes_with_nobody_into_another_world(phone: Phone, way: Callable[[Phone], None]) -> None:
    way(phone)
    assert not is_pending(phone)
    phone.core.x[PSTATE], phone.core.pc = SERRORS_UNMASKED, phone.gate("gate_idle")
    assert phone.run() == "gate_idle"


def test_it_waits_for_who_made_it_while_that_makes_a_call(phone: Phone) -> None:
    phone.enter(World.NORMAL)
    refused(phone, WIDE, UART0.base)
    assert phone.smc(abi.MEM_RECALL.function, 1, abi.MINIMUM_DEADLINE) == "arrive_return"
    assert is_pending(phone)


def test_next_one_is_seen_as_the_first_was(phone: Phone) -> None:
    """EL3 has put back what it needed for that."""
    for _ in range(2):
        out_of_the_driver(phone)
        assert not is_pending(phone)
    secure_world_is_refused(phone)
    phone.core.x[PSTATE], phone.core.pc = SERRORS_UNMASKED, phone.gate("gate_idle")
    assert phone.run() == "arrive_serror"
    assert phone.core.world is World.SECURE and phone.core.level == 1
