"""The Flex-Mem manager: grants pages to the secure world, and takes them back when memory is short.

The secure world chooses which pages it gives back; what it does not give back by the deadline is taken. Every page that
comes back after it was locked must hold only zeros, and this kernel looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emulator.gate import Flow, charge, compute, counter, notice
from emulator.memory_map import PAGE_SIZE
from monitor.abi import (
    FORCE,
    MEM_ALLOCATE,
    MEM_NEXT_RELEASED,
    MEM_RECALL,
    MEM_RECLAIM,
    Status,
)
from monitor.services.calls import CallFailed, invoke, over_extent, succeed

from .pages import MAX_ORDER, PageAllocator
from .secure import SecureDriver

RECALL_TICKS = 4_000_000  # what the secure world gets to choose its pages and clear its mappings
RECALL_TICKS_PER_PAGE = 200
POLL_PAUSE = 200_000  # instructions between two polls that delivered nothing
FREE_COST = 32  # instructions to free one page and coalesce
USED_BYTE = 0xA5  # what the memory's next user leaves in it


class LeftoverBytes(Exception):
    """A reclaimed page was not scrubbed."""


@dataclass
class Counts:
    """4 KiB pages since boot. ``requested`` by recalls; ``recalled``: what those got, released or ``forced``."""

    allocated: int = 0
    requested: int = 0
    recalled: int = 0
    reclaimed: int = 0
    forced: int = 0


@dataclass
class FlexMemState:
    """``granted``: addresses of pages that are the secure world's to lock, or locked."""

    granted: set[int] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)


class FlexMem:
    """Pages come from ``allocator`` and go back to it; ``secure`` is asked to give them up."""

    def __init__(self, allocator: PageAllocator, secure: SecureDriver) -> None:
        self.state = FlexMemState()
        self._allocator = allocator
        self._secure = secure

    def grant(self, pages: int) -> Flow[tuple[int, int]]:
        """One extent of at most ``pages`` pages, ALLOCATED: base and pages. (0, 0) when memory is out."""
        largest = self._allocator.largest_order()
        if largest is None or pages <= 0:
            return 0, 0
        order = min(pages.bit_length() - 1, MAX_ORDER, largest)
        base, count = self._allocator.allocate(order), 1 << order
        self._allocator.split(base)
        yield from over_extent(MEM_ALLOCATE, base, count)
        self.state.granted.update(extent(base, count))
        self.state.counts.allocated += count
        return base, count

    def press(self, wanted: int) -> Flow[int]:
        """Memory pressure: take ``wanted`` pages back, use them, free them. Pages that came, perhaps fewer."""
        counts = self.state.counts
        counts.requested += wanted
        ticks = RECALL_TICKS + wanted * RECALL_TICKS_PER_PAGE
        owed, deadline, *_ = yield from succeed(MEM_RECALL, wanted, ticks)
        came = yield from self._collect(owed, deadline)
        if came < owed:
            came += yield from self._force(owed - came)
        counts.recalled += came
        if came < wanted:
            yield from notice("short", came, wanted)
        return came

    def take_back(self) -> Flow[int]:
        """Reclaim whatever the secure world has released. Pages reclaimed."""
        taken, cursor = 0, 0
        while True:
            base, pages, cursor, *_ = yield from succeed(MEM_NEXT_RELEASED, cursor)
            if pages:
                yield from over_extent(MEM_RECLAIM, base, pages, 0)
                yield from self._reuse(base, pages)
                taken += pages
            if not cursor:
                return taken

    def declined(self, base: int, pages: int) -> Flow[None]:
        """The secure world gave up pages it had not locked: those are NORMAL again."""
        yield from self._free(base, pages)

    def _collect(self, owed: int, deadline: int) -> Flow[int]:
        """Run the secure world until it has released ``owed`` pages or the deadline is past."""
        came = 0
        while came < owed and (yield from counter()) < deadline:
            yield from self._secure.poll()
            taken = yield from self.take_back()
            came += taken
            if not taken:
                yield from charge(POLL_PAUSE)
        return came

    def _force(self, owed: int) -> Flow[int]:
        """After the deadline: take ``owed`` locked pages without the secure world, then let it acknowledge."""
        taken = 0
        for base, pages in runs(self.state.granted):
            taken += yield from self._force_run(base, min(pages, owed - taken))
        self.state.counts.forced += taken
        yield from self._secure.poll()
        return taken

    def _force_run(self, base: int, pages: int) -> Flow[int]:
        """FORCE what is locked of a run; in a window that is not all locked, page by page. Pages taken."""
        taken, end = 0, base + pages * PAGE_SIZE
        window = pages
        while base < end:
            status, done, *_ = yield from invoke(MEM_RECLAIM, base, min(window, (end - base) // PAGE_SIZE), FORCE)
            if status == Status.SUCCESS:
                yield from self._reuse(base, done)
                taken, base = taken + done, base + done * PAGE_SIZE
            elif status == Status.NOT_OWED:
                break  # the secure world has declined the rest before it locked it
            elif status != Status.WRONG_STATE:
                raise CallFailed(MEM_RECLAIM, (base, window, FORCE), status)
            elif window == 1:
                base += PAGE_SIZE
            else:
                window = 1
        return taken

    def _reuse(self, base: int, pages: int) -> Flow[None]:
        """Reclaimed pages: check that they are zero, let their next user write to them, and free them."""
        if not (yield from compute("holds_only_zeros", base, pages * PAGE_SIZE)):
            raise LeftoverBytes(f"{pages} pages from {base:#x} were reclaimed with bytes left in them")
        yield from compute("fill", base, pages * PAGE_SIZE, USED_BYTE)
        self.state.counts.reclaimed += pages
        yield from self._free(base, pages)

    def _free(self, base: int, pages: int) -> Flow[None]:
        for page in extent(base, pages):
            self.state.granted.discard(page)
            self._allocator.free(page)
        yield from charge(pages * FREE_COST)


def extent(base: int, pages: int) -> range:
    """Addresses of the pages from ``base``."""
    return range(base, base + pages * PAGE_SIZE, PAGE_SIZE)


def runs(pages: set[int]) -> list[tuple[int, int]]:
    """Page addresses as (base, count) of adjacent ones, lowest first."""
    found: list[tuple[int, int]] = []
    for page in sorted(pages):
        if found and page == found[-1][0] + found[-1][1] * PAGE_SIZE:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((page, 1))
    return found
