"""The machine's parts as a driver gets them: the same parts, with every answer in the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.core import Core, GeneralRegisters
from emulator.events import Event, EventKind, EventStream
from emulator.world import World
from emulator.world_port import WorldPort

from .log import Log, Mode

if TYPE_CHECKING:
    from emulator.native._native import Machine as NativeMachine


class LoggedRegisters(GeneralRegisters):
    def __init__(self, machine: NativeMachine, log: Log) -> None:
        super().__init__(machine)
        self._log = log

    def __getitem__(self, index: int) -> int:
        return self._log.learn(super().__getitem__, index)

    def __setitem__(self, index: int, value: int) -> None:
        self._log.perform(super().__setitem__, index, value)

    def first(self, count: int) -> tuple[int, ...]:
        return self._log.learn(super().first, count)

    def set_first(self, values: tuple[int, ...]) -> None:
        self._log.perform(super().set_first, values)


class LoggedCore(Core):
    def __init__(self, machine: NativeMachine, log: Log) -> None:
        super().__init__(machine)
        self.x = LoggedRegisters(machine, log)
        self._log = log

    @property
    def context(self) -> int:
        return self._log.learn(lambda: super(LoggedCore, self).context)

    def read_sysreg(self, name: str) -> int:
        return self._log.learn(super().read_sysreg, name)

    def write_sysreg(self, name: str, value: int) -> None:
        self._log.perform(super().write_sysreg, name, value)

    def read_vector(self, index: int) -> int:
        return self._log.learn(super().read_vector, index)

    def write_vector(self, index: int, value: int) -> None:
        self._log.perform(super().write_vector, index, value)


class LoggedPort(WorldPort):
    def __init__(self, machine: NativeMachine, world: World, vmid: int | None, log: Log) -> None:
        super().__init__(machine, world, vmid)
        self._log = log

    def read(self, va: int, size: int) -> bytes:
        return self._log.learn(super().read, va, size)

    def write(self, va: int, data: bytes) -> None:
        self._log.learn(super().write, va, data)

    def load(self, va: int, width: int) -> int:
        return self._log.learn(super().load, va, width)

    def store(self, va: int, width: int, value: int) -> None:
        self._log.learn(super().store, va, width, value)

    def access_all(self, accesses: tuple[tuple[int, int | None], ...]) -> tuple[int, ...]:
        return self._log.learn(super().access_all, accesses)

    def is_zero(self, va: int, size: int) -> bool:
        return self._log.learn(super().is_zero, va, size)

    def call(self, operation: Callable[..., int], *arguments: int | tuple[int, ...]) -> int:
        return self._log.learn(super().call, operation, *arguments)

    def check_native(self) -> None:
        """Part of `read` and its like, which are logged as a whole; an answer of its own after `call`."""
        if self._log.mode is Mode.WATCHER:
            super().check_native()
        else:
            self._log.learn(super().check_native)


class LoggedEvents(EventStream):
    """``history``: every event of the kinds that anybody watches, from the start on.

    The driver's own listeners get theirs when the driver is at work again, so that what they ask is logged too.
    """

    def __init__(self, machine: NativeMachine, log: Log, history: list[Event], watched: frozenset[EventKind]) -> None:
        super().__init__(machine)
        self.history = history
        self._log = log
        self._delivered = 0
        self._watched = watched
        self._select()

    def emit(self, kind: EventKind, *args: int) -> None:
        self._log.perform(super().emit, kind, *args)

    def drain(self) -> None:
        if self._log.mode is Mode.WATCHER:
            self._gather()
        else:
            self.deliver(self._log.learn(self._gather))

    def deliver(self, count: int) -> None:
        """Hand the first ``count`` events of the history to the driver's listeners, but for those that they had."""
        while self._delivered < count:
            self._delivered += 1
            self._hand_on(self.history[self._delivered - 1])

    def _gather(self) -> int:
        self.history.extend(self._recorded())
        return len(self.history)

    def _wanted(self) -> set[EventKind]:
        return super()._wanted() | self._watched

    def _select(self) -> None:
        super()._select()
        self.prompt = True  # for the history
