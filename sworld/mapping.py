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

from .errors import Refused, ServiceStatus

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

    def table(self, va: int) -> Flow[int]:
        """The level 3 table of the 2 MiB around ``va``, made if it is missing. Raises Refused.

        One flow at a time makes tables: the one that maps.
        """
        level2 = yield from self._table(self._root, va, GIB)
        return (yield from self._table(level2, va, BLOCK_SIZE))

    def map(self, table: int, va: int, frames: Sequence[int]) -> Flow[int]:
        """Map consecutive virtual pages from ``va`` to ``frames``, as many as ``table`` has entries for: how many.

        It is a single store, so that nothing comes between a look at who owns the frames and their mapping.
        """
        first = va // PAGE_SIZE % ENTRIES
        descriptors = [frame | POOL_PAGE for frame in frames[: ENTRIES - first]]
        yield from _store(table, first, descriptors)
        return len(descriptors)

    def unmap(self, va: int, pages: int) -> Flow[None]:
        """From here on no access through these virtual pages reaches anything. They may be unmapped already."""
        page, end = va, va + pages * PAGE_SIZE
        while page < end:
            block = page - page % BLOCK_SIZE
            part = min(end, block + BLOCK_SIZE) - page
            table = self.state.tables.get((block, BLOCK_SIZE))
            if table is not None:
                yield from _store(table, page // PAGE_SIZE % ENTRIES, [0] * (part // PAGE_SIZE))
            page += part
        if pages > PAGES_PER_TLBI:
            yield from tlbi(ALL_ENTRIES)
            return
        for page in range(va, end, PAGE_SIZE):
            yield from tlbi(page >> 12)

    def _table(self, parent: int, va: int, span: int) -> Flow[int]:
        """The table for the ``span`` bytes around ``va``, made and hung into ``parent`` when it is missing."""
        key = (va - va % span, span)
        known = self.state.tables.get(key)
        if known is not None:
            return known
        table = self._take_page()
        yield from write(table, bytes(PAGE_SIZE))
        yield from _store(parent, va // span % ENTRIES, [table | TABLE])
        self.state.tables[key] = table
        return table

    def _take_page(self) -> int:
        """Never given back: tables serve whatever is mapped around them next, so their number has a bound."""
        page = self.state.next
        if page + PAGE_SIZE > self.state.end:
            raise Refused(ServiceStatus.OUT_OF_TABLES)
        self.state.next += PAGE_SIZE
        return page


def _store(table: int, first: int, descriptors: Sequence[int]) -> Flow[None]:
    yield from write(table + first * ENTRY_SIZE, struct.pack(f"<{len(descriptors)}Q", *descriptors))
