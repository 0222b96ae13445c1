"""Addresses for the NPU's DMA: page ranges of a 32-bit space, lowest free one first."""

from __future__ import annotations

from dataclasses import dataclass, field

from emulator.memory_map import PAGE_SIZE


@dataclass
class IovaState:
    """``taken``: first page of a range -> its pages; ``limit`` in pages."""

    limit: int
    taken: dict[int, int] = field(default_factory=dict)


class IovaAllocator:
    """Addresses below ``limit`` bytes. Page 0 is never given out: a null pointer of a program reaches nothing."""

    def __init__(self, limit: int) -> None:
        self.state = IovaState(limit // PAGE_SIZE)

    def allocate(self, pages: int) -> int | None:
        """Byte address of ``pages`` pages in a row; None if there is no such gap."""
        if pages <= 0:
            raise ValueError(f"{pages} pages: a range has one at least")
        first = 1
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
