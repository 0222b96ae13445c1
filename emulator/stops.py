"""Where a machine's run stops for a debugger, and at which position it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from emulator.events import EventKind
from emulator.native import ffi, lib

if TYPE_CHECKING:
    from emulator.native._native import Machine as NativeMachine


class Position(NamedTuple):
    """Guest time, and exceptions taken since it last advanced. Every step leads to a later position."""

    instructions: int
    entries: int

    def __str__(self) -> str:
        return f"{self.instructions}+{self.entries}" if self.entries else str(self.instructions)


@dataclass(frozen=True, order=True)
class Watch:
    """``size`` bytes from ``address``; ``physical`` ones are met by every master, virtual ones by the core alone."""

    address: int
    size: int
    read: bool = False
    write: bool = True
    physical: bool = False


@dataclass(frozen=True)
class Access:
    """What met a watchpoint: ``size`` bytes at ``address``, virtual or physical as the watchpoint is."""

    watch: Watch
    address: int
    size: int
    write: bool


class TooManyStops(Exception):
    """The machine has no room for another breakpoint or watchpoint, or it is nonsense."""


class Stops:
    """What a run stops at, in one machine; with nothing set, nothing costs anything."""

    def __init__(self, machine: NativeMachine) -> None:
        self._machine = machine
        self._watches: list[Watch] = []
        self.stepping = False

    def position(self) -> Position:
        here = ffi.new("struct position *")
        lib.debug_position(self._machine, here)
        return Position(int(here.instructions), int(here.entries))

    def step(self, on: bool) -> None:
        """Whether a run ends after one instruction or one exception entry."""
        self.stepping = on
        lib.debug_step(self._machine, on)

    def break_at(self, address: int) -> None:
        """Stop before the instruction at this virtual address. Raises TooManyStops."""
        if not lib.debug_break(self._machine, address):
            raise TooManyStops("there is no room for another breakpoint: remove one")

    def leave(self) -> None:
        """The instruction that is next is executed even if there is a breakpoint at it."""
        lib.debug_leave(self._machine)

    def watch(self, watch: Watch) -> None:
        """Stop behind an access to these bytes. Raises TooManyStops."""
        arguments = (watch.address, watch.size, watch.read, watch.write, watch.physical)
        if not lib.debug_watch(self._machine, *arguments):
            raise TooManyStops("there is no room for another watchpoint, or it is empty: remove one")
        self._watches.append(watch)

    def stop_on(self, kinds: Iterable[EventKind]) -> None:
        """Stop behind what causes an event of these kinds."""
        lib.debug_stop_on(self._machine, sum(1 << kind for kind in kinds))

    def clear(self) -> None:
        """No stops any more, but for `step`."""
        lib.debug_clear(self._machine)
        self._watches.clear()

    def last_access(self) -> Access:
        """What the run stopped at, if it was a watchpoint."""
        access = ffi.new("struct debug_access *")
        lib.debug_last_access(self._machine, access)
        return Access(self._watches[access.watch], int(access.address), int(access.bytes), bool(access.write))
