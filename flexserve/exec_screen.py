"""Who sits in front of the exec board: a terminal, a pipe, or files."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import termios
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from emulator.virt.console import Source

from .exec_run import Left

PIPE_PATIENCE_SECONDS = 1.0
ESCAPE, LEAVE = 0x01, ord("x")  # Ctrl-A, as on QEMU's terminal
CHUNK = 4096
LONGEST_LINE = 0x1_0000
LOCAL_FLAGS, CONTROL_CHARACTERS, INPUT_FLAGS = 3, 6, 0  # in the list of tcgetattr


class FileInput:
    """All of it is there from the beginning, and comes line by line, when the guest waits for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        if taken >= len(self._content):
            return None
        return _line(self._content, taken) if wanted else b""


class PipeInput:
    """As a file while its writer keeps up, for whom the guest waits a second. After that it comes as it comes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._came = bytearray()
        self._keeps_up = True
        self._has_ended = False

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        if self._keeps_up:
            if not wanted:
                return b""
            self._fetch_line(taken)
        if not self._keeps_up and taken == len(self._came) and not self._has_ended:
            self._fetch(idle_seconds)
        if self._has_ended and taken == len(self._came):
            return None
        return _line(self._came, taken) if self._keeps_up else bytes(self._came[taken:])

    def _fetch_line(self, begin: int) -> None:
        """A whole line: in which parts it was written must not matter."""
        while not self._has_ended and b"\n" not in self._came[begin:] and len(self._came) < begin + LONGEST_LINE:
            if not self._fetch(PIPE_PATIENCE_SECONDS):
                self._keeps_up = False
                return

    def _fetch(self, seconds: float) -> bool:
        if not _ready(self._descriptor, seconds):
            return False
        data = os.read(self._descriptor, CHUNK)
        self._came += data
        self._has_ended = not data
        return True


class TerminalInput:
    """What is typed, when it is typed. Ctrl-A x leaves, Ctrl-A Ctrl-A is one Ctrl-A."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._came = bytearray()
        self._escaped = False
        self._has_ended = False

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        if not self._has_ended and taken == len(self._came) and _ready(self._descriptor, idle_seconds):
            data = os.read(self._descriptor, CHUNK)
            self._came += bytes(self._unescape(data))
            self._has_ended = not data
        if self._has_ended and taken == len(self._came):
            return None
        return bytes(self._came[taken:])

    def _unescape(self, data: bytes) -> Iterator[int]:
        for byte in data:
            if self._escaped:
                self._escaped = False
                if byte == LEAVE:
                    raise Left
                if byte == ESCAPE:
                    yield byte
            elif byte == ESCAPE:
                self._escaped = True
            else:
                yield byte


class FileScreen:
    """UARTs and semihosting (``prints``: output, errors) end in files, flushed after each line and before input."""

    def __init__(self, source: Source, uarts: Mapping[int, BinaryIO], prints: tuple[BinaryIO, BinaryIO]) -> None:
        self._source = source
        self._uarts = uarts
        self._prints = prints

    def sent(self, uart: int, byte: int) -> None:
        if uart in self._uarts:
            self._uarts[uart].write(bytes([byte]))

    def sent_line(self, uart: int, line: bytes) -> None:
        if uart in self._uarts:
            self._uarts[uart].flush()

    def print(self, data: bytes, *, error: bool) -> None:
        self._prints[error].write(data)
        self._prints[error].flush()

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        self.flush()
        return self._source.read(taken, wanted=wanted, idle_seconds=idle_seconds)

    def flush(self) -> None:
        for file in self._uarts.values():
            file.flush()


def standard_input() -> FileInput | PipeInput | TerminalInput:
    """What fits the process's standard input."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or none
        return FileInput(b"")
    if os.isatty(descriptor):
        return TerminalInput(descriptor)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return FileInput(sys.stdin.buffer.read())
    return PipeInput(descriptor)


@contextlib.contextmanager
def raw_terminal() -> Iterator[bool]:
    """Keys go to the guest one by one, Ctrl-C too; afterwards the terminal is as it was. Whether there is one."""
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (AttributeError, OSError, ValueError, termios.error):
        yield False
        return
    raw = termios.tcgetattr(descriptor)
    raw[INPUT_FLAGS] &= ~(termios.ICRNL | termios.IXON)
    raw[LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
    try:
        yield True
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _line(content: bytes | bytearray, begin: int) -> bytes:
    """As somebody would type who waits for the prompt: what is typed ahead, boot loaders drop."""
    end = content.find(b"\n", begin) + 1
    return bytes(content[begin : end or len(content)])


def _ready(descriptor: int, seconds: float) -> bool:
    ready, _, _ = select.select([descriptor], [], [], None if seconds == float("inf") else seconds)
    return bool(ready)
