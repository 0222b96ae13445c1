"""Runs a recipe and writes down what happens."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from emulator.events import Event, EventKind
from emulator.gate import Notice
from emulator.machine import Lost, Machine
from emulator.memory_map import DramLayout
from flexserve.errors import UserError
from flexserve.identity import firmware_digest
from flexserve.recipe import Recipe
from monitor.abi import REVOKED, PageState

from .file import Trace
from .lines import KINDS, Liner

BARE = "exec"  # the kind of run that boots no firmware of ours


class Recording:
    """The events of ``machine`` from now on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._layout = machine.layout
        self._events: list[Event] = []
        self._begin = 0
        machine.events.listen(KINDS, self._events.append, lazy=True)

    def cut(self) -> None:
        """What came before shall not be in the trace; pages are counted all the same."""
        self._machine.events.drain()
        self._begin = len(self._events)

    def stop(self) -> None:
        self._machine.events.ignore(self._events.append)

    def lines(self) -> list[str]:
        return list(Liner(self._layout).lines(self._events[self._begin :]))

    def pages(self) -> str:
        return pages_line(self._layout, self._events)


class RecordingStage:
    """A stage that records each machine; ``watch`` sees what an app shows its user.

    ``begin``: the trace begins with this kind of notice.
    """

    def __init__(self, watch: Callable[[Notice], None] = lambda notice: None, begin: str | None = None) -> None:
        self.recordings: list[Recording] = []
        self._watch = watch
        self._begin = begin

    def create_machine(self, layout: DramLayout) -> Machine:
        machine = Machine(layout)
        self.recordings.append(Recording(machine))
        return machine

    def show(self, notice: Notice) -> None:
        if notice.kind == self._begin:
            self.recordings[-1].cut()
        self._watch(notice)


def record(
    recipe: Recipe, watch: Callable[[Notice], None] = lambda notice: None, begin: str | None = None
) -> Trace:
    """Do the run: its trace, from the notice ``begin`` on.

    A run that fails after it has begun has a trace, too. Raises UserError, MachineError.
    """
    stage = RecordingStage(watch, begin)
    try:
        result: object = recipe.drive(stage)
    except (UserError, Lost) as error:
        if not stage.recordings:
            raise
        result = {"error": str(error)}
    header: dict[str, object] = {"recipe": recipe.as_json()}
    if begin:
        header["begin"] = begin
    if recipe.kind != BARE:
        header["firmware"] = firmware_digest()
    return assemble(header, stage.recordings, result)


def assemble(header: dict[str, object], recordings: Sequence[Recording], result: object) -> Trace:
    """The trace of what was recorded; ``result``: what came of it, as `Recipe.drive` gives it."""
    lines = [line for recording in recordings for line in recording.lines()]
    told = f"result {json.dumps(_plain(result), sort_keys=True, ensure_ascii=False)}"
    return Trace(header, lines, [*(recording.pages() for recording in recordings), told])


def pages_line(layout: DramLayout, events: Sequence[Event]) -> str:
    """How many pages are in which state at the end."""
    counts = Counter({PageState.NORMAL: layout.pages})
    revoked = 0
    for event in events:
        if event.kind is EventKind.OWNERSHIP:
            _, count, old, new = event.args[:4]
            counts[PageState(old & 7)] -= count
            counts[PageState(new & 7)] += count
            revoked += count * (bool(new & REVOKED) - bool(old & REVOKED))
    return f"pages {' '.join(_counted(counts))} REVOKED={revoked}"


def _counted(counts: Counter[PageState]) -> Iterator[str]:
    for state in PageState:
        yield f"{state.name}={counts[state]}"


def _plain(value: object) -> object:
    """A result as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value
