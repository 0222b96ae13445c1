"""QEMU's firmware configuration device: items that a guest reads by key, by register or by DMA.

The registers, the fixed keys and the DMA descriptor: QEMU's docs/specs/fw_cfg. Numbers in it are big-endian unless an
item says otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Protocol

DATA, SELECTOR, DMA_HIGH, DMA_LOW, END = 0x00, 0x08, 0x10, 0x14, 0x18
DMA_SIGNATURE = b"QEMU CFG"

SIGNATURE, INTERFACE, UUID, RAM_SIZE, NO_GRAPHICS, CORES, BOOT_MENU, MAX_CORES, DIRECTORY, FIRST_FILE = (
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0E, 0x0F, 0x19, 0x20,
)  # fmt: skip
TRADITIONAL_AND_DMA = 3
ERROR, READ, SKIP, SELECT, WRITE = 1, 2, 4, 8, 16
NAME_BYTES = 56
CHUNK = 0x1000


class Memory(Protocol):
    """Where DMA goes. Both raise ValueError where there is no memory."""

    def read_physical(self, address: int, size: int) -> bytes: ...

    def write_physical(self, address: int, data: bytes) -> None: ...


def _directory(files: Mapping[str, bytes]) -> bytes:
    entries = (
        struct.pack(f">IHH{NAME_BYTES}s", len(files[name]), FIRST_FILE + number, 0, name.encode())
        for number, name in enumerate(sorted(files))
    )
    return struct.pack(">I", len(files)) + b"".join(entries)


class FwCfg:
    """``files`` by name; ``ram_bytes`` of DRAM; one core."""

    held = ("_key", "_position", "_dma_high")

    def __init__(self, memory: Memory, ram_bytes: int, files: Mapping[str, bytes]) -> None:
        self.values: dict[int, int] = {}
        self._memory = memory
        self._items = {
            SIGNATURE: b"QEMU",
            INTERFACE: struct.pack("<I", TRADITIONAL_AND_DMA),
            UUID: bytes(16),
            RAM_SIZE: struct.pack("<Q", ram_bytes),
            NO_GRAPHICS: struct.pack("<H", 1),
            CORES: struct.pack("<H", 1),
            BOOT_MENU: struct.pack("<H", 0),
            MAX_CORES: struct.pack("<H", 1),
            DIRECTORY: _directory(files),
            **{FIRST_FILE + number: files[name] for number, name in enumerate(sorted(files))},
        }
        self._key = 0
        self._position = 0
        self._dma_high = 0

    def read(self, offset: int, size: int, secure: bool) -> int:
        if offset == DATA:
            return int.from_bytes(self._take(size), "little")
        if DMA_HIGH <= offset < END:
            at = offset - DMA_HIGH
            return int.from_bytes(DMA_SIGNATURE[at : at + size], "little")
        return 0

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        number = int.from_bytes(value.to_bytes(size, "little"), "big")
        if offset == SELECTOR:
            self._select(number & 0xFFFF)
        elif (offset, size) == (DMA_HIGH, 8):
            self._transfer(number)
        elif (offset, size) == (DMA_HIGH, 4):
            self._dma_high = number
        elif (offset, size) == (DMA_LOW, 4):
            self._transfer(self._dma_high << 32 | number)
            self._dma_high = 0

    def _select(self, key: int) -> None:
        self._key, self._position = key, 0

    def _take(self, size: int) -> bytes:
        """The item's next bytes; behind its end there are zeros."""
        item = self._items.get(self._key, b"")
        part = item[self._position : self._position + size]
        self._position += size
        return part + bytes(size - len(part))

    def _transfer(self, descriptor: int) -> None:
        try:
            control, length, address = struct.unpack(">IIQ", self._memory.read_physical(descriptor, 16))
            failed = self._perform(control, length, address)
            self._memory.write_physical(descriptor, struct.pack(">I", ERROR if failed else 0))
        except ValueError:
            pass  # the descriptor is not in memory: nobody could be told

    def _perform(self, control: int, length: int, address: int) -> bool:
        """Whether it failed. Items cannot be written."""
        if control & SELECT:
            self._select(control >> 16)
        if control & READ:
            try:
                for done in range(0, length, CHUNK):
                    self._memory.write_physical(address + done, self._take(min(CHUNK, length - done)))
            except ValueError:
                return True
        elif control & WRITE:
            return True
        elif control & SKIP:
            self._position += length
        return False
