"""Ranges of pages of an address space (virtual addresses, or those of the NPU's DMA): the lowest gap first."""

from __future__ import annotations

from dataclasses import dataclass, field

from emulator.memory_map import PAGE_SIZE


@dataclass
class RangesState:
    """``taken``: first page of a range -> its pages; ``first`` and ``limit`` in pages."""

    first: int
    limit: int
    taken: dict[int, int] = field(default_factory=dict)


class Ranges:
    """Addresses in [``base``, ``end``), in bytes, on page bounds."""

    def __init__(self, base: int, end: int) -> None:
        self.state = RangesState(base // PAGE_SIZE, end // PAGE_SIZE)

    def allocate(self, pages: int) -> int | None:
        """Byte address of ``pages`` pages in a row; None if there is no such gap."""
        if pages <= 0:
            raise ValueError(f"{pages} pages: a range has one at least")
        first = self.state.first
        for start, length in sorted(self.state.taken.items()):
            if start - first >= pages:
                break
            first = start + length
        if first + pages > self.state.limit:
            return None
        self.state.taken[first] = pages
        return first * PAGE_SIZE

    def free(self, address: int) -> None:
        """Give back what `allocate` gave. Raises KeyError."""
        del self.state.taken[address // PAGE_SIZE]
