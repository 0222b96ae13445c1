"""Runs of physical pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emulator.memory_map import PAGE_SIZE


@dataclass(frozen=True)
class Extent:
    """``pages`` physical pages from byte address ``base``."""

    base: int
    pages: int

    @property
    def end(self) -> int:
        return self.base + self.pages * PAGE_SIZE

    def frames(self) -> range:
        return range(self.base, self.end, PAGE_SIZE)

    def overlaps(self, other: Extent) -> bool:
        return self.base < other.end and other.base < self.end

    def first(self, pages: int) -> Extent:
        return Extent(self.base, min(pages, self.pages))

    def behind(self, pages: int) -> Extent:
        """All but the first ``pages``."""
        return Extent(self.base + pages * PAGE_SIZE, self.pages - pages)


def extents(frames: Iterable[int]) -> list[Extent]:
    """Sorted page addresses as runs of adjacent pages."""
    found: list[Extent] = []
    for frame in frames:
        if found and found[-1].end == frame:
            found[-1] = Extent(found[-1].base, found[-1].pages + 1)
        else:
            found.append(Extent(frame, 1))
    return found
