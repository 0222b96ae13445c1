"""What a user types, on its way to a UART: it arrives when the guest looks, so that guest time says when it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

LOOKS = 8  # at the flags in a row, nothing sent in between: the guest waits for input...
TIGHT = 2000  # ...and does nothing else, if there are at most so many instructions between two
PATIENCE = 100_000  # looks in a row after which a guest is taken to do nothing else, whatever is between them


class Source(Protocol):
    """Where input comes from."""

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        """All input from byte number ``taken`` on that has come; None: there will be no more.

        ``wanted``: the guest waits for it; else it looks whether somebody interrupts it. ``idle_seconds`` of guest
        time can pass before it has anything else to do.
        """


class NoInput:
    """Nobody types."""

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        return None


class Console:
    """``now`` gives guest time; ``forsaken``: the guest does nothing but wait for input that has ended."""

    held = ("_taken", "_sent", "_looks", "_tight_looks", "_looked_at")

    def __init__(
        self, source: Source, receive: Callable[[bytes], None], now: Callable[[], int], forsaken: Callable[[], None]
    ) -> None:
        self.values: dict[int, int] = {}
        self._source = source
        self._receive = receive
        self._now = now
        self._on_forsaken = forsaken
        self._taken = 0  # bytes of the input that the guest has had
        self._sent = 0
        self._looks = 0  # at the flags, in a row
        self._tight_looks = 0
        self._looked_at = 0

    def look(self, sent: int) -> None:
        """The guest looked at the flags and found nothing received; ``sent`` counts what it has sent so far."""
        if sent != self._sent:
            self._sent, self._looks, self._tight_looks = sent, 0, 0
        before, self._looked_at = self._looked_at, self._now()
        self._looks += 1
        self._tight_looks = self._tight_looks + 1 if self._looked_at - before <= TIGHT else 0
        if self._looks >= LOOKS and self.poll(wanted=self._is_waiting()) is None and self._looks >= PATIENCE:
            self._on_forsaken()

    def _is_waiting(self) -> bool:
        """The first input may be meant to interrupt something: a boot loader's count-down."""
        return self._taken == 0 or self._tight_looks >= LOOKS or self._looks >= PATIENCE

    def poll(self, *, wanted: bool, idle_seconds: float = 0) -> bool | None:
        """Let input in that has come. Whether there was any; None: there will be no more."""
        data = self._source.read(self._taken, wanted=wanted, idle_seconds=idle_seconds)
        if data is None:
            return None
        if data:
            self._looks = self._tight_looks = 0
            self._taken += len(data)
            self._receive(data)
        return bool(data)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, for a guest that waits for them (semihosting); none: there will be no more."""
        data: bytes | None = b""
        while data == b"":
            data = self._source.read(self._taken, wanted=True, idle_seconds=math.inf)
        part = (data or b"")[:size]
        self._taken += len(part)
        return part
