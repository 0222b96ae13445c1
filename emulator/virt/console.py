"""What a user types, on its way to a UART: it arrives when the guest looks, so that guest time says when it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

LOOKS = 8  # at the flags in a row, nothing sent in between: the guest waits for input
PATIENCE = 100_000  # such looks at input that has ended, before the guest is taken to do nothing else


class Source(Protocol):
    """Where input comes from."""

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        """All input from byte number ``taken`` on that has come; None: there will be no more.

        ``wanted``: the guest asks for it; ``idle_seconds`` of guest time can pass before it has anything else to do.
        """


class NoInput:
    """Nobody types."""

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        return None


class Console:
    """``forsaken`` is called when the guest does nothing but wait for input that has ended."""

    held = ("_taken", "_sent", "_looks")

    def __init__(self, source: Source, receive: Callable[[bytes], None], forsaken: Callable[[], None]) -> None:
        self.values: dict[int, int] = {}
        self._source = source
        self._receive = receive
        self._on_forsaken = forsaken
        self._taken = 0  # bytes of the input that the guest has had
        self._sent = 0
        self._looks = 0  # at the flags, in a row

    def look(self, sent: int) -> None:
        """The guest looked at the flags and found nothing received; ``sent`` counts what it has sent so far."""
        if sent != self._sent:
            self._sent, self._looks = sent, 0
        self._looks += 1
        if self._looks >= LOOKS and self.poll(wanted=True) is None and self._looks >= PATIENCE:
            self._on_forsaken()

    def poll(self, *, wanted: bool, idle_seconds: float = 0) -> bool | None:
        """Let input in that has come. Whether there was any; None: there will be no more."""
        data = self._source.read(self._taken, wanted=wanted, idle_seconds=idle_seconds)
        if data is None:
            return None
        if data:
            self._looks = 0
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
