"""The secure NPU's interrupt after it was noted: told at every entry, until it is served or its job is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.machine import StopReason
from emulator.world import World
from monitor import abi
from monitor.abi import Caller, Pending, Status

from .gic import NOTHING, NPU_LINE, acknowledge, is_over, listen
from .interrupts import ALL, INTERRUPT_CLEAR, NpuInterrupt, spend_time
from .phone import Phone
from .scenes import Scene, npu_overdue, npu_recalled, secure_npu
from .test_driver_context import STR, execute


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    listen(phone)
    yield phone
    phone.machine.close()


def told(phone: Phone) -> bool:
    """Whether an entry into the secure world says FIQ."""
    phone.enter(World.NORMAL)
    phone.smc(abi.SECURE_CALL.function)
    return bool(phone.registers(1)[0] & Pending.FIQ)


def noted(phone: Phone, scene: Scene) -> None:
    """A job has ended, and EL3 has seen its interrupt."""
    npu = NpuInterrupt()
    npu.prepare(phone, scene)
    spend_time(phone, npu.due + abi.MAX_SWITCH_INSTRUCTIONS)  # and is long done with it


def test_told_at_every_entry_until_the_driver_has_cleared_it(phone: Phone) -> None:
    noted(phone, Scene(abi.SECURE_DONE.function, Caller.SECURE, secure_npu))
    assert told(phone) and told(phone)
    phone.smc(abi.DRIVER_CALL.function)
    phone.smc(abi.DRIVER_RETURN.function)  # the line is still high
    assert told(phone)
    phone.smc(abi.DRIVER_CALL.function)
    assert execute(phone, STR, INTERRUPT_CLEAR, ALL) == "arrive_return"
    phone.smc(abi.DRIVER_RETURN.function)
    assert not told(phone)
    assert is_over(phone, NPU_LINE)


@pytest.mark.parametrize("late", range(-2, 3))
def test_wait_that_begins_in_the_instant_in_which_the_job_ends_is_over(phone: Phone, late: int) -> None:
    """Neither before it nor behind it: what is due then has not been performed yet."""
    npu = NpuInterrupt()
    npu.prepare(phone, Scene(abi.SECURE_DONE.function, Caller.SECURE, secure_npu))
    spend_time(phone, npu.due + late - 1)
    phone.core.pc = phone.gate("gate_idle")
    stop = phone.machine.run(phone.machine.instructions + 1)
    if late == 0:
        assert stop.reason is StopReason.WFI and phone.machine.instructions == npu.due
        assert phone.machine.time_to_next_event() == 0
    phone.machine.wait_for_npu()
    assert phone.machine.instructions <= npu.due + abi.MAX_SWITCH_INSTRUCTIONS


@pytest.mark.parametrize(
    "scene",
    [
        Scene(abi.NPU_RELEASE.function, Caller.SECURE, npu_recalled),
        Scene(abi.NPU_RECLAIM.function, Caller.NORMAL, npu_overdue),
    ],
    ids=lambda scene: scene.name,
)
def test_interrupt_of_a_job_that_is_gone_is_told_to_nobody(phone: Phone, scene: Scene) -> None:
    noted(phone, scene)
    scene.make(phone)
    assert phone.registers(1) == [Status.SUCCESS]
    assert is_over(phone, NPU_LINE)
    assert not told(phone)
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
    assert not told(phone)
    phone.enter(World.NORMAL)
    assert acknowledge(phone) == NOTHING
