"""`bench flexmem`: a large part of DRAM locked and reclaimed, extent by extent in random order, from guest loops."""

from __future__ import annotations

import random
import resource
import struct
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from emulator.memory_map import BLOCK_SIZE, DRAM_MAX, DRAM_MIN, GIB, MIB, NORMAL_IMAGE_END, PAGE_SIZE, DramLayout
from flexserve.errors import UserError
from flexserve.loop_phone import LoopPhone
from monitor.abi import MAX_CALL_INSTRUCTIONS, PAGES_PER_CALL

TABLE = NORMAL_IMAGE_END  # of the extents, then a page's distance to the first of them
TABLE_ENTRY = struct.Struct("<QQ")
BATCH = 1024  # extents of one guest loop, so that progress can be shown
MARK = b"an earlier owner's bytes"  # what is in a page before it is locked


@dataclass(frozen=True)
class FlexMemFigures:
    """``pages_per_s`` counts a page once for being locked and reclaimed; the peak is the process's, in MiB."""

    pages: int
    pages_per_s: float
    max_call_instructions: int
    call_bound: int
    max_rss_mib: float


def lock_and_reclaim(size: int, seed: int, progress: Callable[[int], None]) -> FlexMemFigures:
    """``size`` bytes of Flex-Mem in extents of 1 to PAGES_PER_CALL pages, shuffled by ``seed``.

    ``progress`` takes bytes done.
    """
    extents = _extents(size, seed)
    with closing(LoopPhone(_dram_for(size))) as phone:
        phone.watch_calls()
        started = time.perf_counter()
        for first in range(0, len(extents), BATCH):
            batch = extents[first : first + BATCH]
            _mark(phone, batch)
            _load_table(phone, batch)
            phone.loop("lock_loop", TABLE, len(batch))
            batch.reverse()
            _load_table(phone, batch)
            phone.loop("reclaim_loop", TABLE, len(batch))
            progress(sum(pages for _, pages in batch) * PAGE_SIZE)
        seconds = time.perf_counter() - started
        longest = phone.longest_call()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return FlexMemFigures(size // PAGE_SIZE, size // PAGE_SIZE / seconds, longest, MAX_CALL_INSTRUCTIONS, peak)


def _dram_for(size: int) -> int:
    """The smallest DRAM that has ``size`` bytes of Flex-Mem beside the carve-outs. Raises UserError."""
    for dram in range(DRAM_MIN, DRAM_MAX + 1, DRAM_MIN):
        if DramLayout(dram).normal_end - _first_page() >= size:
            return int(dram)
    raise UserError(f"{size // MIB} MiB of Flex-Mem do not fit in {DRAM_MAX // GIB} GiB of DRAM: use a smaller --size")


def _first_page() -> int:
    return NORMAL_IMAGE_END + BLOCK_SIZE


def _extents(size: int, seed: int) -> list[tuple[int, int]]:
    order = random.Random(seed)  # noqa: S311 (not for secrets)
    extents, address, end = [], _first_page(), _first_page() + size
    while address < end:
        pages = min(order.randint(1, PAGES_PER_CALL), (end - address) // PAGE_SIZE)
        extents.append((address, pages))
        address += pages * PAGE_SIZE
    order.shuffle(extents)
    return extents


def _mark(phone: LoopPhone, extents: list[tuple[int, int]]) -> None:
    for base, pages in extents:
        for page in range(base, base + pages * PAGE_SIZE, PAGE_SIZE):
            phone.machine.write_physical(page, MARK)


def _load_table(phone: LoopPhone, extents: list[tuple[int, int]]) -> None:
    phone.machine.write_physical(TABLE, b"".join(TABLE_ENTRY.pack(*extent) for extent in extents))

