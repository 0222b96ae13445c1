"""The secure world's pool of Flex-Mem: which locked page backs which virtual page, how it grows, what it gives back.

The pool is consistent whenever a flow is suspended: a page is free, behind exactly one region, or promised (ALLOCATED
for a load under way). A recall takes free pages first, then weights from the tail layers forward, then the KV cache,
then activations, then promises; so it is short only when the pool is empty. A region that loses a page loses its
contents: weights come back from storage, KV entries are computed again.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emulator.gate import Flow, Registers
from emulator.memory_map import PAGE_SIZE
from monitor.abi import MEM_ACK_REVOKED, MEM_LOCK, MEM_NEXT_REVOKED, MEM_RELEASE
from monitor.services.calls import CallFailed, over_extent, succeed
from monitor.services.messages import Request

from .errors import Refused, ServiceStatus
from .mapping import POOL_WINDOW, WINDOW_END, Mapping

Rpc = Callable[..., Flow[Registers]]


class Kind(enum.IntEnum):
    """What a region holds; a recall takes the lower kinds first."""

    WEIGHTS = 0
    KV = 1
    ACTIVATIONS = 2


class DeviceAccess(enum.Enum):
    """What the NPU may do with a region's pages while it works for this world."""

    NONE = "none"
    READ = "read"
    WRITE = "write"


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


@dataclass
class Region:
    """Virtual pages from ``va``, the first ``len(frames)`` of them backed. ``ready``: the contents can be used."""

    kind: Kind
    name: str
    va: int
    pages: int
    frames: list[int] = field(default_factory=list)
    ready: bool = False
    device: DeviceAccess = DeviceAccess.NONE


class Device(Protocol):
    """The NPU's view of regions, told of every page that comes and goes."""

    def attached(self, region: Region, first: int, frames: Sequence[int]) -> Flow[None]:
        """``frames`` are now the pages ``first`` and on of ``region``, LOCKED."""

    def dropped(self, region: Region, pages: int) -> Flow[None]:
        """The first ``pages`` pages of ``region`` are about to hold something else."""

    def discarded(self, region: Region) -> None:
        """``region`` is no more."""


class NoDevice:
    """Nothing sees the pool but this world's processor."""

    def attached(self, region: Region, first: int, frames: Sequence[int]) -> Flow[None]:
        yield from ()

    def dropped(self, region: Region, pages: int) -> Flow[None]:
        yield from ()

    def discarded(self, region: Region) -> None:
        pass


@dataclass
class PoolState:
    """All of the pool, in plain data: ``regions`` in layer order, ``locked`` pages since boot.

    ``losses`` counts how often cache or activations went away, ``moves`` how often anything did.
    """

    regions: list[Region] = field(default_factory=list)
    free: set[int] = field(default_factory=set)
    promised: list[Extent] = field(default_factory=list)
    next_va: int = POOL_WINDOW
    locked: int = 0
    losses: int = 0
    moves: int = 0


class Pool:
    """``normal`` is the DRAM that the normal world may grant from; ``rpc`` asks it; ``device`` sees regions too."""

    def __init__(self, mapping: Mapping, rpc: Rpc, normal: Extent, device: Device | None = None) -> None:
        self.state = PoolState()
        self.shared: Extent | None = None
        self._mapping = mapping
        self._rpc = rpc
        self._normal = normal
        self._device = device or NoDevice()

    # Regions

    def reserve(self, kind: Kind, name: str, size: int, device: DeviceAccess = DeviceAccess.NONE) -> Region:
        """Virtual pages for ``size`` bytes, with nothing behind them yet."""
        pages = -(-size // PAGE_SIZE)
        if self.state.next_va + pages * PAGE_SIZE > WINDOW_END:
            raise Refused(ServiceStatus.OUT_OF_MEMORY, pages)
        region = Region(kind, name, self.state.next_va, pages, device=device)
        self.state.next_va += (pages + 1) * PAGE_SIZE  # an unmapped page between any two regions
        self.state.regions.append(region)
        return region

    def back(self, region: Region, pages: int) -> Flow[None]:
        """Put locked pages behind the first ``pages`` of ``region``. Recalls can come in between."""
        while len(region.frames) < pages:
            if not self.state.free:
                yield from self._grow(pages - len(region.frames))
                continue
            yield from self._attach(region, heapq.nsmallest(pages - len(region.frames), self.state.free))

    def drop(self, region: Region) -> Flow[None]:
        """Forget what ``region`` holds; its pages are free."""
        frames, region.frames, region.ready = region.frames, [], False
        self.state.losses += bool(frames) and region.kind is not Kind.WEIGHTS
        self.state.moves += bool(frames)
        yield from self._device.dropped(region, len(frames))
        yield from self._mapping.unmap(region.va, len(frames))
        self.state.free.update(frames)

    def discard(self, region: Region) -> Flow[None]:
        """Drop ``region`` for good."""
        yield from self.drop(region)
        self._device.discarded(region)
        self.state.regions.remove(region)

    # Loading by DMA: pages stay ALLOCATED, in the normal world's reach, until the ciphertext is in them

    def promise(self, pages: int) -> Flow[Extent]:
        """ALLOCATED pages, at most ``pages``."""
        _, base, count, _ = yield from self._rpc(Request.ALLOCATE_PAGES, pages)
        extent = Extent(base, count)
        if not count:
            raise Refused(ServiceStatus.OUT_OF_MEMORY, pages)
        if base % PAGE_SIZE or not 0 < count <= pages or not self._grantable(extent):
            raise Refused(ServiceStatus.BAD_GRANT, base)
        self.state.promised.append(extent)
        return extent

    def keep(self, extent: Extent, region: Region) -> Flow[None]:
        """Lock a promised extent behind ``region``, unless a recall took it in the meantime."""
        if extent not in self.state.promised:
            yield from self._rpc(Request.FREE_PAGES, extent.base, extent.pages)
            return
        yield from self._lock(extent)
        yield from self._attach(region, list(extent.frames()))

    def decline(self, extent: Extent) -> Flow[None]:
        """Give up a promised extent."""
        if extent in self.state.promised:
            yield from self._decline(extent)
        yield from self._rpc(Request.FREE_PAGES, extent.base, extent.pages)

    def give_back(self) -> Flow[int]:
        """Release the free pages without being asked. Pages released."""
        released = yield from self._release(sorted(self.state.free))
        if released:
            yield from self._rpc(Request.FREE_PAGES, 0, 0)
        return released

    # What the monitor announces at an entry

    def recall(self, owed: int) -> Flow[None]:
        """Release ``owed`` pages, or all there are."""
        while len(self.state.free) < owed:
            victim = self._victim()
            if victim is None:
                break
            yield from self.drop(victim)
        owed -= yield from self._release(sorted(self.state.free)[:owed])
        while owed > 0 and self.state.promised:
            extent = self.state.promised[-1]
            yield from self._decline(extent)
            owed -= extent.pages

    def acknowledge_revoked(self) -> Flow[None]:
        """Drop every page that was taken by force, then say so: until then no thread of this world runs."""
        cursor = 0
        while True:
            base, pages, cursor, *_ = yield from succeed(MEM_NEXT_REVOKED, cursor)
            if pages:
                yield from self._forget(Extent(base, pages))
                yield from over_extent(MEM_ACK_REVOKED, base, pages)
            if not cursor:
                return

    # Inside

    def _grow(self, pages: int) -> Flow[None]:
        yield from self._lock((yield from self.promise(pages)))

    def _lock(self, extent: Extent) -> Flow[None]:
        """Window by window into the free pages: from here on nobody else can reach them."""
        self.state.promised.remove(extent)
        base = extent.base
        while base < extent.end:
            try:
                done, *_ = yield from succeed(MEM_LOCK, base, (extent.end - base) // PAGE_SIZE)
            except CallFailed:
                raise Refused(ServiceStatus.BAD_GRANT, base) from None
            self.state.free.update(Extent(base, done).frames())
            self.state.locked += done
            base += done * PAGE_SIZE

    def _attach(self, region: Region, frames: list[int]) -> Flow[None]:
        """Move free pages behind ``region``."""
        first = len(region.frames)
        self.state.free.difference_update(frames)
        region.frames.extend(frames)
        yield from self._mapping.map(region.va + first * PAGE_SIZE, frames)
        yield from self._device.attached(region, first, frames)

    def _victim(self) -> Region | None:
        """The region to drop next: weights from the tail forward, then KV, then activations."""
        backed = [region for region in self.state.regions if region.frames]
        lowest = min((region.kind for region in backed), default=None)
        return next((region for region in reversed(backed) if region.kind == lowest), None)

    def _release(self, frames: list[int]) -> Flow[int]:
        for extent in extents(frames):
            self.state.free.difference_update(extent.frames())
            yield from over_extent(MEM_RELEASE, extent.base, extent.pages)
        return len(frames)

    def _decline(self, extent: Extent) -> Flow[None]:
        self.state.promised.remove(extent)
        yield from over_extent(MEM_RELEASE, extent.base, extent.pages)

    def _forget(self, revoked: Extent) -> Flow[None]:
        gone = set(revoked.frames())
        for region in self.state.regions:
            if not gone.isdisjoint(region.frames):
                yield from self.drop(region)
        self.state.free -= gone

    def may_share(self, extent: Extent) -> bool:
        """Whether ``extent`` is normal DRAM none of which is in the pool, which is so until the first grant."""
        return self._grantable(extent) and not extent.base % PAGE_SIZE and not self.state.locked

    def _grantable(self, extent: Extent) -> bool:
        """Normal DRAM, and not the memory through which the worlds talk."""
        inside = self._normal.base <= extent.base and extent.end <= self._normal.end
        return inside and not (self.shared and self.shared.overlaps(extent))


def extents(frames: Iterable[int]) -> list[Extent]:
    """Sorted page addresses as runs of adjacent pages."""
    found: list[Extent] = []
    for frame in frames:
        if found and found[-1].end == frame:
            found[-1] = Extent(found[-1].base, found[-1].pages + 1)
        else:
            found.append(Extent(frame, 1))
    return found
