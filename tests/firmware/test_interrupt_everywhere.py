"""An interrupt after every instruction of every call and every abort: same results, nothing lost, every rule kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from emulator.machine import StopReason
from emulator.state import MachineState
from emulator.world import World
from monitor import abi
from monitor.abi import Caller, Pending, Status

from .aborts import ABORTS, Abort
from .gic import NOTHING, SECURE_TIMER, acknowledge, is_over, listen, taken_at_el3
from .interrupts import AHEAD, INTERRUPTS, DriverDeadline, Interrupt
from .observed import Ending, Registers, above, interrupts, memory_of, registers
from .phone import Phone
from .scenes import AT_BOOT, ENDS, NEVER_DONE, SCENES, SLEEPS, Scene, driver_boots
from .test_preemption import TIMER

TELLINGS = 3  # more than any interrupt is worth
FIRST_UNTOUCHED = 8  # x registers that the normal world's own accesses in between leave alone


@dataclass
class Start:
    """One phone for all scenes: just switched on, and booted with the normal world listening."""

    phone: Phone
    off: MachineState
    booted: MachineState

    def before(self, scene: Scene) -> Phone:
        self.phone.machine.restore(self.off if scene.prepare in AT_BOOT else self.booted)
        return self.phone


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    phone = Phone()
    off = phone.machine.save()
    phone.boot()
    listen(phone)
    phone.set_timer(AHEAD)
    yield Start(phone, off, phone.machine.save())
    phone.machine.close()


@dataclass
class Attempt:
    """The scene's call or abort once, and what the worlds do after it."""

    phone: Phone
    scene: Scene
    interrupt: Interrupt
    served: int = field(default=0)

    def make(self, ticks: int) -> Ending | None:
        """None: the machine is off."""
        self.phone.events.clear()
        if self.interrupt.call(self.phone, self.scene, ticks) == "halted":
            return None
        if not self.scene.is_answered_at_once:
            self._settle()
        here, taken, preemptions = self._here(), taken_at_el3(self.phone), self.served
        kept = above(self.phone, self.interrupt.marks)
        secure_timer = self.phone.core.read_sysreg("CNTPS_CVAL_EL1")
        memory, interrupts_here = memory_of(self.phone.machine.save()), interrupts(self.phone)
        self._to_normal_world()
        normal = registers(self.phone, FIRST_UNTOUCHED)
        self._look_for_interrupts(ticks)
        self._to_entry()
        return Ending(
            here, kept, memory, interrupts_here, secure_timer, taken, preemptions, normal, registers(self.phone, 1),
            Pending(self.phone.registers(1)[0]), self.phone.registers(7)[6], self.served,
        )  # fmt: skip

    def _settle(self) -> None:
        """The normal world serves what it is told of, and goes on with what that has interrupted."""
        while self._answered(Status.PREEMPTED):
            self.interrupt.serve(self.phone)
            self.served += 1
            assert self.served <= TELLINGS
            self.phone.smc(abi.SECURE_RESUME.function, abi.INTERRUPTED_THREAD)

    def _answered(self, status: Status) -> bool:
        phone = self.phone
        in_normal_world = phone.core.world is World.NORMAL and not phone.in_driver
        return in_normal_world and abi.signed(phone.registers(1)[0]) == status

    def _here(self) -> Registers:
        """A deadline is so many ticks from when the call is served."""
        found = registers(self.phone)
        names = [word.name for word in self.scene.call.returns] if self.scene.call else []
        return replace(found, x=[0 if names[i : i + 1] == ["deadline"] else x for i, x in enumerate(found.x)])

    def _smc(self, call: abi.Call, *arguments: int) -> None:
        self.phone.smc(call.function, *arguments)
        self._settle()

    def _to_normal_world(self) -> None:
        gate, booting = self.phone.gate, self.scene.prepare in AT_BOOT
        if self.phone.in_driver:
            ready = abi.DRIVER_READY if self.scene.prepare is driver_boots else abi.DRIVER_RETURN
            self._smc(ready, gate("arrive_entry"))
        if self.phone.core.world is World.SECURE:
            ready = abi.SECURE_READY if booting else abi.SECURE_DONE
            self._smc(ready, gate("arrive_entry"), gate("arrive_revocation"))
        if booting:
            listen(self.phone)

    def _look_for_interrupts(self, ticks: int) -> None:
        if self.interrupt.of_normal_world and not self.served and ticks != AHEAD:
            self.interrupt.serve(self.phone)
            self.served += 1
        assert acknowledge(self.phone) == NOTHING

    def _to_entry(self) -> None:
        """Of the secure world, when no thread is interrupted any more."""
        self._smc(abi.SECURE_CALL)
        if self._answered(Status.BUSY):
            self._smc(abi.SECURE_RESUME, abi.INTERRUPTED_THREAD)
            self._to_normal_world()
            self._smc(abi.SECURE_CALL)


TRIES = [
    pytest.param(scene, interrupt, id=f"{interrupt.name}-{scene.name}")
    for scene in (*SCENES, *ABORTS) for interrupt in INTERRUPTS if interrupt.applies(scene)
]  # fmt: skip


@pytest.mark.parametrize(("scene", "interrupt"), TRIES)
def test_interrupt_changes_no_result_and_is_not_lost(start: Start, scene: Scene, interrupt: Interrupt) -> None:
    phone = start.before(scene)
    phone.machine.excused = set(interrupt.excused)
    interrupt.prepare(phone, scene)
    begin = phone.machine.save()
    undisturbed = Attempt(phone, scene, interrupt).make(AHEAD)
    as_the_scene_says(scene, undisturbed)
    for ticks in range(1, length_of(phone, begin, scene) + 1):
        phone.machine.restore(begin)
        found = Attempt(phone, scene, interrupt).make(ticks)
        if undisturbed is None or found is None:
            assert found is undisturbed
            continue
        assert found.results == undisturbed.results, ticks
        interrupt.check(phone, scene, undisturbed, found)


@pytest.mark.parametrize("call", SLEEPS, ids=lambda call: call.name)
def test_sleeping_core_wakes_whenever_its_interrupt_comes(start: Start, call: abi.Call) -> None:
    """Before the call, at any instruction of it, or long after it has gone to sleep."""
    phone = start.phone
    phone.machine.restore(start.booted)
    for ticks in (*range(1, abi.MAX_CALL_INSTRUCTIONS // 64), 1_000_000):
        phone.machine.restore(start.booted)
        phone.set_timer(phone.machine.instructions + ticks)
        assert phone.smc(call.function, 0, 1, 2) == "arrive_return", ticks
        assert phone.registers(4) == [abi.PsciStatus.SUCCESS, 0, 1, 2], ticks
        assert acknowledge(phone) == TIMER, ticks


DRIVERS_FAULTS = [scene for scene in ABORTS if scene.by is Caller.DRIVER]


@pytest.mark.parametrize("scene", DRIVERS_FAULTS, ids=lambda scene: scene.name)
def test_driver_whose_time_is_up_while_it_faults_has_one_end(start: Start, scene: Abort) -> None:
    """TIMEOUT up to some instruction, FAULT from there on: apart from that, nothing tells them apart."""
    phone, deadline = start.before(scene), DriverDeadline()
    phone.machine.excused = set()
    deadline.prepare(phone, scene)
    begin = phone.machine.save()
    undisturbed = Attempt(phone, scene, deadline).make(AHEAD)
    assert undisturbed is not None
    ends = []
    for ticks in range(length_of(phone, begin, scene) + 1):
        phone.machine.restore(begin)
        found = Attempt(phone, scene, deadline).make(ticks)
        assert found is not None
        ends.append((found.here.x[0], found.taken))
        found.here.x[0] = undisturbed.here.x[0]
        assert found.results == undisturbed.results, ticks
        assert is_over(phone, SECURE_TIMER)
    turn = sum(taken for _, taken in ends)
    assert 0 < turn < len(ends)
    statuses = [Status.TIMEOUT] * turn + [Status.FAULT] * (len(ends) - turn)
    assert [abi.signed(status) for status, _ in ends] == statuses


def length_of(phone: Phone, begin: MachineState, scene: Scene) -> int:
    """Instructions until EL2 and EL3 have been left again, or the machine is off."""
    phone.machine.restore(begin)
    scene.place(phone)
    been_above = False
    for length in range(1, abi.MAX_CALL_INSTRUCTIONS):
        stop = phone.machine.run(phone.machine.instructions + 1)
        been_above |= phone.core.level > 1
        if (been_above and phone.core.level < 2) or stop.reason is StopReason.HALTED:
            return length
    raise AssertionError("EL3 was not left")


def as_the_scene_says(scene: Scene, undisturbed: Ending | None) -> None:
    if undisturbed is None:
        assert scene.call in ENDS
        return
    status = abi.signed(undisturbed.here.x[0])
    assert status == scene.fails if scene.fails is not None else status >= 0


def test_every_call_has_scenes() -> None:
    """From everyone who may make it, and badly, where that can be."""
    good = {(scene.call, scene.by) for scene in SCENES if scene.fails is None}
    elsewhere = (*SLEEPS, *NEVER_DONE)
    assert good == {(call, by) for call in abi.CALLS for by in Caller if call.by & by and call not in elsewhere}
    bad = {scene.call for scene in SCENES if scene.call and scene.fails in scene.call.fails}
    assert bad == {call for call in abi.CALLS if call.fails}
    assert {scene.by for scene in SCENES if scene.call is None} == {Caller.NORMAL, Caller.SECURE, Caller.DRIVER}
