"""A machine that somebody watches: it pauses where the watcher wants it to, and its driver never knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from emulator.events import Event, EventKind
from emulator.machine import Lost, Machine, Stop, StopReason
from emulator.memory_map import DramLayout, Window
from emulator.stops import Position
from emulator.world import World
from emulator.world_port import WorldPort

from .log import GotLost, Log, Mode, Ran
from .logged import LoggedCore, LoggedEvents, LoggedPort

NO_LIMIT = (1 << 64) - 1
DRIVER_STOPS = frozenset({StopReason.WFI, StopReason.BUDGET, StopReason.HALTED})


@dataclass(frozen=True)
class Arrived:
    """The machine stands where the watcher wanted it to be."""


@dataclass(frozen=True)
class Interrupted:
    """The user wants the machine to stop."""


Pause: TypeAlias = Arrived | Interrupted | Stop | Lost


@dataclass
class Orders:
    """What the watcher wants of the machine; an order ends with the pause that it led to.

    ``goal``: pause when this position is reached; ``step``: pause after one instruction or one exception entry.
    """

    goal: Position | None = None
    step: bool = False
    interrupted: bool = False


@dataclass
class Supervisor:
    """The watcher's side. ``pause`` gives control to the watcher and returns when the machine is to go on."""

    log: Log
    pause: Callable[[Pause], None]
    history: list[Event]
    kinds: frozenset[EventKind]
    orders: Orders = field(default_factory=Orders)


class SupervisedMachine(Machine):
    """The driver's `run` returns at the stops that a plain machine would return at, and at no others."""

    def __init__(self, layout: DramLayout, supervisor: Supervisor) -> None:
        super().__init__(layout)
        self._supervisor = supervisor
        self._log = supervisor.log
        self.core = LoggedCore(self.native, self._log)
        self.history = LoggedEvents(self.native, self._log, supervisor.history, supervisor.kinds)
        self.events = self.history

    def close(self) -> None:
        """The driver has no more use for it; the watcher may, and calls `dispose`."""

    def dispose(self) -> None:
        """Give the host's memory back."""
        super().close()

    def run(self, until: int | None = None) -> Stop:
        if self._log.is_repeating:
            if not self._log.is_used_up:
                return self._rerun()
            self._log.mode = Mode.WATCHER
            self._supervisor.pause(Arrived())
        with self._log.watched():
            outcome = self._run_to_a_drivers_stop(until)
        if isinstance(outcome, Lost):
            self._log.entries.append(GotLost(str(outcome), len(self.history.history)))
        else:
            self._log.entries.append(Ran(outcome.reason, outcome.pc, len(self.history.history)))
        self.history.deliver(len(self.history.history))
        if isinstance(outcome, Lost):
            raise outcome
        return outcome

    def _rerun(self) -> Stop:
        entry = self._log.repeat()
        assert isinstance(entry, Ran | GotLost), f"the driver does not repeat itself: it runs where {entry!r} came"
        self.history.deliver(entry.events)
        if isinstance(entry, GotLost):
            raise Lost(entry.message)
        return Stop(StopReason(entry.reason), entry.pc)

    def _run_to_a_drivers_stop(self, until: int | None) -> Stop | Lost:
        end = NO_LIMIT if until is None else until
        while True:
            self.events.drain()  # what the driver has just put into the stream comes before the pause
            self._pause_as_ordered()
            orders = self._supervisor.orders
            goal = orders.goal.instructions if orders.goal else NO_LIMIT
            self.stops.step(orders.step or self.instructions == goal)
            try:
                stop = super().run(min(end, goal))
            except Lost as lost:
                self._supervisor.pause(lost)
                return lost
            except KeyboardInterrupt:
                orders.interrupted = True
                continue
            if orders.step:
                orders.step, orders.goal = False, self.position
            if stop.reason in DRIVER_STOPS and (stop.reason is not StopReason.BUDGET or self.instructions >= end):
                return stop
            if stop.reason not in DRIVER_STOPS and stop.reason is not StopReason.STEP:
                self._supervisor.pause(stop)

    def _pause_as_ordered(self) -> None:
        orders = self._supervisor.orders
        while True:
            if orders.interrupted:
                orders.interrupted = False
                self._supervisor.pause(Interrupted())
            elif orders.goal is not None and self.position >= orders.goal:
                orders.goal = None
                self._supervisor.pause(Arrived())
            else:
                return

    def ask(self, question: Callable[[], int]) -> int:
        return self._log.learn(super().ask, question)

    def leave_alone(self) -> None:
        self.stops.clear()
        self._supervisor.orders = Orders()
        self._supervisor.pause = lambda _: None

    def port(self, world: World, vmid: int | None = None) -> WorldPort:
        return LoggedPort(self.native, world, vmid, self._log)

    def read_physical(self, address: int, size: int) -> bytes:
        return self._log.learn(super().read_physical, address, size)

    def write_physical(self, address: int, data: bytes) -> None:
        self._log.perform(super().write_physical, address, data)

    def read_register(self, window: Window, offset: int) -> int:
        return self._log.learn(super().read_register, window, offset)

    def reset(self, entry: int) -> None:
        self._log.perform(super().reset, entry)

    @property
    def instructions(self) -> int:
        return self._log.learn(lambda: super(SupervisedMachine, self).instructions)

    def advance_to_next_event(self) -> bool:
        return self._log.learn(super().advance_to_next_event)

    def wait_for_npu(self) -> bool:
        return self._log.learn(super().wait_for_npu)
