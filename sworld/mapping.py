"""The secure kernel's view of Flex-Mem: its own page tables of the pool window, written through its port.

Flex-Mem is TrustZone-normal memory, so its descriptors carry NS=1: cache lines must match the normal world's, and the
TZASC denies secure transactions to these regions. Descriptor layout: Arm ARM D8.3 (VMSAv8-64, 4 KiB granule). An
entry goes from invalid to valid without a TLBI, and never straight from one page to another.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from emulator.gate import ALL_ENTRIES, Flow, tlbi, write
from emulator.memory_map import BLOCK_SIZE, GIB, PAGE_SIZE

SHARED_WINDOW = 0x0C_0000_0000  # shared memory, one 2 MiB table
POOL_WINDOW = 0x10_0000_0000
WINDOW_END = 0x80_0000_0000  # T0SZ = 25

TABLE = 0b11  # next-level table (levels 1 and 2), all restrictions left to the page
PAGE = 0b11  # level 3
NORMAL_WRITE_BACK = 1 << 2  # MAIR attribute 1
NON_SECURE = 1 << 5
INNER_SHAREABLE = 0b11 << 8
ACCESS_FLAG = 1 << 10
EXECUTE_NEVER = 1 << 53 | 1 << 54
POOL_PAGE = PAGE | NORMAL_WRITE_BACK | NON_SECURE | INNER_SHAREABLE | ACCESS_FLAG | EXECUTE_NEVER

ENTRY_SIZE = 8
ENTRIES = PAGE_SIZE // ENTRY_SIZE
PAGES_PER_TLBI = 32  # above this many pages, dropping the whole TLB is cheaper


class OutOfTables(Exception):
    """Secure DRAM has no page left for a page table."""


@dataclass
class MappingState:
    """``tables``: (base, size) of a table's range in bytes, to the table's address. ``next``: first unused page."""

    next: int
    end: int
    tables: dict[tuple[int, int], int] = field(default_factory=dict)


class Mapping:
    """Level 1 table ``root``; new tables come from secure DRAM [``free``, ``end``), which maps to itself."""

    def __init__(self, root: int, free: int, end: int) -> None:
        self.state = MappingState(free, end)
        self._root = root

    def map(self, va: int, frames: Sequence[int]) -> Flow[None]:
        """Map consecutive virtual pages from ``va`` to the physical addresses ``frames``."""
        yield from self._fill(va, [frame | POOL_PAGE for frame in frames])

    def unmap(self, va: int, pages: int) -> Flow[None]:
        """From here on no access through these virtual pages reaches anything."""
        yield from self._fill(va, [0] * pages)
        if pages > PAGES_PER_TLBI:
            yield from tlbi(ALL_ENTRIES)
            return
        for page in range(va, va + pages * PAGE_SIZE, PAGE_SIZE):
            yield from tlbi(page >> 12)

    def _fill(self, va: int, descriptors: Sequence[int]) -> Flow[None]:
        done = 0
        while done < len(descriptors):
            first = va // PAGE_SIZE % ENTRIES
            part = descriptors[done : done + ENTRIES - first]
            table = yield from self._level3(va)
            yield from write(table + first * ENTRY_SIZE, struct.pack(f"<{len(part)}Q", *part))
            done += len(part)
            va += len(part) * PAGE_SIZE

    def _level3(self, va: int) -> Flow[int]:
        level2 = yield from self._table(self._root, va, GIB)
        return (yield from self._table(level2, va, BLOCK_SIZE))

    def _table(self, parent: int, va: int, span: int) -> Flow[int]:
        """The table for the ``span`` bytes around ``va``, made and hung into ``parent`` when it is missing."""
        key = (va - va % span, span)
        known = self.state.tables.get(key)
        if known is not None:
            return known
        table = self._take_page()
        yield from write(table, bytes(PAGE_SIZE))
        yield from write(parent + va // span % ENTRIES * ENTRY_SIZE, struct.pack("<Q", table | TABLE))
        self.state.tables[key] = table
        return table

    def _take_page(self) -> int:
        page = self.state.next
        if page + PAGE_SIZE > self.state.end:
            raise OutOfTables(f"secure DRAM up to {self.state.end:#x} has no page left for a page table")
        self.state.next += PAGE_SIZE
        return page
