"""A debugging session: a timeline, where its user has put breakpoints, and what changed since the last stop."""

from __future__ import annotations

import bisect
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FrameType

from emulator.debug.source import SourceMap
from emulator.debug.timeline import Reason, Stopped, StopSet, Timeline
from emulator.events import Event
from emulator.machine import Stop
from emulator.stops import Position
from flexserve.debug.calls import describe
from flexserve.debug.changes import Change, Record, changes, record
from flexserve.debug.scene import Scene
from flexserve.debug.subject import Subject
from flexserve.exec_run import Outcome
from flexserve.recipe import Recipe

from .breakpoints import Breakpoint, is_broken, stop_set

Go = Callable[[StopSet], Stopped]


@dataclass(frozen=True)
class Arrival:
    """Where the run stands now and why; ``breakpoint``: the number of the one that was met."""

    stopped: Stopped
    words: str
    breakpoint: int | None = None


class Session:
    """Of a subject; `open` puts another in its place, and breakpoints stay."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.breakpoints: dict[int, Breakpoint] = {}
        self.trail: list[Position] = []  # where jumps started, for `goto -`
        self._numbers = 0
        self._interrupted = False
        self._last: Record | None = None
        self._here = record(self.scene)

    @property
    def timeline(self) -> Timeline:
        return self._subject.timeline

    @property
    def sources(self) -> SourceMap:
        return self._subject.sources

    @property
    def recipe(self) -> Recipe:
        return self._subject.recipe

    def open(self, subject: Subject) -> None:
        self.close()
        self._subject = subject
        self.trail.clear()
        self._last, self._here = None, record(self.scene)

    def close(self) -> None:
        """Give the host's memory back."""
        self.timeline.close()

    @property
    def scene(self) -> Scene:
        """What the views look at: here and now."""
        return Scene(self.timeline.machine, self.sources, self.timeline.events, self._subject.monitored)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Between the stop before this one and here."""
        return changes(self._last, self._here) if self._last else ()

    def add(self, new: Breakpoint) -> int:
        self._numbers += 1
        self.breakpoints[self._numbers] = new
        return self._numbers

    # --- movement --------------------------------------------------------------------------------------------------

    def step(self, count: int) -> Arrival:
        return self._arrive(lambda: self.timeline.step(count))

    def back(self, count: int) -> Arrival:
        return self._arrive(lambda: self.timeline.back(count))

    def seek(self, position: Position) -> Arrival:
        self.trail.append(self.timeline.position)
        return self._arrive(lambda: self.timeline.seek(position))

    def to_start(self) -> Arrival:
        self.trail.append(self.timeline.position)
        return self._arrive(lambda: self.timeline.seek(self.timeline.start))

    def run(self, *, backward: bool, until: Breakpoint | None = None, count: int = 1) -> Arrival:
        """To the ``count``-th stop of ``until``, or to a breakpoint, or to an end of the run."""
        return self._arrive(lambda: self._run(self._go(backward), until, count))

    def run_plainly(self, until: StopSet, *, backward: bool = False) -> Stopped:
        """To a stop of ``until``, past all breakpoints; no arrival at a prompt."""
        return self._go(backward)(until)

    def _go(self, backward: bool) -> Go:
        if backward:
            return self.timeline.reverse
        return lambda stops: self.timeline.resume(stops, lambda: self._interrupted)

    def _run(self, go: Go, until: Breakpoint | None, count: int) -> Stopped:
        wanted = [*self.breakpoints.values(), *([until] if until else [])]
        stops = stop_set(self.timeline, wanted)
        while True:
            stopped = go(stops)
            if stopped.reason not in {Reason.BREAKPOINT, Reason.WATCHPOINT, Reason.EVENT}:
                return stopped
            if self._interrupted:
                return replace(stopped, reason=Reason.INTERRUPTED)
            met = [one for one in wanted if one.caused(self.timeline, stopped) and self._confirmed(one)]
            if until in met:
                count -= 1
            if any(one is not until for one in met) or (until in met and count == 0):
                return stopped

    def _confirmed(self, met: Breakpoint) -> bool:
        return not met.invariants or bool(is_broken(self.scene))

    def _arrive(self, move: Callable[[], Stopped]) -> Arrival:
        stopped = move()
        number = next((key for key, one in self.breakpoints.items() if one.caused(self.timeline, stopped)), None)
        if number is not None:
            self.breakpoints[number].hits += 1
        self._last, self._here = self._here, record(self.scene)
        return Arrival(stopped, self._words(stopped), number)

    def refresh(self) -> None:
        """A command has moved by itself: this is a stop."""
        self._last, self._here = self._here, record(self.scene)

    def _words(self, stopped: Stopped) -> str:
        match stopped.reason, stopped.detail:
            case Reason.EVENT, Event() as event:
                return self._at_once(event)
            case Reason.WATCHPOINT, Stop(access=access) if access is not None:
                done = "write" if access.write else "read"
                return f"{done} of {access.size} bytes at {access.address:#x}"
            case Reason.ENDED | Reason.LOST, str() as why:
                result = self.timeline.result
                return f"{stopped.reason.value}: {result.why if isinstance(result, Outcome) else why}"
        return stopped.reason.value

    def _at_once(self, event: Event) -> str:
        """An event, with those of its kind that the same instruction has caused."""
        events = self.timeline.events
        first = bisect.bisect_left(events, event.instruction, key=lambda other: other.instruction)
        same = [index for index in range(first, len(events)) if events[index].kind is event.kind]
        return "; ".join(describe(events, index) for index in same)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C ends a movement, wherever it is just then, and never the session."""
        self._interrupted = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(_: int, __: FrameType | None) -> None:
            self._interrupted = True

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
