"""The normal world's tick while others run: nobody silences it for longer than the driver's own call."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.world import World
from monitor import abi
from monitor.abi import Status

from .gic import VIRTUAL_TIMER, acknowledge, listen
from .phone import PAGE, Phone
from .test_driver_context import LDR, enter, execute
from .test_preemption import preempted, spin

AHEAD = 10_000
WAYS = {  # register, value: msr from x1
    "off": (0xD51B_E321, 0),
    "masked": (0xD51B_E321, 3),
    "put off": (0xD51B_E341, 1 << 60),
}


@pytest.fixture(name="phone")
def _phone() -> Iterator[Phone]:
    phone = Phone().boot()
    listen(phone)
    phone.lock()
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
    yield phone
    phone.machine.close()


def returns(phone: Phone) -> None:
    phone.smc(abi.DRIVER_RETURN.function)


def is_refused(phone: Phone) -> None:
    execute(phone, LDR, PAGE)


def times_out(phone: Phone) -> None:
    """The tick is long due then, and comes before the secure world's next instruction."""
    spin(phone)
    assert preempted(phone)


@pytest.mark.parametrize("ends", [returns, is_refused, times_out])
@pytest.mark.parametrize("way", WAYS)
def test_driver_silences_the_tick_for_its_own_call_only(phone: Phone, way: str, ends: Callable[[Phone], None]) -> None:
    """It comes in the secure world, at the latest when the driver has been left."""
    instruction, value = WAYS[way]
    phone.enter(World.NORMAL)
    phone.set_timer(phone.machine.instructions + AHEAD, "cntv")
    enter(phone)
    assert execute(phone, instruction, 0, value) == "arrive_return" and phone.in_driver
    ends(phone)
    if phone.core.world is World.SECURE:
        spin(phone, AHEAD)
    assert preempted(phone)
    assert acknowledge(phone) == VIRTUAL_TIMER


def by_the_physical_timer(phone: Phone) -> None:
    phone.set_timer(phone.machine.instructions + AHEAD)


def by_a_recall(phone: Phone) -> None:
    assert phone.status(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE) == Status.SUCCESS


@pytest.mark.parametrize("interrupted", [by_the_physical_timer, by_a_recall])
@pytest.mark.parametrize("way", WAYS)
def test_tick_is_the_normal_worlds_when_the_driver_is_interrupted(
    phone: Phone, way: str, interrupted: Callable[[Phone], None]
) -> None:
    instruction, value = WAYS[way]
    phone.enter(World.NORMAL)
    tick = phone.machine.instructions + (1 << 40)
    phone.set_timer(tick, "cntv")
    interrupted(phone)
    enter(phone)
    execute(phone, instruction, 0, value)
    assert phone.in_driver
    spin(phone)
    assert preempted(phone)
    assert (phone.core.read_sysreg("CNTV_CTL_EL0"), phone.core.read_sysreg("CNTV_CVAL_EL0")) == (1, tick)


def test_tick_that_the_driver_sets_is_not_the_normal_worlds(phone: Phone) -> None:
    """It may preempt the driver itself; behind its call nothing is left of it."""
    enter(phone)
    for instruction, value in ((0xD51B_E341, phone.machine.instructions + AHEAD), (0xD51B_E321, 1)):
        execute(phone, instruction, 0, value)
    phone.smc(abi.DRIVER_RETURN.function)
    spin(phone, 2 * AHEAD)
    assert phone.core.world is World.SECURE
