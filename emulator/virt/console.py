"""What a user types, on its way to a UART: it arrives when the guest looks, so that guest time says when it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

LOOKS = 8  # at the flags in a row, nothing sent in between: the guest waits for input
PATIENCE = 100_000  # such looks at input that has ended, before the guest is taken to do nothing else


class Source(Protocol):
    """Where input comes from."""

    def read(self, *, wanted: bool, idle_seconds: float) -> bytes | None:
        """What has come since the last call; None: there will be no more.

        ``wanted``: the guest asks for it; ``idle_seconds`` of guest time can pass before it has anything else to do.
        """


class NoInput:
    """Nobody types."""

    def read(self, *, wanted: bool, idle_seconds: float) -> bytes | None:
        return None


class Tape:
    """Input that is remembered: ask for a look's share again, and it is the same."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._arrived: dict[int, bytes] = {}
        self._looks = 0
        self._ended_at: int | None = None

    def at(self, look: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        """What arrives at look number ``look``; numbers count up, but may begin again at an earlier one."""
        if look >= self._looks and self._ended_at is None:
            data = self._source.read(wanted=wanted, idle_seconds=idle_seconds)
            if data is None:
                self._ended_at = look
            elif data:
                self._arrived[look] = data
            self._looks = look + 1
        if self._ended_at is not None and look >= self._ended_at:
            return None
        return self._arrived.get(look, b"")


class Console:
    """``forsaken`` is called when the guest does nothing but wait for input that has ended."""

    def __init__(self, source: Source, receive: Callable[[bytes], None], forsaken: Callable[[], None]) -> None:
        self._tape = Tape(source)
        self._receive = receive
        self._on_forsaken = forsaken
        self._looks = 0  # at the tape
        self._sent = -1
        self._in_a_row = 0  # looks at the flags
        self._rest = b""  # typed, and left over by `read`

    def look(self, sent: int) -> None:
        """The guest looked at the flags and found nothing received; ``sent`` counts what it has sent so far."""
        if sent != self._sent:
            self._sent, self._in_a_row = sent, 0
        self._in_a_row += 1
        if self._in_a_row >= LOOKS and self.poll(wanted=True) is None and self._in_a_row >= PATIENCE:
            self._on_forsaken()

    def poll(self, *, wanted: bool, idle_seconds: float = 0) -> bool | None:
        """Let input in that has come. Whether there was any; None: there will be no more."""
        data = self._next(wanted=wanted, idle_seconds=idle_seconds)
        if data:
            self._in_a_row = 0
            self._receive(data)
        return None if data is None else bool(data)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, for a guest that waits for them (semihosting); none: there will be no more."""
        data: bytes | None = b""
        while data == b"":
            data = self._next(wanted=True, idle_seconds=math.inf)
        if data is None:
            return b""
        self._rest = data[size:]
        return data[:size]

    def _next(self, *, wanted: bool, idle_seconds: float) -> bytes | None:
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        self._looks += 1
        return self._tape.at(self._looks - 1, wanted=wanted, idle_seconds=idle_seconds)
