"""A run walked through forward and backward is the run that nobody watched."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.debug.edit import SetRegister
from emulator.debug.timeline import Reason, Stage, StopSet, Timeline
from emulator.events import Event, EventKind
from emulator.gate import Notice
from emulator.machine import Machine
from emulator.memory_map import DRAM_MIN, DramLayout
from tests.emulator.bare import CODE, assemble, open_dram

LOOP = """
_start:
    mov     x0, #0
    adr     x1, vectors
    msr     vbar_el3, x1
again:
    add     x0, x0, #1
    bl      callee
    svc     #1
    cmp     x0, #50
    b.ne    again
done:
    wfi
    b       .
callee:
    str     x0, [sp]
    ret
    .balign 0x800
vectors:
    .space  0x200
    mrs     x2, esr_el3
    eret
"""
STACK = CODE + 0x1_0000


def drive(stage: Stage) -> int:
    """The loop, and a driver that adds what it finds in x0 to what it knows, three times."""
    machine = stage.create_machine(DramLayout(DRAM_MIN))
    open_dram(machine)
    image = assemble(LOOP)
    machine.load(image)
    machine.reset(image.entry)
    total = 0
    for _ in range(3):
        machine.core.sp = STACK
        machine.run()
        total += machine.core.x[0] + int.from_bytes(machine.read_physical(STACK, 8), "little")
        machine.core.x[0] = total % 7
        machine.core.pc = image.symbols["again"]
    return total


class PlainStage:
    def create_machine(self, layout: DramLayout) -> Machine:
        self.made = Machine(layout)
        return self.made

    def show(self, notice: Notice) -> None:
        raise AssertionError(notice)


@pytest.fixture
def timeline() -> Iterator[Timeline]:
    with closing(Timeline(drive)) as timeline:
        yield timeline


def state(timeline: Timeline) -> bytes:
    file = io.BytesIO()
    timeline.machine.save().write(file)
    return file.getvalue()


def plain() -> tuple[int, int, list[Event]]:
    """Result, guest time at the end, and events of a run that nobody watches."""
    events: list[Event] = []

    class Listening(PlainStage):
        def create_machine(self, layout: DramLayout) -> Machine:
            machine = super().create_machine(layout)
            machine.events.listen(EventKind, events.append)
            return machine

    stage = Listening()
    total = drive(stage)
    instructions = stage.made.instructions
    stage.made.close()
    return total, instructions, events


def to_the_end(timeline: Timeline) -> tuple[object, int, list[Event]]:
    assert timeline.resume().reason is Reason.ENDED
    return timeline.result, timeline.machine.instructions, timeline.events


def test_watched_run_is_the_run(timeline: Timeline) -> None:
    assert to_the_end(timeline) == plain()


def test_stepped_run_is_the_run(timeline: Timeline) -> None:
    while not timeline.ended:
        timeline.step(7)
    assert to_the_end(timeline) == plain()


def test_position_grows_with_every_step(timeline: Timeline) -> None:
    positions = [timeline.position]
    for _ in range(200):
        timeline.step()
        positions.append(timeline.position)
    assert positions == sorted(set(positions))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(start=st.integers(0, 900), count=st.integers(1, 400))
def test_n_back_and_n_forward_is_the_same_state(start: int, count: int) -> None:
    with closing(Timeline(drive)) as timeline:
        timeline.step(start)
        here, there = timeline.position, state(timeline)
        went = start if timeline.back(count).reason is Reason.START else count
        assert went == min(start, count)
        timeline.step(went)
        assert (timeline.position, state(timeline)) == (here, there)


def test_back_over_a_stop_of_the_drivers(timeline: Timeline) -> None:
    done = assemble(LOOP).symbols["done"]
    timeline.resume(StopSet(breakpoints=frozenset({done})))
    before = state(timeline)
    timeline.step(2)
    assert timeline.machine.core.pc != done
    timeline.back(2)
    assert timeline.machine.core.pc == done
    assert state(timeline) == before
    assert to_the_end(timeline) == plain()


@pytest.mark.parametrize("spacing", [64, 1 << 18])
def test_reverse_meets_the_same_stops_as_forward(monkeypatch: pytest.MonkeyPatch, spacing: int) -> None:
    monkeypatch.setattr("emulator.debug.timeline.FIRST_SPACING", spacing)
    stops = StopSet(breakpoints=frozenset({assemble(LOOP).symbols["callee"]}), kinds=frozenset({EventKind.EXCEPTION}))
    with closing(Timeline(drive)) as timeline:
        met = []
        while (stopped := timeline.resume(stops)).reason is not Reason.ENDED:
            met.append((stopped.reason, stopped.position))
        assert len(met) > 200
        assert {reason for reason, _ in met} == {Reason.BREAKPOINT, Reason.EVENT}
        assert len({position for _, position in met}) == len(met)
        back = []
        for _ in range(20):
            stopped = timeline.reverse(stops)
            back.append((stopped.reason, stopped.position))
        assert back == met[:-21:-1]


def test_reverse_to_an_event_uses_the_history(timeline: Timeline) -> None:
    stops = StopSet(kinds=frozenset({EventKind.EXCEPTION}), when=lambda event: event.args[0] & 0xFFFF == 1)
    met = [timeline.resume(stops).position for _ in range(5)]
    timeline.resume()
    rest = sum(stops.has(event) for event in timeline.events) - len(met)
    assert [timeline.reverse(stops).position for _ in range(rest + len(met))][rest:] == met[::-1]
    assert timeline.reverse(stops).reason is Reason.START
    assert to_the_end(timeline) == plain()


def test_seek_finds_any_position_again(timeline: Timeline) -> None:
    seen = {}
    for _ in range(40):
        timeline.step(17)
        seen[timeline.position] = state(timeline)
    for position in sorted(seen, reverse=True)[::5]:
        timeline.seek(position)
        assert state(timeline) == seen[position]


def test_edit_is_part_of_the_run(timeline: Timeline) -> None:
    timeline.step(100)
    timeline.edit(SetRegister(0, 49))
    edited = to_the_end(timeline)
    assert edited[1] != plain()[1]
    timeline.back(edited[1] - 50)
    assert to_the_end(timeline) == edited


def test_poll_stops_a_run(timeline: Timeline) -> None:
    assert timeline.resume(poll=lambda: True).reason in (Reason.INTERRUPTED, Reason.ENDED)


def test_lost_machine_can_be_walked_back() -> None:
    def lose(stage: Stage) -> None:
        machine = stage.create_machine(DramLayout(DRAM_MIN))
        open_dram(machine)
        image = assemble("_start: mov x0, #1\n mov x1, #0x123\n msr vbar_el3, x1\n svc #0")
        machine.load(image)
        machine.reset(image.entry)
        machine.run()

    with closing(Timeline(lose)) as timeline:
        stopped = timeline.resume()
        assert stopped.reason is Reason.LOST
        assert "for ever" in str(stopped.detail)
        timeline.seek(timeline.start)
        timeline.step(2)
        assert timeline.machine.core.x[1] == 0x123


def test_driver_that_fails_before_it_runs_is_said() -> None:
    def fail(_: Stage) -> None:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        Timeline(fail)
