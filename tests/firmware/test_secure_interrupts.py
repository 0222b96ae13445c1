"""The secure NPU's interrupt, whoever runs when it comes: to EL3, and on to the secure kernel at its next entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.memory_map import NPU0, Window
from emulator.world import World
from monitor import abi
from monitor.abi import Pending

from .npu import BASE_ADDRESS, CLOCK, CORES, LONGEST, OPERATION_ENABLE, POWER, REGISTER_AMOUNTS, TASK_CON
from .phone import PAGE, Phone
from .test_driver_context import STR, enter, execute, leave
from .test_npu_switch import pending

INTERRUPT_MASK, INTERRUPT_CLEAR = 0x20, 0x24
EVERY = 0x1_FFFF
FIQ, EL3 = 0x100, 3  # an EXCEPTION's vector and level
IOVA = 0x10_0000
PAGES = 64  # of a program that does nothing: fetching it takes some 16,000 ticks
TICKS = 200_000  # until a job that is started here has failed for good


@pytest.fixture
def phone() -> Iterator[Phone]:
    """The secure world has the NPU and has had its driver start a job, which will fail at the end of its pages."""
    phone = Phone().boot()
    phone.lock(PAGE, PAGES)
    assert phone.call(abi.NPU_MAP, IOVA, PAGE, PAGES)["done"] == PAGES
    phone.call(abi.NPU_ACQUIRE)
    start(phone)
    yield phone
    phone.machine.close()


def start(phone: Phone, core: Window = NPU0) -> None:
    enter(phone)
    for address, value in (
        (POWER, 7), (CLOCK, 7), (core.base + INTERRUPT_MASK, EVERY), (core.base + BASE_ADDRESS, IOVA),
        (core.base + REGISTER_AMOUNTS, LONGEST), (core.base + TASK_CON, 1), (core.base + OPERATION_ENABLE, 1),
    ):  # fmt: skip
        assert execute(phone, STR, address, value) == "arrive_return"
    leave(phone)
    phone.events.clear()


def clear(phone: Phone) -> None:
    """The driver's handler."""
    enter(phone)
    for core in CORES:
        execute(phone, STR, core.base + INTERRUPT_CLEAR, EVERY)
    leave(phone)


def fiqs(phone: Phone) -> int:
    return sum(event.args[6] == FIQ and event.args[4] == EL3 for event in phone.events)


def test_interrupt_while_the_normal_world_runs_is_said_until_the_driver_was_called(phone: Phone) -> None:
    assert fiqs(phone) == 0
    phone.enter(World.NORMAL)
    for index in range(10, 31):
        phone.core.x[index] = 0xAB00 + index
    phone.wait(TICKS)
    assert fiqs(phone) == 1  # although its line stays high
    assert phone.registers(31)[10:] == [0xAB00 + index for index in range(10, 31)]
    assert phone.core.world is World.NORMAL
    assert Pending.FIQ in pending(phone)
    assert Pending.FIQ in pending(phone)  # nobody has seen to it
    clear(phone)
    assert Pending.FIQ not in pending(phone)
    phone.wait(TICKS)
    assert Pending.FIQ not in pending(phone)
    assert fiqs(phone) == 2  # the line was still high when the driver was called: it comes to the driver, too


def test_each_job_interrupts_anew(phone: Phone) -> None:
    for _ in range(3):
        phone.enter(World.NORMAL)
        phone.wait(TICKS)
        assert Pending.FIQ in pending(phone)
        clear(phone)
        assert Pending.FIQ not in pending(phone)
        start(phone)


@pytest.mark.parametrize("core", CORES[1:], ids=["second", "third"])
def test_jobs_of_two_cores_interrupt_and_each_of_them_anew(phone: Phone, core: Window) -> None:
    start(phone, core)
    phone.enter(World.NORMAL)
    phone.wait(TICKS)
    assert fiqs(phone) == 2
    clear(phone)
    for again in (core, NPU0):
        start(phone, again)
        phone.enter(World.NORMAL)
        phone.wait(TICKS)
        assert Pending.FIQ in pending(phone)
        clear(phone)
        assert Pending.FIQ not in pending(phone)


def by_release(phone: Phone) -> None:
    phone.call(abi.NPU_RELEASE)


def by_force(phone: Phone) -> None:
    phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE)
    phone.wait(abi.MINIMUM_DEADLINE)
    phone.call(abi.NPU_RECLAIM)


@pytest.mark.parametrize("take", [by_release, by_force])
def test_interrupt_of_a_job_that_a_switch_has_ended_is_not_said(phone: Phone, take: Callable[[Phone], None]) -> None:
    phone.enter(World.NORMAL)
    phone.wait(TICKS)
    take(phone)
    assert Pending.FIQ not in pending(phone)
    phone.call(abi.NPU_ACQUIRE)
    assert Pending.FIQ not in pending(phone)


def test_interrupt_while_the_secure_world_runs_changes_nothing_there(phone: Phone) -> None:
    for index in range(10, 31):
        phone.core.x[index] = 0x5EC0 + index
    phone.core.x[8], phone.core.x[9] = TICKS // 256, 0
    phone.core.pc = phone.gate("gate_busy")
    assert phone.run() == "arrive_return"
    assert (phone.core.world, fiqs(phone)) == (World.SECURE, 1)
    assert phone.registers(31)[10:] == [0x5EC0 + index for index in range(10, 31)]
    assert Pending.FIQ in pending(phone)


def test_masks_of_the_normal_world_keep_it_from_nothing(phone: Phone) -> None:
    """Its PSTATE.F is set all the time; here it has also shut the GIC as far as it can."""
    phone.enter(World.NORMAL)
    for address in (0x0800_0000, 0x0801_0000, 0x0801_0004):  # GICD_CTLR, GICC_CTLR, GICC_PMR
        assert phone.probe("probe_write_word", address, 0) == "registers_done"
    phone.wait(TICKS)
    assert fiqs(phone) == 1
    assert Pending.FIQ in pending(phone)
