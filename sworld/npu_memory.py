"""The pool's regions as the NPU's DMA sees them: each that it may reach has its own range of IOVAs.

A range belongs to a region for as long as the region exists, so that programs stay right when pages leave and come
back; behind it are, at every moment, the region's locked pages and nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from emulator.gate import Flow
from emulator.memory_map import PAGE_SIZE
from monitor.abi import NPU_MAP, NPU_UNMAP, NPU_WRITE, Status
from monitor.services.calls import CallFailed, invoke, succeed

from .extent import Extent, extents
from .ranges import Ranges
from .region import DeviceAccess, Region


class NpuMemory:
    """The NPU's addresses in secure mode are below ``limit``. Page 0 is never given out, as null pointers name it."""

    def __init__(self, limit: int) -> None:
        self._iovas = Ranges(PAGE_SIZE, limit)
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
        generation, iova = region.generation, base + first * PAGE_SIZE
        for extent in extents(frames):
            yield from self._map(region, iova, extent)
            if region.generation != generation:  # whatever was mapped since it lost its pages is not its own
                yield from self._unmap(base, region.pages)
                return
            iova += extent.pages * PAGE_SIZE

    def dropped(self, region: Region, pages: int) -> Flow[None]:
        """Also of pages that were taken by force, which the monitor has unmapped by itself."""
        held = self._ranges.get(region.va)
        if held is not None:
            yield from self._unmap(held[0], pages)

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

    def _map(self, region: Region, iova: int, extent: Extent) -> Flow[None]:
        """Up to the end, or until ``region`` has lost its pages: the monitor may refuse what is not LOCKED any more."""
        flags = NPU_WRITE if region.device is DeviceAccess.WRITE else 0
        generation = region.generation
        while extent.pages and region.generation == generation:
            status, done, *_ = yield from invoke(NPU_MAP, iova, extent.base, extent.pages, flags)
            if status != Status.SUCCESS and region.generation == generation:
                raise CallFailed(NPU_MAP, (iova, extent.base, extent.pages, flags), status)
            iova, extent = iova + done * PAGE_SIZE, extent.behind(done)

    def _unmap(self, iova: int, pages: int) -> Flow[None]:
        while pages:
            done, *_ = yield from succeed(NPU_UNMAP, iova, pages)
            iova, pages = iova + done * PAGE_SIZE, pages - done
