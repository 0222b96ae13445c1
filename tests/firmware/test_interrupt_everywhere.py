"""An interrupt after every instruction of every call and every abort: same results, nothing lost, every rule kept."""

from __future__ import annotations

import pytest

from monitor import abi
from monitor.abi import Caller, Status

from .aborts import ABORTS, Abort
from .attempt import Attempt, Start, length_of
from .gic import SECURE_TIMER, acknowledge, is_over
from .interrupts import AHEAD, INTERRUPTS, DriverDeadline, Interrupt
from .observed import Ending
from .scenes import ENDS, NEVER_DONE, SCENES, SLEEPS, Scene
from .test_preemption import TIMER

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
