"""Who owns which pages: the monitor's table as ranges of equal pages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import REGION_SHIFT, REVOKED, PageState, Region
from monitor.view import page_index, read_ownership

from .scene import Refused, Scene

_STATE = 7


@dataclass(frozen=True)
class OwnedRange:
    """``pages`` pages from physical address ``base`` whose entries in the table are equal."""

    base: int
    pages: int
    entry: int

    @property
    def end(self) -> int:
        return self.base + self.pages * PAGE_SIZE

    @property
    def state(self) -> str:
        return state_name(self.entry)


def state_name(entry: int) -> str:
    """An entry of the table in words: ``LOCKED``, ``NORMAL (revoked)``, ``RESERVED (SECURE_DRAM)``."""
    try:
        state, region = PageState(entry & _STATE), Region(entry >> REGION_SHIFT)
    except ValueError:
        return f"entry {entry:#x}"
    if entry & REVOKED:
        return f"{state.name} (revoked)"
    return f"{state.name} ({region.name})" if state is PageState.RESERVED else state.name


def reachable(entry: int) -> bool:
    """Whether the normal world reaches a page with this entry."""
    return entry & _STATE in {PageState.NORMAL, PageState.ALLOCATED}


def entries(scene: Scene) -> bytes:
    """The table, a byte a page. Raises Refused where there is no Flex-Monitor."""
    if not scene.monitored:
        raise Refused("page ownership is Flex-Monitor's; this machine runs another image")
    return read_ownership(scene.machine, scene.machine.layout).entries.tobytes()


def entry_address(scene: Scene, page: int) -> int:
    """Physical address of the entry of the page at ``page``."""
    return scene.machine.layout.ownership_base + page_index(page)


def ownership_map(scene: Scene) -> tuple[OwnedRange, ...]:
    """All of DRAM, from the bottom."""
    return tuple(_ranges(np.frombuffer(entries(scene), dtype=np.uint8)))


def _ranges(table: NDArray[np.uint8]) -> Iterator[OwnedRange]:
    edges = [0, *(np.nonzero(np.diff(table))[0] + 1).tolist(), len(table)]
    for first, end in itertools.pairwise(edges):
        yield OwnedRange(DRAM_BASE + first * PAGE_SIZE, end - first, int(table[first]))
