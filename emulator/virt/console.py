"""What a user types, on its way to a UART: it arrives when the guest looks, so that guest time says when it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from emulator.memory_map import VIRT_COUNTER_HZ

LOOKS = 8  # at the flags in a row, nothing sent in between: the guest waits for input...
TIGHT = 2000  # ...and does nothing else, if there are at most so many instructions between two
PATIENCE = 100_000  # looks in a row after which a guest is taken to do nothing else, whatever is between them
BUSY = 10 * VIRT_COUNTER_HZ  # guest time after which input interrupts a guest that never waits
FORSAKEN = 600 * VIRT_COUNTER_HZ  # guest time that a guest may be idle in silence after the end of its input


class Source(Protocol):
    """Where input comes from."""

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        """All input from byte number ``taken`` on that has come; None: there will be no more.

        ``wanted``: the guest waits for it; else it looks whether somebody interrupts it. ``idle_seconds`` of guest
        time can pass before it has anything else to do.
        """


class Line(Protocol):
    """The UART's end."""

    output: bytearray

    def receive(self, data: bytes) -> None: ...

    def listens(self) -> bool:
        """It would interrupt the guest if something came, and nothing is there."""


class Console:
    """``now`` gives guest time; ``forsaken``: the guest does nothing but wait for input that has ended."""

    held = ("_taken", "_sent", "_looks", "_tight_looks", "_looked_at", "_quiet_since")

    def __init__(self, source: Source, line: Line, now: Callable[[], int], forsaken: Callable[[], None]) -> None:
        self.values: dict[int, int] = {}
        self._source = source
        self._line = line
        self._now = now
        self._on_forsaken = forsaken
        self._taken = 0  # bytes of the input that the guest has had
        self._sent = 0  # bytes that it had sent when it last looked
        self._looks = 0  # at the flags, in a row
        self._tight_looks = 0
        self._looked_at = 0
        self._quiet_since = 0  # guest time of the last byte in, or noticed out; or of the last wait

    def look(self) -> None:
        """The guest looked at the flags and found nothing received."""
        self._notice_output()
        before, self._looked_at = self._looked_at, self._now()
        self._looks += 1
        self._tight_looks = self._tight_looks + 1 if self._looked_at - before <= TIGHT else 0
        if self._looks >= LOOKS and self._let_in(wanted=self._is_waiting()) is None and self._looks >= PATIENCE:
            self._on_forsaken()

    def wait(self, idle_seconds: float) -> bool:
        """The guest waits for an interrupt, the next of which will come after so many seconds. Whether input came."""
        self._notice_output()
        came = self._let_in(wanted=self._line.listens(), idle_seconds=idle_seconds)
        is_last = idle_seconds == math.inf or self._now() - self._quiet_since > FORSAKEN
        if came is None and is_last and self._line.listens():
            self._on_forsaken()
        return bool(came)

    def work(self) -> None:
        """The guest has been at work for a while."""
        self._notice_output()
        self._let_in(wanted=self._line.listens() and self._now() - self._quiet_since > BUSY)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, for a guest that waits for them (semihosting); none: there will be no more."""
        data: bytes | None = b""
        while data == b"":
            data = self._source.read(self._taken, wanted=True, idle_seconds=math.inf)
        part = (data or b"")[:size]
        self._taken += len(part)
        return part

    def _notice_output(self) -> None:
        if len(self._line.output) != self._sent:
            self._sent, self._looks, self._tight_looks = len(self._line.output), 0, 0
            self._quiet_since = self._now()

    def _is_waiting(self) -> bool:
        """The first input may be meant to interrupt something: a boot loader's count-down."""
        return self._taken == 0 or self._tight_looks >= LOOKS or self._looks >= PATIENCE

    def _let_in(self, *, wanted: bool, idle_seconds: float = 0) -> bool | None:
        """Whether input came; None: there will be no more."""
        data = self._source.read(self._taken, wanted=wanted, idle_seconds=idle_seconds)
        if data:
            self._looks = self._tight_looks = 0
            self._quiet_since = self._now()
            self._taken += len(data)
            self._line.receive(data)
        return None if data is None else bool(data)
