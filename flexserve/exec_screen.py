"""Who sits in front of the exec board: a terminal, a pipe, or files."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import termios
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol

from .exec_run import LINE_OF_DEBUGGER, LINE_OF_DEBUGGER_ERRORS, Left

PIPE_PATIENCE_SECONDS = 1.0
ESCAPE, LEAVE = 0x01, ord("x")  # Ctrl-A, as on QEMU's terminal
CHUNK = 4096
LOCAL_FLAGS, CONTROL_CHARACTERS, INPUT_FLAGS = 3, 6, 0  # in the list of tcgetattr


class Input(Protocol):
    def read(self, *, wanted: bool, idle_seconds: float) -> bytes | None: ...


class FileInput:
    """All of it is there from the beginning, and comes when the guest asks for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, *, wanted: bool, idle_seconds: float) -> bytes | None:
        if not self._content:
            return None
        if not wanted:
            return b""
        content, self._content = self._content, b""
        return content


class PipeInput:
    """As a file while its writer keeps up, for whom the guest waits a second. After that it comes as it comes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._keeps_up = True

    def read(self, *, wanted: bool, idle_seconds: float) -> bytes | None:
        if self._keeps_up and not wanted:
            return b""
        wait = max(PIPE_PATIENCE_SECONDS if self._keeps_up else 0.0, idle_seconds)
        if not _ready(self._descriptor, wait):
            self._keeps_up = False
            return b""
        data = os.read(self._descriptor, CHUNK)
        if self._keeps_up:  # where a writer's parts end must not matter
            while data and _ready(self._descriptor, PIPE_PATIENCE_SECONDS):
                more = os.read(self._descriptor, CHUNK)
                if not more:
                    break
                data += more
        return data or None


class TerminalInput:
    """What is typed, when it is typed. Ctrl-A x leaves, Ctrl-A Ctrl-A is one Ctrl-A."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._escaped = False

    def read(self, *, wanted: bool, idle_seconds: float) -> bytes | None:
        if not _ready(self._descriptor, idle_seconds):
            return b""
        data = os.read(self._descriptor, CHUNK)
        return bytes(self._unescape(data)) if data else None

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


class Screen:
    """Output by line (`exec_run.Screen`), flushed when a line ends and when the guest looks for input."""

    def __init__(self, source: Input, outputs: Mapping[int, BinaryIO]) -> None:
        self._source = source
        self._outputs = outputs

    def output(self, line: int, data: bytes) -> None:
        file = self._outputs.get(line)
        if file is not None:
            file.write(data)
            if b"\n" in data:
                file.flush()

    def read(self, *, wanted: bool, idle_seconds: float) -> bytes | None:
        self.flush()
        return self._source.read(wanted=wanted, idle_seconds=idle_seconds)

    def flush(self) -> None:
        for file in set(self._outputs.values()):
            file.flush()


def standard_input() -> Input:
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


def outputs_of(uarts: Mapping[int, BinaryIO], console: BinaryIO, errors: BinaryIO) -> dict[int, BinaryIO]:
    """Where everything goes: the UARTs' files, and semihosting to ``console`` and ``errors``."""
    return {**uarts, LINE_OF_DEBUGGER: console, LINE_OF_DEBUGGER_ERRORS: errors}


def _ready(descriptor: int, seconds: float) -> bool:
    ready, _, _ = select.select([descriptor], [], [], None if seconds == float("inf") else seconds)
    return bool(ready)
