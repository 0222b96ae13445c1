"""What Python above a machine has learned from it, in order.

Python objects cannot be rewound, and generators can be neither copied nor pickled. But all that a driver (kernels,
attacks, the code that boots them) knows of the machine came through a few calls, and all else is determined: so a
driver is brought back to an earlier point by running it again from its beginning, answering those calls from this log
while the machine itself stands still.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from emulator.world_port import PortAbort

T = TypeVar("T")


@dataclass(frozen=True)
class Ran:
    """The machine ran until a stop that its driver has to answer. ``events``: all that were recorded by then."""

    reason: int
    pc: int
    events: int


@dataclass(frozen=True)
class GotLost:
    """The machine ran until it could not go on."""

    message: str
    events: int


Entry: TypeAlias = "int | bytes | tuple[int, ...] | PortAbort | Ran | GotLost | None"


class Mode(enum.Enum):
    """Who is asking."""

    WATCHER = "the debugger, or the machine itself: nothing is logged"
    DRIVER = "the driver: every answer is logged"
    REPEATED = "the driver, run again: every answer comes from the log"


class Log:
    """``entries`` are what a driver learned before; it is first run again against them."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.mode = Mode.REPEATED if entries else Mode.DRIVER
        self._next = 0

    @property
    def is_repeating(self) -> bool:
        return self.mode is Mode.REPEATED

    @property
    def is_used_up(self) -> bool:
        """The driver knows again all that the log has."""
        return self._next == len(self.entries)

    def learn(self, ask: Callable[..., T], *arguments: object) -> T:
        """``ask(*arguments)``: an integer, integers, bytes or None, or a PortAbort is raised."""
        if self.mode is Mode.WATCHER:
            return ask(*arguments)
        if self.mode is Mode.REPEATED:
            entry = self.repeat()
            if isinstance(entry, PortAbort):
                raise PortAbort(entry.syndrome, entry.address)
            return entry  # type: ignore[return-value]  # what `ask` gave when it was asked
        try:
            with self.watched():
                answer = ask(*arguments)
        except PortAbort as abort:
            self.entries.append(PortAbort(abort.syndrome, abort.address))
            raise
        self.entries.append(answer)  # type: ignore[arg-type]
        return answer

    def perform(self, act: Callable[..., None], *arguments: object) -> None:
        """``act(*arguments)``, which says nothing and cannot fail; a driver that is run again has done it before."""
        if self.mode is not Mode.REPEATED:
            act(*arguments)

    def repeat(self) -> Entry:
        """The next entry, for a driver that is run again."""
        entry = self.entries[self._next]
        self._next += 1
        return entry

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, nothing is logged; afterwards the driver goes on, with all that is new to it."""
        self.mode = Mode.WATCHER
        try:
            yield
        finally:
            self.mode = Mode.DRIVER
