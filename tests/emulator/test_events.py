"""The event stream: who gets which events, and when."""

from __future__ import annotations

from emulator.events import Event, EventKind
from emulator.machine import Machine
from emulator.memory_map import MIB, DramLayout


def test_listener_gets_nothing_from_before_it_came() -> None:
    """Although a lazy one has left that lying in the stream."""
    machine = Machine(DramLayout(64 * MIB))
    patient: list[Event] = []
    prompt: list[Event] = []
    machine.events.listen((EventKind.TOKEN,), patient.append, lazy=True)
    machine.events.emit(EventKind.TOKEN, 1)
    machine.events.listen((EventKind.TOKEN,), prompt.append)
    machine.events.emit(EventKind.TOKEN, 2)
    machine.events.drain()
    assert [event.args[0] for event in patient] == [1, 2]
    assert [event.args[0] for event in prompt] == [2]
    machine.close()
