"""A run as a place to walk about in: forward by running, backward by going back to a snapshot and running again.

A run is deterministic, so a position in it says everything. A `Timeline` has one machine, which stands at one position,
and takes it to any other. Whoever drives the machine (kernels, attacks) lives in a greenlet: it has control while it
works and while the machine runs, and the timeline has it at every pause.
"""

from __future__ import annotations

import contextlib
import enum
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from emulator.events import Event, EventKind
from emulator.gate import Notice
from emulator.machine import Lost, Machine, Stop, StopReason
from emulator.memory_map import DramLayout
from emulator.state import MachineState
from emulator.stops import Position, Watch
from emulator.supervision.log import Entry, Log, Mode
from emulator.supervision.machine import Arrived, Interrupted, Pause, SupervisedMachine, Supervisor

from .edit import Edit

START = Position(0, 0)
MOST_SNAPSHOTS = 64
FIRST_SPACING = 1 << 18  # instructions between snapshots; doubled when there are too many
POLL_SPACING = 1 << 22  # instructions between two looks at whether somebody wants the machine to stop


class Reason(enum.Enum):
    """Why the machine stands where it does."""

    START = "this is where the run begins"
    STEP = "stepped"
    BREAKPOINT = "breakpoint"
    WATCHPOINT = "watchpoint"
    EVENT = "event"
    ENDED = "the run has ended"
    LOST = "the machine cannot go on"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Stopped:
    """``detail``: the Stop at a breakpoint or watchpoint, the Event, or words."""

    reason: Reason
    position: Position
    detail: Stop | Event | str | None = None


@dataclass(frozen=True)
class StopSet:
    """Where a run is to stop: breakpoints before the instruction, the others right behind what caused them.

    ``when`` is asked for each event of ``kinds``, in order.
    """

    breakpoints: frozenset[int] = frozenset()
    watchpoints: frozenset[Watch] = frozenset()
    kinds: frozenset[EventKind] = frozenset()
    when: Callable[[Event], bool] = lambda event: True

    def has(self, event: Event) -> bool:
        return event.kind in self.kinds and self.when(event)


class Stage(Protocol):
    """What the driver of a run gets."""

    def create_machine(self, layout: DramLayout) -> Machine: ...

    def show(self, notice: Notice) -> None: ...


class TooManyMachines(Exception):
    """The run wants a second machine; a timeline follows one."""


@dataclass(frozen=True)
class Snapshot:
    """Enough to be at ``position`` again. The counts are lengths of the timeline's lists at that position."""

    position: Position
    state: MachineState
    entries: int
    events: int
    notices: int
    edits: int


@dataclass(frozen=True)
class Moment:
    """All that it takes to be at ``position`` in another process."""

    position: Position
    state: MachineState
    entries: list[Entry]
    events: list[Event]
    notices: list[Notice]
    edits: list[tuple[Position, Edit]]


@dataclass(frozen=True)
class Ending:
    """``failure``: what the driver raised, if it did."""

    reason: Reason
    failure: BaseException | None

    @property
    def words(self) -> str:
        return str(self.failure) or type(self.failure).__name__ if self.failure else "it came to its end"


STOPS = {StopReason.BREAKPOINT: Reason.BREAKPOINT, StopReason.WATCHPOINT: Reason.WATCHPOINT}


class Timeline:
    """Of the run that ``start`` does on the stage that it is given.

    It begins ``at`` a moment of that run, or at the first instruction.

    ``kinds``: the events to remember. Raises what ``start`` raises before the machine first runs.
    """

    def __init__(
        self,
        start: Callable[[Stage], object],
        kinds: frozenset[EventKind] = frozenset(EventKind),
        at: Moment | None = None,
    ) -> None:
        self.notices: list[Notice] = []
        self.result: object = None
        self._start = start
        self._kinds = kinds
        self._spacing = FIRST_SPACING
        self._edits: list[tuple[Position, Edit]] = []
        self._edited = 0  # edits that the machine has had
        self._snapshots: list[Snapshot] = []
        self._machine: SupervisedMachine | None = None
        self._ending: Ending | None = None
        self._begin([], [])
        self._raise_failure()
        self.snapshot()
        if at:
            self._edits, self._edited, self.notices = at.edits, len(at.edits), at.notices
            self._end_driver()
            self._begin(at.entries, at.events)
            self.machine.restore(at.state)
            self.snapshot()

    @property
    def machine(self) -> Machine:
        """The machine as it stands; another object after each step backward."""
        assert self._machine is not None
        return self._machine

    @property
    def position(self) -> Position:
        return self.machine.position

    @property
    def start(self) -> Position:
        return self._snapshots[0].position

    @property
    def ended(self) -> str | None:
        """How the run ended, if it stands at its end."""
        return self._ending.words if self._ending else None

    @property
    def events(self) -> list[Event]:
        """Every event from the start to here."""
        return self._supervisor.history

    def close(self) -> None:
        """Give the host's memory back."""
        self._end_driver()

    # --- forward ------------------------------------------------------------------------------------------------

    def step(self, count: int = 1) -> Stopped:
        """``count`` times: execute one instruction, or take one exception."""
        with self._interruptible():
            for _ in range(count):
                if self._ending:
                    break
                self._supervisor.orders.goal, self._supervisor.orders.step = None, True
                pause = self._go_on()
                if isinstance(pause, Interrupted):
                    return Stopped(Reason.INTERRUPTED, self.position)
                if isinstance(pause, Lost):
                    return Stopped(Reason.LOST, self.position, str(pause))
                self._edit_here()
        return self._stopped_at_end() if self._ending else Stopped(Reason.STEP, self.position)

    def resume(self, until: StopSet | None = None, poll: Callable[[], bool] = lambda: False) -> Stopped:
        """Run to the next stop of ``until``, or to the end. ``poll`` is asked now and then whether to stop at once."""
        stops = until or StopSet()
        seen = len(self.events)
        with self._interruptible(), self._armed(stops):
            self.machine.stops.leave()
            while not self._ending:
                poll_at = Position(self.position.instructions + POLL_SPACING, 0)
                pause = self._run(min(self._next_snapshot(), poll_at))
                if isinstance(pause, Interrupted) or poll():
                    return Stopped(Reason.INTERRUPTED, self.position)
                if isinstance(pause, Lost):
                    return Stopped(Reason.LOST, self.position, str(pause))
                new, seen = self.events[seen:], len(self.events)
                if stopped := self._judge(pause, new, stops):
                    return stopped
        return self._stopped_at_end()

    def seek(self, position: Position) -> Stopped:
        """Go to ``position``, or to the first one behind it that there is."""
        if position < self.position:
            self._restore(self._snapshots_before(position, inclusive=True)[-1])
        with self._interruptible():
            while self.position < position and not self._ending:
                pause = self._run(min(position, self._next_snapshot()))
                if isinstance(pause, Interrupted):
                    return Stopped(Reason.INTERRUPTED, self.position)
                if isinstance(pause, Lost):
                    return Stopped(Reason.LOST, self.position, str(pause))
        return self._stopped_at_end() if self._ending else Stopped(Reason.STEP, self.position)

    # --- backward -----------------------------------------------------------------------------------------------

    def back(self, count: int = 1) -> Stopped:
        """Undo ``count`` steps."""
        here, distance = self.position, count
        if here == self.start:
            return Stopped(Reason.START, here)
        while True:
            self.seek(Position(max(here.instructions - distance, 0), 0))
            from_start = self.position == self.start
            trail: deque[Position] = deque(maxlen=count)
            while self.position < here:
                trail.append(self.position)
                if self.step().reason is Reason.INTERRUPTED:
                    return Stopped(Reason.INTERRUPTED, self.position)
            if len(trail) == count or from_start:
                break
            distance *= 2
        self.seek(trail[0])
        return Stopped(Reason.STEP if len(trail) == count else Reason.START, self.position)

    def reverse(self, until: StopSet | None = None) -> Stopped:
        """Go back to the last stop of ``until`` before here, or to the start."""
        stops = until or StopSet()
        found = self._last_stop(stops) if stops.breakpoints or stops.watchpoints else self._last_event(stops)
        if found is None:
            self._restore(self._snapshots[0])
            return Stopped(Reason.START, self.position)
        self.seek(found.position)
        return found

    def _last_event(self, stops: StopSet) -> Stopped | None:
        here, history = self.position, self.events
        for index in reversed(range(len(history))):
            if stops.has(history[index]):
                stopped = self._to_event(index)
                if stopped.reason is not Reason.EVENT or stopped.position < here:
                    return stopped
        return None

    def _to_event(self, index: int) -> Stopped:
        """Right behind what caused the event of that place in the history."""
        event = self.events[index]
        self._restore([one for one in self._snapshots if one.events <= index][-1])
        with self._interruptible(), self._armed(StopSet(kinds=frozenset({event.kind}))):
            while len(self.events) <= index:
                if isinstance(self._run(None), Interrupted):
                    return Stopped(Reason.INTERRUPTED, self.position)
        return Stopped(Reason.EVENT, self.position, event)

    def _last_stop(self, stops: StopSet) -> Stopped | None:
        """From each snapshot before here, the last one first, run to where the one after it is."""
        here = end = self.position
        for snapshot in reversed(self._snapshots_before(here, inclusive=False)):
            self._restore(snapshot)
            last: Stopped | None = None
            seen = snapshot.events
            with self._interruptible(), self._armed(stops):
                while self.position < end:
                    pause = self._run(end)
                    if isinstance(pause, Interrupted):
                        return Stopped(Reason.INTERRUPTED, self.position)
                    new, seen = self.events[seen:], len(self.events)
                    if self.position < here and (stopped := self._judge(pause, new, stops)):
                        last = stopped
                        self.machine.stops.leave()
            if last:
                return last
            end = snapshot.position
        return None

    # --- snapshots and changes ----------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Of here; costs what has changed since the one before."""
        snapshot = Snapshot(
            self.position,
            self.machine.save(),
            len(self._supervisor.log.entries),
            len(self.events),
            len(self.notices),
            self._edited,
        )
        kept = [one for one in self._snapshots if one.position != snapshot.position]
        if len(kept) >= MOST_SNAPSHOTS:
            kept = [kept[0], *kept[1:-1:2], kept[-1]]
            self._spacing *= 2
        self._snapshots = sorted([*kept, snapshot], key=lambda one: one.position)
        return snapshot

    def moment(self) -> Moment:
        """Of here."""
        state, log = self.machine.save(), self._supervisor.log
        edits = self._edits[: self._edited]
        return Moment(self.position, state, list(log.entries), list(self.events), list(self.notices), edits)

    def edit(self, edit: Edit) -> None:
        """Change the machine here. What comes after is another run from now on."""
        here = self.position
        edit.make(self.machine)
        self._edits = [*self._edits[: self._edited], (here, edit)]
        self._edited += 1
        self._snapshots = self._snapshots_before(here, inclusive=False)
        self.snapshot()

    # --- the driver's stage -----------------------------------------------------------------------------------------

    def create_machine(self, layout: DramLayout) -> Machine:
        """For the driver: the one machine. Raises TooManyMachines."""
        if self._machine is not None:
            raise TooManyMachines("this run needs a second machine; only a run with one can be stepped through")
        self._machine = SupervisedMachine(layout, self._supervisor)
        return self._machine

    def show(self, notice: Notice) -> None:
        """For the driver: what an app shows its user."""
        if not self._supervisor.log.is_repeating:
            self.notices.append(notice)

    # --- the driver -----------------------------------------------------------------------------------------------

    def _begin(self, entries: list[Entry], history: list[Event]) -> None:
        """Run a driver from its beginning, through all that it has learned before, to where the machine runs."""
        log = Log(entries)
        self._supervisor = Supervisor(log, self._paused, history, self._kinds)
        if not entries:
            self._supervisor.orders.goal = START
        self._ending = None
        self._driver = greenlet(self._drive)
        self._go_on()

    def _raise_failure(self) -> None:
        if self._ending and self._ending.failure:
            raise self._ending.failure

    def _drive(self) -> None:
        try:
            self.result = self._start(self)
        except GreenletExit:
            raise
        except BaseException as failure:  # noqa: BLE001  # whatever it is, it ends the run and not the debugger
            self._ending = Ending(Reason.LOST if isinstance(failure, Lost) else Reason.ENDED, failure)
        else:
            self._ending = Ending(Reason.ENDED, None)
        self._supervisor.log.mode = Mode.WATCHER

    def _end_driver(self) -> None:
        if not self._driver.dead:
            self._driver.parent = getcurrent()
            self._driver.throw(GreenletExit)
        if self._machine:
            self._machine.dispose()
            self._machine = None

    def _paused(self, pause: Pause) -> None:
        parent = self._driver.parent
        assert parent is not None
        parent.switch(pause)

    def _go_on(self) -> Pause:
        """Until the machine pauses, or the driver is at its end."""
        self._driver.parent = getcurrent()
        pause: Pause | None = self._driver.switch()
        return pause or Arrived()

    def _restore(self, snapshot: Snapshot) -> None:
        entries, history = self._supervisor.log.entries[: snapshot.entries], self.events[: snapshot.events]
        self._end_driver()
        del self.notices[snapshot.notices :]
        self._edited = snapshot.edits
        self._begin(entries, history)
        self.machine.restore(snapshot.state)

    def _run(self, limit: Position | None) -> Stop | Interrupted | Lost | None:
        """Run to ``limit`` or to a stop before it, but at most to the next edit, which is made; None: at no stop."""
        edit = self._edits[self._edited][0] if self._edited < len(self._edits) else None
        self._supervisor.orders.goal = min((one for one in (limit, edit) if one is not None), default=None)
        pause = self._go_on()
        if not self._ending:
            self._edit_here()
            if self.position >= self._next_snapshot():
                self.snapshot()
        return None if isinstance(pause, Arrived) else pause

    def _edit_here(self) -> None:
        while self._edited < len(self._edits) and self._edits[self._edited][0] <= self.position:
            self._edits[self._edited][1].make(self.machine)
            self._edited += 1

    def _next_snapshot(self) -> Position:
        last = self._snapshots_before(self.position, inclusive=True)[-1].position
        return Position(last.instructions + self._spacing, 0)

    def _snapshots_before(self, position: Position, *, inclusive: bool) -> list[Snapshot]:
        return [one for one in self._snapshots if one.position < position or (inclusive and one.position == position)]

    def _judge(self, pause: Stop | Interrupted | Lost | None, new: list[Event], stops: StopSet) -> Stopped | None:
        """Whether to stop there; ``new``: the events since the last pause."""
        if isinstance(pause, Stop) and pause.reason in STOPS and pause.reason is not StopReason.EVENT:
            return Stopped(STOPS[pause.reason], self.position, pause)
        for event in new:
            if stops.has(event):
                return Stopped(Reason.EVENT, self.position, event)
        return None

    def _stopped_at_end(self) -> Stopped:
        assert self._ending
        return Stopped(self._ending.reason, self.position, self._ending.words)

    @contextlib.contextmanager
    def _armed(self, stops: StopSet) -> Iterator[None]:
        """The machine pauses at ``stops``; a machine that is restored inside is another one, and is not armed."""
        armed = self.machine.stops
        try:
            for address in sorted(stops.breakpoints):
                armed.break_at(address)
            for watch in sorted(stops.watchpoints):
                armed.watch(watch)
            armed.stop_on(stops.kinds)
            yield
        finally:
            armed.clear()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C pauses the machine instead of ending whoever is at work."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: object) -> None:
            self._supervisor.orders.interrupted = True

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
