"""The pool's regions as the NPU's DMA sees them: each that it may reach has its own range of IOVAs.

A range belongs to a region for as long as the region exists, so that programs stay right when pages leave and come
back; behind it are, at every moment, the region's locked pages and nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from emulator.gate import Flow
from emulator.memory_map import PAGE_SIZE
from monitor.abi import NPU_MAP, NPU_UNMAP, NPU_WRITE
from monitor.services.calls import succeed

from .flexmem import DeviceAccess, Region, extents
from .iova import IovaAllocator


class NpuMemory:
    """The NPU's addresses in secure mode are below ``limit``."""

    def __init__(self, limit: int) -> None:
        self._iovas = IovaAllocator(limit)
        self._ranges: dict[int, tuple[int, Region]] = {}  # by the region's virtual address
        self._starts: list[int] = []
        self._refused: set[int] = set()

    def attached(self, region: Region, first: int, frames: Sequence[int]) -> Flow[None]:
        """As `Device` has it; where there is no room for a region, the NPU does not see it."""
        if region.device is DeviceAccess.NONE:
            return
        base = self._range(region)
        if base is None:
            return
        iova = base + first * PAGE_SIZE
        for extent in extents(frames):
            yield from self._map(iova, extent.base, extent.pages, region.device)
            iova += extent.pages * PAGE_SIZE

    def dropped(self, region: Region, pages: int) -> Flow[None]:
        """Also of pages that were taken by force, which the monitor has unmapped by itself."""
        held = self._ranges.get(region.va)
        if held is None:
            return
        iova, _ = held
        while pages:
            done, *_ = yield from succeed(NPU_UNMAP, iova, pages)
            iova, pages = iova + done * PAGE_SIZE, pages - done

    def discarded(self, region: Region) -> None:
        """``region`` is no more."""
        self._refused.discard(region.va)
        held = self._ranges.pop(region.va, None)
        if held is not None:
            self._iovas.free(held[0])
            self._starts.remove(region.va)

    def address(self, va: int, size: int) -> int | None:
        """The IOVA of ``size`` bytes at ``va`` of one region; None if the NPU has none for them."""
        index = bisect_right(self._starts, va) - 1
        if index < 0:
            return None
        iova, region = self._ranges[self._starts[index]]
        offset = va - region.va
        return iova + offset if offset + size <= len(region.frames) * PAGE_SIZE else None

    def _range(self, region: Region) -> int | None:
        held = self._ranges.get(region.va)
        if held is not None:
            return held[0]
        if region.va in self._refused:
            return None
        iova = self._iovas.allocate(region.pages)
        if iova is None:
            self._refused.add(region.va)
            return None
        self._ranges[region.va] = iova, region
        self._starts.insert(bisect_right(self._starts, region.va), region.va)
        return iova

    def _map(self, iova: int, base: int, pages: int, access: DeviceAccess) -> Flow[None]:
        flags = NPU_WRITE if access is DeviceAccess.WRITE else 0
        while pages:
            done, *_ = yield from succeed(NPU_MAP, iova, base, pages, flags)
            iova, base, pages = iova + done * PAGE_SIZE, base + done * PAGE_SIZE, pages - done
