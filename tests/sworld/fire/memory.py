"""Memory, the secure world's translation with a TLB that forgets nothing by itself, and its port."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from emulator.memory_map import PAGE_SIZE
from emulator.world_port import PortAbort

ENTRIES, ENTRY_BYTES = 512, 8
OUTPUT = 0x0000_FFFF_FFFF_F000
TRANSLATION_FAULT = 0x9600_0007
FLEX_MEM, FLEX_MEM_END = 0x10_0000_0000, 0x80_0000_0000  # virtual addresses that the secure kernel itself maps

Reached = Callable[[int], None]  # called with the address of each page that the secure world reaches


def is_flex_mem(number: int) -> bool:
    """Whether it is an address of those; a key of 64 bits is none."""
    return FLEX_MEM <= number < FLEX_MEM_END


@dataclass
class Memory:
    """Physical pages by address, zero until they are written. ``writes`` counts those to pages from ``watched`` on."""

    watched: int
    writes: int = 0
    pages: defaultdict[int, bytearray] = field(default_factory=lambda: defaultdict(lambda: bytearray(PAGE_SIZE)))

    def read(self, address: int, size: int) -> bytes:
        return b"".join(bytes(page[at : at + count]) for page, at, count in self._parts(address, size))

    def write(self, address: int, data: bytes) -> None:
        self.writes += address >= self.watched
        for page, at, count in self._parts(address, len(data)):
            page[at : at + count], data = data[:count], data[count:]

    def scrub(self, page: int) -> None:
        self.pages.pop(page, None)

    def _parts(self, address: int, size: int) -> list[tuple[bytearray, int, int]]:
        parts = []
        while size:
            at = address % PAGE_SIZE
            count = min(size, PAGE_SIZE - at)
            parts.append((self.pages[address - at], at, count))
            address, size = address + count, size - count
        return parts


@dataclass
class Translation:
    """Of EL1 in the secure world: its table at ``root``, and what the TLB holds of it. The rest is identity."""

    memory: Memory
    root: int
    tlb: dict[int, int] = field(default_factory=dict)  # virtual page: descriptor

    def page(self, va: int) -> int:
        """Physical page of the virtual page ``va``. Raises PortAbort."""
        if va < FLEX_MEM >> 2:
            return va
        entry = self.tlb.get(va)
        if entry is None:
            entry = self.walk(va)
            if not entry & 1:
                raise PortAbort(TRANSLATION_FAULT, va)
            self.tlb[va] = entry
        return entry & OUTPUT

    def walk(self, va: int) -> int:
        """The level 3 descriptor that the tables hold, or 0."""
        entry = self.root
        for shift in (30, 21, 12):
            at = (entry & OUTPUT) + (va >> shift) % ENTRIES * ENTRY_BYTES
            entry = int.from_bytes(self.memory.read(at, ENTRY_BYTES), "little")
            if not entry & 1:
                return 0
        return entry

    def mapped(self) -> dict[int, int]:
        """Virtual page to physical page, of every valid entry of the tables."""
        found: dict[int, int] = {}
        self._gather(self.root, 1, 0, found)
        return found

    def _gather(self, table: int, level: int, va: int, found: dict[int, int]) -> None:
        content = self.memory.pages.get(table)
        if content is None:
            return
        entries = np.frombuffer(content, "<u8")
        for index in np.flatnonzero(entries).tolist():
            entry, place = int(entries[index]), va + (index << 39 - 9 * level)
            if entry & 1 and level == 3:
                found[place] = entry & OUTPUT
            elif entry & 1:
                self._gather(entry & OUTPUT, level + 1, place, found)

    def invalidate(self, page: int | None) -> None:
        """TLBI of a virtual page, or (None) of all."""
        if page is None:
            self.tlb.clear()
        else:
            self.tlb.pop(page, None)


class ModelPort:
    """The part of `emulator.world_port.WorldPort` that the secure kernel uses."""

    def __init__(
        self, translation: Translation, reached: Reached, devices: dict[int, Callable[[int | None], int]]
    ) -> None:
        self._translation = translation
        self._memory = translation.memory
        self._reached = reached
        self._devices = devices

    def read(self, va: int, size: int) -> bytes:
        return b"".join(self._memory.read(address, count) for address, count in self._reach(va, size))

    def write(self, va: int, data: bytes) -> None:
        for address, count in self._reach(va, len(data)):
            self._memory.write(address, data[:count])
            data = data[count:]

    def load(self, va: int, width: int) -> int:
        return self._devices[va](None)

    def store(self, va: int, width: int, value: int) -> None:
        self._devices[va](value)

    def touch(self, va: int) -> None:
        """An operation works on what is there."""
        self._reach(va, 1)

    def _reach(self, va: int, size: int) -> list[tuple[int, int]]:
        """Physical runs of a range, all of it translated before any of it is used."""
        runs, end = [], va + size
        while va < end:
            page = va - va % PAGE_SIZE
            count = min(end - va, page + PAGE_SIZE - va)
            physical = self._translation.page(page)
            if page >= FLEX_MEM >> 2:
                self._reached(physical)
            runs.append((physical + va % PAGE_SIZE, count))
            va += count
        return runs
