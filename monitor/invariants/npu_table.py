"""The NPU's own table, and the reverse table that the monitor keeps of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emulator.memory_map import BLOCK_SIZE, DRAM_BASE, GIB, PAGE_SIZE, DramLayout
from monitor.abi import PageState
from monitor.hardware import Hardware
from monitor.invariants.descriptors import TABLE, of_npu
from monitor.invariants.rule import named
from monitor.invariants.stage2 import ENTRIES, differing_tables
from monitor.memory import REVERSE_WRITE, CarveOut
from monitor.view import Pages


def npu_maps_locked_pages(now: Hardware) -> Iterable[str]:
    """The reverse table names LOCKED pages only, and no address twice (npu_tables.h; docs/security.md, 9)."""
    reverse, states = now.memory.reverse, now.memory.ownership.entries
    frames = np.nonzero(reverse)[0]
    others = frames[states[frames] != PageState.LOCKED]
    yield from named(DRAM_BASE + others * PAGE_SIZE, "the NPU maps {}, which is not LOCKED")
    iovas, times = np.unique(reverse[frames] & (REVERSE_WRITE - 1), return_counts=True)
    twice = (iovas[times > 1].astype(np.int64) - 1) * PAGE_SIZE
    yield from named(twice, "the reverse table has two pages at address {}")


def npu_entries_are_the_reverse_tables(now: Hardware) -> Iterable[str]:
    """Each entry maps what the reverse table says, writable if it says so, and there is no other (npu_tables.c)."""
    wanted = of_npu(now)
    places = np.nonzero(now.memory.entries("NPU entries") != wanted)[0]
    yield from named(places * PAGE_SIZE, "the reverse table and the NPU's stage 2 do not agree about address {}")
    if np.count_nonzero(wanted) != np.count_nonzero(now.memory.reverse):
        yield "the reverse table names an address twice, or one that the NPU does not have"


def npu_tables_link_those_entries(now: Hardware) -> Iterable[str]:
    """The levels above them are as they were linked at boot (npu_tables.c)."""
    return differing_tables(now, "the NPU's stage 2", _links(now.layout.dram))


def _links(dram: DramLayout) -> dict[CarveOut, Pages]:
    tables = dram.npu_bytes // BLOCK_SIZE
    root = np.zeros(ENTRIES, np.uint64)
    level2 = np.zeros(-(-tables // ENTRIES) * ENTRIES, np.uint64)
    for index in range(-(-dram.npu_bytes // GIB)):
        root[index] = dram.carve_out_base + CarveOut.NPU_LEVEL2 + index * PAGE_SIZE | TABLE
    level2[:tables] = dram.npu_tables_base + np.arange(tables, dtype=np.uint64) * PAGE_SIZE | np.uint64(TABLE)
    return {CarveOut.NPU_ROOT: root, CarveOut.NPU_LEVEL2: level2}
