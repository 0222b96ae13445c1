"""An interrupt at every instruction of what EL3 does for another one: each is served once, and whoever ran goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from emulator.memory_map import GIC_CPU
from emulator.state import MachineState

from .attempt import Attempt, Start
from .gic import NOTHING, SECURE_TIMER, VIRTUAL_TIMER, acknowledge, is_over
from .interrupts import LATER, Awaited, DriverDeadline, Interrupt, NpuInterrupt, RecallDeadline, spend_time
from .phone import Phone
from .scenes import DRIVER, SECURE, Scene, nothing, secure_npu
from .test_preemption import GICC_EOIR, store

TICK = 600  # instructions from the start of the scene: more than EL3 needs for any interrupt
TURNS = TICK  # of two instructions


@dataclass(frozen=True)
class Spin(Scene):
    """``by`` computes for a while, if it is not stopped."""

    function: int = field(default=0, init=False)

    def place(self, phone: Phone) -> None:
        phone.core.x[8], phone.core.x[9] = 0, TURNS
        phone.core.pc = phone.gate("gate_busy")

    @property
    def call(self) -> None:
        return None


class WithTick(Interrupt):
    """``other`` at any instruction, and the normal world's tick at `TICK`, which preempts."""

    def __init__(self, other: Awaited) -> None:
        self.other = other
        self.name, self.marks = other.name, other.marks
        self.ticks = 0

    def prepare(self, phone: Phone, scene: Scene) -> None:
        self.other.prepare(phone, scene)

    def call(self, phone: Phone, scene: Scene, ticks: int) -> str:
        self.ticks = 0
        spend_time(phone, self.other.due - ticks)
        phone.set_timer(phone.machine.instructions + TICK, "cntv")
        return scene.make(phone)

    def serve(self, phone: Phone) -> None:
        number = acknowledge(phone)
        if number == NOTHING:
            return  # a deadline's
        assert number == VIRTUAL_TIMER
        self.ticks += 1
        phone.set_timer(None, "cntv")
        store(phone, GIC_CPU.base + GICC_EOIR, number)


TRIES = [
    pytest.param(Spin(by, prepare), other, id=f"{other.name}-{by.name}")
    for by, prepare in ((SECURE, nothing), (DRIVER, secure_npu))
    for other in (RecallDeadline(), NpuInterrupt(), DriverDeadline())
    if by is DRIVER or not isinstance(other, DriverDeadline)
]


@pytest.mark.parametrize(("scene", "other"), TRIES)
def test_two_interrupts_are_two(start: Start, scene: Spin, other: Awaited) -> None:
    phone, both = start.before(scene), WithTick(other)
    phone.machine.excused = set()
    both.prepare(phone, scene)
    begin = phone.machine.save()
    apart = Attempt(phone, scene, both).make(2 * TICK)
    assert apart is not None
    first = TICK - time_of_end(phone, begin, both, scene) if isinstance(other, DriverDeadline) else 1
    for ticks in range(first, 2 * TICK):
        phone.machine.restore(begin)
        found = Attempt(phone, scene, both).make(ticks)
        assert found is not None
        assert found.results == apart.results, ticks
        assert both.ticks == 1
        assert is_over(phone, VIRTUAL_TIMER) and is_over(phone, SECURE_TIMER)


def time_of_end(phone: Phone, begin: MachineState, both: WithTick, scene: Spin) -> int:
    """How long EL3 takes to stop the driver: a tick that is later finds nobody to preempt."""
    phone.machine.restore(begin)
    started = phone.machine.instructions
    assert both.call(phone, scene, 1) == "arrive_return"
    assert not phone.in_driver
    return phone.machine.instructions - started - LATER
