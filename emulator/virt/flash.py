"""CFI flash with Intel's command set 0001: two 16-bit chips side by side, as QEMU's virt has them.

Reads see memory until a command asks for something else; every write is a part of a command (Intel's and Sharp's
extended command set; the answers, down to the tables, are those of QEMU's pflash_cfi01).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emulator.memory_map import Window

SECTOR_BYTES = 0x4_0000  # of both chips together
BANK_BYTES, CHIP_BYTES = 4, 2

READY, ERASE_ERROR, PROGRAM_ERROR = 1 << 7, 1 << 5, 1 << 4
ERASED = 0xFF

# Commands.
PROGRAM, PROGRAM_TOO, ERASE, CLEAR_STATUS, LOCK, READ_STATUS = 0x10, 0x40, 0x20, 0x50, 0x60, 0x70
READ_IDENTITY, QUERY, BUFFERED_PROGRAM, RESET, READ_ARRAY = 0x90, 0x98, 0xE8, 0xF0, 0xFF
CONFIRM, LOCK_SECTOR, LOCK_DOWN = 0xD0, 0x01, 0x2F

IDENTITY = (0x89, 0x18)  # maker Intel, device


def _query_table(chip_sectors: int) -> dict[int, int]:
    """What a chip answers to a CFI query, by word."""
    sector = SECTOR_BYTES // 2
    size = (chip_sectors * sector).bit_length() - 1
    first = {
        0x13: 1, 0x15: 0x31,  # command set, and where its own table is
        0x1B: 0x45, 0x1C: 0x55, 0x1F: 7, 0x20: 7, 0x21: 10, 0x23: 4, 0x24: 4, 0x25: 4,  # voltages and times
        0x27: size, 0x28: 2, 0x2A: 11,  # bytes, interface, bytes of the write buffer, as powers of two
        0x2C: 1, 0x2D: (chip_sectors - 1) & 0xFF, 0x2E: (chip_sectors - 1) >> 8,  # one region of erase blocks
        0x2F: sector >> 8 & 0xFF, 0x30: sector >> 16,
        0x34: ord("1"), 0x35: ord("0"), 0x3F: 1,
    }  # fmt: skip
    words = {0x10: b"QRY", 0x31: b"PRI"}
    return first | {at + i: byte for at, text in words.items() for i, byte in enumerate(text)}


class Array(Protocol):
    """The memory behind the flash, as the machine gives it."""

    def read_physical(self, address: int, size: int) -> bytes: ...

    def write_physical(self, address: int, data: bytes) -> None: ...


class Flash:
    """``show`` is called with whether reads and fetches see the array."""

    held = ("_command", "_cycle", "_left", "_status")

    def __init__(self, window: Window, array: Array, show: Callable[[bool], None]) -> None:
        self.window = window
        self.values: dict[int, int] = {}
        self._array = array
        self._show = show
        self._query = _query_table(window.size // SECTOR_BYTES)
        self._command = READ_ARRAY
        self._cycle = 0
        self._left = 0  # words of a buffered program
        self._status = READY
        show(True)

    def read(self, offset: int, size: int, secure: bool) -> int:
        """What the chips answer while the array is hidden."""
        if self._command == READ_ARRAY:
            return int.from_bytes(self._array.read_physical(self.window.base + offset, size), "little")
        if self._command == READ_IDENTITY:
            word = dict(enumerate(IDENTITY)).get(offset // BANK_BYTES & 0xFF, 0)
        elif self._command == QUERY:
            word = self._query.get(offset // BANK_BYTES, 0)
        else:
            word = self._status
        return (word | word << 16 | word << 32 | word << 48) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        """One cycle of a command."""
        if self._cycle == 0:
            self._begin(offset, value & 0xFF)
        elif self._command in {PROGRAM, PROGRAM_TOO}:
            self._program(offset, size, value)
            self._cycle = 0
        elif self._command == BUFFERED_PROGRAM:
            self._buffered(offset, size, value)
        else:
            self._confirm(value & 0xFF)

    def _begin(self, offset: int, command: int) -> None:
        if command in {READ_STATUS, READ_IDENTITY, QUERY}:
            self._set(command)
        elif command in {PROGRAM, PROGRAM_TOO, ERASE, LOCK, BUFFERED_PROGRAM}:
            self._set(command, cycle=1)
            if command == ERASE:
                sector = self.window.base + offset // SECTOR_BYTES * SECTOR_BYTES
                self._array.write_physical(sector, bytes([ERASED]) * SECTOR_BYTES)
            if command in {ERASE, BUFFERED_PROGRAM}:
                self._status |= READY
        else:
            if command == CLEAR_STATUS:
                self._status = 0
            self._set(READ_ARRAY)

    def _confirm(self, value: int) -> None:
        """The second cycle of an erase or of a lock."""
        if value == CONFIRM or (self._command == LOCK and value in {LOCK_SECTOR, LOCK_DOWN}):
            self._cycle = 0
            self._status |= READY
            return
        if value != READ_ARRAY:
            self._status |= ERASE_ERROR | PROGRAM_ERROR
        self._set(READ_ARRAY)

    def _buffered(self, offset: int, size: int, value: int) -> None:
        if self._cycle == 1:
            self._left = (value & (1 << 8 * CHIP_BYTES) - 1) + 1
            self._cycle = 2
        elif self._cycle == 2:
            self._program(offset, size, value)
            self._left -= 1
            self._cycle = 2 if self._left else 3
        elif value & 0xFF == CONFIRM:
            self._cycle = 0
            self._status |= READY
        else:
            self._status |= PROGRAM_ERROR
            self._set(READ_ARRAY)

    def _program(self, offset: int, size: int, value: int) -> None:
        self._array.write_physical(self.window.base + offset, value.to_bytes(size, "little"))
        self._status |= READY

    def _set(self, command: int, cycle: int = 0) -> None:
        self._command, self._cycle = command, cycle
        self._show(command == READ_ARRAY)
