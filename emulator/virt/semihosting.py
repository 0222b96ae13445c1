"""Semihosting (Arm's "Semihosting for AArch32 and AArch64", release 2024Q3): what HLT #0xF000 asks of the host.

The console and the end of the run are provided; the host's files are not. Time is guest time.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from emulator.machine import Machine
from emulator.native import ffi, lib

FAILED = (1 << 64) - 1
FIELD = 8  # bytes of a parameter
PAGE = 0x1000
MAX_TRANSFER = 1 << 20

APPLICATION_EXIT = 0x20026  # ADP_Stopped_ApplicationExit: the second parameter is the status
OTHER_REASON_STATUS = 1

CONSOLE, FEATURES = ":tt", ":semihosting-features"
FEATURE_BYTES = b"SHFB\x03"  # SYS_EXIT_EXTENDED, and :tt opens as stdout or stderr
MODES, READ_MODES, OUTPUT_MODES = 12, 4, 8  # of SYS_OPEN, as in fopen: r r+ w w+ a a+, each with b

EACCES, EBADF, ENOENT, ENOSYS = 13, 9, 2, 38


class Operation(enum.IntEnum):
    """What stands in w0."""

    OPEN = 0x01
    CLOSE = 0x02
    WRITEC = 0x03
    WRITE0 = 0x04
    WRITE = 0x05
    READ = 0x06
    READC = 0x07
    ISERROR = 0x08
    ISTTY = 0x09
    SEEK = 0x0A
    FLEN = 0x0C
    CLOCK = 0x10
    TIME = 0x11
    ERRNO = 0x13
    GET_CMDLINE = 0x15
    HEAPINFO = 0x16
    EXIT = 0x18
    EXIT_EXTENDED = 0x20
    ELAPSED = 0x30
    TICKFREQ = 0x31


class _Unreachable(Exception):
    """A parameter points where the guest itself could not go."""


@dataclass(frozen=True)
class Host:
    """What semihosting needs of its surroundings.

    ``read`` gives up to so many bytes of what the user typed, empty at its end; ``ticks`` is guest time in ticks of
    ``tick_hz``; ``start`` what the clock showed at 0, in seconds since 1970; ``heap`` begin and end of free memory.
    """

    write: Callable[[bytes], None]
    write_error: Callable[[bytes], None]
    read: Callable[[int], bytes]
    ticks: Callable[[], int]
    tick_hz: int
    start: int
    command_line: str
    heap: tuple[int, int]
    exit: Callable[[int], None]


class Stream(enum.IntEnum):
    """What a handle stands for."""

    CLOSED = 0
    INPUT = 1
    OUTPUT = 2
    ERRORS = 3
    FEATURES = 4


class Semihosting:
    """Answers a machine's calls. ``status`` of `Host.exit` is what the process should end with, 0 to 255.

    There is one reading position in the feature file, however often it is open.
    """

    held = ("_error", "_handles", "_read_of_features")

    def __init__(self, machine: Machine, host: Host) -> None:
        self._machine = machine
        self._host = host
        self._error = 0
        self.values: dict[int, int] = {}
        self._handles = [Stream.CLOSED]
        self._read_of_features = 0
        self._calls = {
            Operation.OPEN: self._open, Operation.CLOSE: self._close, Operation.WRITEC: self._write_character,
            Operation.WRITE0: self._write_text, Operation.WRITE: self._write, Operation.READ: self._read,
            Operation.READC: self._read_character, Operation.ISERROR: self._is_error, Operation.ISTTY: self._is_tty,
            Operation.SEEK: self._seek, Operation.FLEN: self._length,
            Operation.CLOCK: self._clock, Operation.TIME: self._time, Operation.ERRNO: self._errno,
            Operation.GET_CMDLINE: self._command_line, Operation.HEAPINFO: self._heap_info,
            Operation.EXIT: self._exit, Operation.EXIT_EXTENDED: self._exit, Operation.ELAPSED: self._elapsed,
            Operation.TICKFREQ: self._tick_frequency,
        }  # fmt: skip

    def answer(self) -> None:
        """One call: operation in w0, parameter in x1, result to x0."""
        registers = self._machine.core.x
        operation, parameter = registers[0] & 0xFFFF_FFFF, registers[1]
        call = self._calls.get(operation)  # type: ignore[call-overload]  # an IntEnum is found by its number
        try:
            result = self._fail(ENOSYS) if call is None else call(parameter)
        except _Unreachable:
            result = self._fail(EACCES)
        registers[0] = result & FAILED

    # --- the console -------------------------------------------------------------------------------------------------

    def _open(self, block: int) -> int:
        name_at, mode, length = self._fields(block, 3)
        name = self._bytes(name_at, min(length, PAGE)).decode(errors="replace")
        if mode >= MODES or name not in {CONSOLE, FEATURES} or (name == FEATURES and mode >= READ_MODES):
            return self._fail(ENOENT)
        if name == FEATURES:
            stream, self._read_of_features = Stream.FEATURES, 0
        else:
            stream = Stream.INPUT if mode < READ_MODES else Stream.OUTPUT if mode < OUTPUT_MODES else Stream.ERRORS
        handle = next((at for at, open_one in enumerate(self._handles) if at and not open_one), len(self._handles))
        self._handles[handle : handle + 1] = [stream]
        return handle

    def _close(self, block: int) -> int:
        (handle,) = self._fields(block, 1)
        if not self._stream(handle):
            return self._fail(EBADF)
        self._handles[handle] = Stream.CLOSED
        return 0

    def _write_character(self, address: int) -> int:
        self._host.write(self._bytes(address, 1))
        return 0

    def _write_text(self, address: int) -> int:
        text = bytearray()
        while len(text) < MAX_TRANSFER:
            part = self._bytes(address, PAGE - address % PAGE)
            end = part.find(0)
            text += part if end < 0 else part[:end]
            if end >= 0:
                break
            address += len(part)
        self._host.write(bytes(text))
        return 0

    def _write(self, block: int) -> int:
        """Gives how many bytes were not written."""
        handle, address, length = self._fields(block, 3)
        stream = self._stream(handle)
        if stream not in {Stream.OUTPUT, Stream.ERRORS}:
            self._error = EBADF
            return length
        write = self._host.write if stream == Stream.OUTPUT else self._host.write_error
        write(self._bytes(address, min(length, MAX_TRANSFER)))
        return max(length - MAX_TRANSFER, 0)

    def _read(self, block: int) -> int:
        """Gives how many bytes were not read."""
        handle, address, length = self._fields(block, 3)
        stream = self._stream(handle)
        if stream == Stream.FEATURES:
            data = FEATURE_BYTES[self._read_of_features :][:length]
            self._read_of_features += len(data)
        elif stream == Stream.INPUT:
            data = self._host.read(min(length, PAGE)) if length else b""
        else:
            self._error = EBADF
            return length
        self._store(address, data)
        return length - len(data)

    def _read_character(self, _: int) -> int:
        data = self._host.read(1)
        return data[0] if data else FAILED

    def _is_error(self, block: int) -> int:
        (status,) = self._fields(block, 1)
        return status >> 63

    def _is_tty(self, block: int) -> int:
        (handle,) = self._fields(block, 1)
        stream = self._stream(handle)
        return self._fail(EBADF) if not stream else int(stream != Stream.FEATURES)

    def _stream(self, handle: int) -> int:
        return self._handles[handle] if handle < len(self._handles) else Stream.CLOSED

    def _seek(self, block: int) -> int:
        """A console has no positions, nor a length."""
        handle, position = self._fields(block, 2)
        if self._stream(handle) != Stream.FEATURES or position > len(FEATURE_BYTES):
            return self._fail(EBADF)
        self._read_of_features = position
        return 0

    def _length(self, block: int) -> int:
        (handle,) = self._fields(block, 1)
        return len(FEATURE_BYTES) if self._stream(handle) == Stream.FEATURES else self._fail(EBADF)

    # --- time and place ----------------------------------------------------------------------------------------------

    def _clock(self, _: int) -> int:
        return self._host.ticks() * 100 // self._host.tick_hz

    def _time(self, _: int) -> int:
        return self._host.start + self._host.ticks() // self._host.tick_hz

    def _elapsed(self, address: int) -> int:
        self._store(address, self._host.ticks().to_bytes(FIELD, "little"))
        return 0

    def _tick_frequency(self, _: int) -> int:
        return self._host.tick_hz

    def _errno(self, _: int) -> int:
        return self._error

    def _command_line(self, block: int) -> int:
        address, size = self._fields(block, 2)
        text = self._host.command_line.encode() + b"\0"
        if len(text) > size:
            return self._fail(EACCES)
        self._store(address, text)
        self._store(block + FIELD, (len(text) - 1).to_bytes(FIELD, "little"))
        return 0

    def _heap_info(self, block: int) -> int:
        """The heap grows up and the stack down in one piece of free memory."""
        (address,) = self._fields(block, 1)
        begin, end = self._host.heap
        self._store(address, b"".join(number.to_bytes(FIELD, "little") for number in (begin, end, end, begin)))
        return 0

    def _exit(self, block: int) -> int:
        reason, status = self._fields(block, 2)
        self._host.exit(status & 0xFF if reason == APPLICATION_EXIT else OTHER_REASON_STATUS)
        return 0

    # --- the guest's memory, as the caller sees it -------------------------------------------------------------------

    def _fail(self, error: int) -> int:
        self._error = error
        return FAILED

    def _fields(self, block: int, count: int) -> list[int]:
        data = self._bytes(block, count * FIELD)
        return [int.from_bytes(data[at : at + FIELD], "little") for at in range(0, len(data), FIELD)]

    def _bytes(self, address: int, size: int) -> bytes:
        return b"".join(
            self._machine.read_physical(physical, length)
            for physical, length in self._pieces(address, size, write=False)
        )

    def _store(self, address: int, data: bytes) -> None:
        done = 0
        for physical, length in self._pieces(address, len(data), write=True):
            self._machine.write_physical(physical, data[done : done + length])
            done += length

    def _pieces(self, address: int, size: int, *, write: bool) -> list[tuple[int, int]]:
        """Physical addresses and lengths, page by page. Raises _Unreachable."""
        pieces = []
        probe = ffi.new("struct probe *")
        while size:
            length = min(size, PAGE - address % PAGE)
            lib.translate_probe(self._machine.native, address, int(write), self._machine.core.level, probe)
            if not probe.allowed or not self._is_memory(probe.physical):
                raise _Unreachable
            pieces.append((int(probe.physical), length))
            address, size = address + length & FAILED, size - length
        return pieces

    def _is_memory(self, physical: int) -> bool:
        try:
            self._machine.read_physical(physical, 1)
        except ValueError:
            return False
        return True
