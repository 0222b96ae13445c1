"""Buddy allocator over the normal world's DRAM: blocks of 2^order pages, naturally aligned, lowest address first.

All state is in one dataclass of plain integers. A block can be split into single pages after it was allocated, as Linux
does for memory that comes back a page at a time; freeing coalesces again.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from emulator.memory_map import PAGE_SIZE

MAX_ORDER = 10  # blocks of up to 1,024 pages


class OutOfPages(Exception):
    """No free block is large enough."""


class BadFree(Exception):
    """A page was freed that is not the start of an allocated block."""


@dataclass
class BuddyState:
    """Frames are physical addresses in pages. ``candidates`` holds every free block's frame, and stale ones."""

    first: int
    end: int
    free: list[set[int]] = field(default_factory=lambda: [set() for _ in range(MAX_ORDER + 1)])
    candidates: list[list[int]] = field(default_factory=lambda: [[] for _ in range(MAX_ORDER + 1)])
    allocated: dict[int, int] = field(default_factory=dict)  # frame of a block -> its order
    free_pages: int = 0


class PageAllocator:
    """Pages of [``base``, ``end``), byte addresses on page bounds."""

    def __init__(self, base: int, end: int) -> None:
        if base % PAGE_SIZE or end % PAGE_SIZE or base >= end:
            raise ValueError(f"pages of [{base:#x}, {end:#x}): the bounds must be page-aligned and in order")
        self.state = BuddyState(base // PAGE_SIZE, end // PAGE_SIZE)
        frame = self.state.first
        while frame < self.state.end:
            order = min(MAX_ORDER, _alignment(frame), (self.state.end - frame).bit_length() - 1)
            self._insert(frame, order)
            frame += 1 << order

    @property
    def free_pages(self) -> int:
        return self.state.free_pages

    def largest_order(self) -> int | None:
        """Order of the largest block that can be allocated now; None if no page is free."""
        return max((order for order in range(MAX_ORDER + 1) if self.state.free[order]), default=None)

    def allocate(self, order: int = 0) -> int:
        """The byte address of 2^``order`` pages. Raises OutOfPages."""
        if not 0 <= order <= MAX_ORDER:
            raise ValueError(f"order {order}: blocks have order 0 to {MAX_ORDER}")
        for available in range(order, MAX_ORDER + 1):
            if self.state.free[available]:
                break
        else:
            raise OutOfPages(f"no free block of {1 << order} pages, {self.free_pages} pages are free in all")
        frame = self._pop(available)
        for smaller in range(available - 1, order - 1, -1):
            self._insert(frame + (1 << smaller), smaller)
        self.state.allocated[frame] = order
        return frame * PAGE_SIZE

    def split(self, address: int) -> None:
        """Turn the block at ``address`` into pages that are freed one by one. Raises BadFree."""
        frame = address // PAGE_SIZE
        order = self._taken(address)
        self.state.allocated.update((page, 0) for page in range(frame, frame + (1 << order)))

    def free(self, address: int) -> None:
        """Give the block at ``address`` back. Raises BadFree."""
        order = self._taken(address)
        frame = address // PAGE_SIZE
        del self.state.allocated[frame]
        self.state.free_pages += 1 << order
        while order < MAX_ORDER:
            buddy = frame ^ (1 << order)
            if buddy not in self.state.free[order]:
                break
            self._remove(buddy, order)
            frame, order = min(frame, buddy), order + 1
        self._put(frame, order)

    def _taken(self, address: int) -> int:
        """Order of the allocated block at ``address``."""
        frame = address // PAGE_SIZE
        if address % PAGE_SIZE or not self.state.first <= frame < self.state.end:
            raise BadFree(f"page {address:#x} does not belong to this allocator")
        order = self.state.allocated.get(frame)
        if order is None:
            raise BadFree(f"page {address:#x} is not the start of an allocated block: freed twice, or inside one")
        return order

    def _insert(self, frame: int, order: int) -> None:
        self.state.free_pages += 1 << order
        self._put(frame, order)

    def _put(self, frame: int, order: int) -> None:
        self.state.free[order].add(frame)
        heapq.heappush(self.state.candidates[order], frame)

    def _pop(self, order: int) -> int:
        """Take the lowest free block of ``order``, which has one."""
        free, candidates = self.state.free[order], self.state.candidates[order]
        while (frame := heapq.heappop(candidates)) not in free:
            pass
        self._remove(frame, order)
        self.state.free_pages -= 1 << order
        return frame

    def _remove(self, frame: int, order: int) -> None:
        self.state.free[order].remove(frame)
        if not self.state.free[order]:
            self.state.candidates[order].clear()  # all stale


def _alignment(frame: int) -> int:
    """The order to which ``frame`` is naturally aligned."""
    return (frame & -frame).bit_length() - 1 if frame else MAX_ORDER
