"""The secure world's pool of Flex-Mem: which locked page backs which virtual page, how it grows, what it gives back.

The rule that everything here keeps: whenever a flow is suspended, and an interrupt may suspend it at any action, every
page that this world has or was promised is in exactly one list: free, behind one region, leaving one, being released,
or in a grant. The normal world runs meanwhile and may take pages by force; what was taken is dropped from its list
before any flow goes on, and whoever goes on looks at the list again, or compares the generation of its region.

A recall takes free pages first, then weights from the tail layers forward, then the KV cache, then activations, then
grants; so it is short only when the pool is empty. A region that loses a page loses its contents: weights come back
from storage, KV entries are computed again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emulator.gate import Flow, Registers
from emulator.memory_map import PAGE_SIZE
from monitor.abi import MEM_ACK_REVOKED, MEM_DECLINE, MEM_LOCK, MEM_NEXT_REVOKED, MEM_RELEASE, Status
from monitor.services.calls import CallFailed, invoke, succeed
from monitor.services.messages import Request

from .errors import Refused, ServiceStatus
from .extent import Extent, extents
from .mapping import POOL_WINDOW, WINDOW_END, Mapping
from .ranges import Ranges
from .region import Device, DeviceAccess, Kind, NoDevice, Region

Rpc = Callable[..., Flow[Registers]]


@dataclass(eq=False)
class Grant:
    """An extent that the normal world has promised. ``locked``: its first pages, so many, are LOCKED; ``taken`` are not
    ours any more. ``declined``: what was not locked is the normal world's again, by our word.
    """

    extent: Extent
    locked: int = 0
    taken: set[int] = field(default_factory=set)
    declined: bool = False

    @property
    def unlocked(self) -> Extent:
        return self.extent.behind(self.locked)

    def ours(self) -> list[int]:
        return [frame for frame in self.extent.first(self.locked).frames() if frame not in self.taken]


@dataclass
class PoolState:
    """All of the pool, in plain data: ``regions`` in layer order, ``locked`` pages since boot.

    ``losses`` counts how often cache or activations went away, ``moves`` how often anything did, ``forced`` the pages
    taken by force.
    """

    regions: list[Region] = field(default_factory=list)
    free: set[int] = field(default_factory=set)
    releasing: set[int] = field(default_factory=set)
    grants: list[Grant] = field(default_factory=list)
    locked: int = 0
    losses: int = 0
    moves: int = 0
    forced: int = 0


class Pool:
    """``normal`` is the DRAM that the normal world may grant from; ``rpc`` asks it; ``device`` sees regions too."""

    def __init__(self, mapping: Mapping, rpc: Rpc, normal: Extent, device: Device | None = None) -> None:
        self.state = PoolState()
        self.shared: Extent | None = None
        self._mapping = mapping
        self._addresses = Ranges(POOL_WINDOW, WINDOW_END)
        self._rpc = rpc
        self._normal = normal
        self._known = bytearray(normal.pages)  # a byte for each page: whether it is in one of the lists
        self._device = device or NoDevice()

    # Regions

    def reserve(self, kind: Kind, name: str, size: int, device: DeviceAccess = DeviceAccess.NONE) -> Region:
        """Virtual pages for ``size`` bytes, with nothing behind them yet. Raises Refused."""
        pages = -(-size // PAGE_SIZE)
        if pages > self._normal.pages:
            raise Refused(ServiceStatus.OUT_OF_MEMORY, pages)
        va = self._addresses.allocate(pages + 1)  # an unmapped page between any two regions
        if va is None:
            raise Refused(ServiceStatus.OUT_OF_MEMORY, pages)
        region = Region(kind, name, va, pages, device)
        self.state.regions.append(region)
        return region

    def back(self, region: Region, pages: int) -> Flow[None]:
        """Put locked pages behind the first ``pages`` of ``region``. Recalls can come in between. Raises Refused."""
        assert pages <= region.pages, "what lies behind a region's own addresses is not its"
        while (missing := pages - len(region.frames)) > 0:
            if self.state.free:
                yield from self._attach(region, self._take_free(missing))
            else:
                grant = yield from self.promise(missing)
                yield from self._lock(grant)
                self._free(grant)

    def drop(self, region: Region) -> Flow[None]:
        """Forget what ``region`` holds; its pages are free."""
        region.ready = False
        if region.frames:
            region.leaving, region.frames = region.frames, []
            region.generation += 1
            self.state.losses += region.kind is not Kind.WEIGHTS
            self.state.moves += 1
        yield from self._vacate(region)

    def discard(self, region: Region) -> Flow[None]:
        """Drop ``region`` for good."""
        yield from self.drop(region)
        self._device.discarded(region)
        self._addresses.free(region.va)
        self.state.regions.remove(region)

    def clear(self) -> Flow[int]:
        """Drop every region for good, and give every page back: how many."""
        while self.state.regions:
            yield from self.discard(self.state.regions[-1])
        return (yield from self.give_back())

    # Loading by DMA: pages stay ALLOCATED, in the normal world's reach, until the ciphertext is in them

    def promise(self, pages: int) -> Flow[Grant]:
        """ALLOCATED pages, at most ``pages``. Raises Refused."""
        _, base, count, _ = yield from self._rpc(Request.ALLOCATE_PAGES, pages)
        if not count:
            raise Refused(ServiceStatus.OUT_OF_MEMORY, pages)
        extent = Extent(base, count)
        if base % PAGE_SIZE or count > pages or not self._grantable(extent):
            raise Refused(ServiceStatus.BAD_GRANT, base)
        grant = Grant(extent)
        self._know(extent)
        self.state.grants.append(grant)
        return grant

    def keep(self, grant: Grant, region: Region, generation: int) -> Flow[None]:
        """Lock a grant behind ``region``, if that is still of ``generation`` and no recall has taken the grant.

        Raises Refused.
        """
        if grant not in self.state.grants or region.generation != generation:
            yield from self.decline(grant)
            return
        yield from self._lock(grant)
        if grant.taken or region.generation != generation:
            self._free(grant)
            return
        self.state.grants.remove(grant)
        yield from self._attach(region, grant.ours())

    def decline(self, grant: Grant) -> Flow[None]:
        """Give up a grant, and say so if it was one."""
        yield from self._give_up(grant)
        if grant.declined:
            yield from self._rpc(Request.FREE_PAGES, grant.extent.base, grant.extent.pages)

    def give_back(self) -> Flow[int]:
        """Release the free pages without being asked. Pages released."""
        released = yield from self._release(sorted(self.state.free))
        if released:
            yield from self._rpc(Request.FREE_PAGES, 0, 0)
        return released

    # What the monitor announces at an entry

    def recall(self, owed: int) -> Flow[None]:
        """Release ``owed`` pages, or all there are. What is taken by force meanwhile is paid as well."""
        end = self.state.forced + owed
        while len(self.state.free) < end - self.state.forced and (victim := self._victim()):
            yield from self.drop(victim)
        end -= yield from self._release(sorted(self.state.free)[: max(0, end - self.state.forced)])
        while end > self.state.forced and self.state.grants:
            grant = self.state.grants[-1]
            end -= grant.extent.pages
            yield from self._give_up(grant)

    def acknowledge_revoked(self) -> Flow[None]:
        """Drop every page that was taken by force, then say so: until then no thread of this world runs.

        This flow can be interrupted as well: then the next one serves all of it above, and this one looks again.
        """
        cursor = 0
        while True:
            base, pages, cursor, *_ = yield from succeed(MEM_NEXT_REVOKED, cursor)
            if pages:
                yield from self._lose(Extent(base, pages))
                status, done, *_ = yield from invoke(MEM_ACK_REVOKED, base, pages)
                if status == Status.WRONG_STATE:
                    cursor = 0
                    continue
                if status != Status.SUCCESS:
                    raise CallFailed(MEM_ACK_REVOKED, (base, pages), status)
                self.state.forced += done
            if not cursor:
                return

    def may_share(self, extent: Extent) -> bool:
        """Whether ``extent`` is normal DRAM none of which is in the pool, which is so until the first grant."""
        return self._grantable(extent) and not extent.base % PAGE_SIZE and not self.state.locked

    # Inside: every function below leaves each page in one list at each of its steps

    def _lock(self, grant: Grant) -> Flow[None]:
        """Window by window: from here on nobody else can reach what is not taken. Raises Refused."""
        while grant.unlocked.pages:
            status, done, *_ = yield from invoke(MEM_LOCK, grant.unlocked.base, grant.unlocked.pages)
            if status != Status.SUCCESS:
                base = grant.unlocked.base
                yield from self._give_up(grant)
                raise Refused(ServiceStatus.BAD_GRANT, base)
            grant.locked += done
            self.state.locked += done

    def _free(self, grant: Grant) -> None:
        """What is locked of ``grant`` is free; the rest is the normal world's own."""
        self._forget(grant.unlocked)
        self.state.free.update(grant.ours())
        self.state.grants.remove(grant)

    def _give_up(self, grant: Grant) -> Flow[None]:
        """What is not locked is declined, unless it is not ALLOCATED: the normal world has lied, or taken it back."""
        if grant not in self.state.grants:
            return
        self._free(grant)
        rest = grant.unlocked
        while rest.pages:
            status, done, *_ = yield from invoke(MEM_DECLINE, rest.base, rest.pages)
            if status != Status.SUCCESS:
                return
            rest = rest.behind(done)
        grant.declined = True

    def _take_free(self, pages: int) -> list[int]:
        taken = heapq.nsmallest(pages, self.state.free)
        self.state.free.difference_update(taken)
        return taken

    def _attach(self, region: Region, frames: list[int]) -> Flow[None]:
        """Pages that are in no list any more are those behind ``region``; it may lose them before they are mapped."""
        first, generation = len(region.frames), region.generation
        region.frames.extend(frames)
        done = 0
        while done < len(frames):
            va = region.va + (first + done) * PAGE_SIZE
            table = yield from self._mapping.table(va)
            if region.generation != generation:
                return
            done += yield from self._mapping.map(table, va, frames[done:])
        if region.generation == generation:
            yield from self._device.attached(region, first, frames)

    def _vacate(self, region: Region) -> Flow[None]:
        """Unmap what is leaving ``region``: then it is free. Two flows may be at it, one above the other."""
        pages = len(region.leaving)
        if pages:
            yield from self._device.dropped(region, pages)
            yield from self._mapping.unmap(region.va, pages)
            self.state.free.update(region.leaving)
            region.leaving = []

    def _victim(self) -> Region | None:
        """The region to drop next: weights from the tail forward, then KV, then activations."""
        backed = [region for region in self.state.regions if region.frames]
        lowest = min((region.kind for region in backed), default=None)
        return next((region for region in reversed(backed) if region.kind == lowest), None)

    def _release(self, frames: Sequence[int]) -> Flow[int]:
        """Free pages, sorted: how many are RELEASED now. What is taken by force meanwhile is not."""
        self.state.free.difference_update(frames)
        self.state.releasing.update(frames)
        released = 0
        for extent in extents(frames):
            released += yield from self._release_run(extent)
        return released

    def _release_run(self, extent: Extent) -> Flow[int]:
        released, rest = 0, extent
        while rest.pages:
            status, done, *_ = yield from invoke(MEM_RELEASE, rest.base, rest.pages)
            if status != Status.SUCCESS:  # some of it was taken before the call was made
                left = [frame for frame in rest.frames() if frame in self.state.releasing]
                if len(left) == rest.pages:
                    raise CallFailed(MEM_RELEASE, (rest.base, rest.pages), status)
                return released + (yield from self._release(left))
            self.state.releasing.difference_update(rest.first(done).frames())
            self._forget(rest.first(done))
            released, rest = released + done, rest.behind(done)
        return released

    def _lose(self, revoked: Extent) -> Flow[None]:
        """Pages that were taken by force leave every list, and no access of this world's reaches them any more."""
        gone = set(revoked.frames())
        for region in self.state.regions:
            if not gone.isdisjoint(region.frames) or not gone.isdisjoint(region.leaving):
                yield from self.drop(region)
        for grant in self.state.grants:
            grant.taken.update(gone.intersection(grant.extent.frames()))
        self.state.free -= gone
        self.state.releasing -= gone
        self._forget(revoked)

    def _grantable(self, extent: Extent) -> bool:
        """Normal DRAM, not the memory through which the worlds talk, and none that this world has already."""
        inside = self._normal.base <= extent.base and extent.end <= self._normal.end
        if not inside or (self.shared and self.shared.overlaps(extent)):
            return False
        first = self._number(extent)
        return not any(self._known[first : first + extent.pages])

    def _know(self, extent: Extent) -> None:
        first = self._number(extent)
        self._known[first : first + extent.pages] = b"\1" * extent.pages

    def _forget(self, extent: Extent) -> None:
        first = self._number(extent)
        self._known[first : first + extent.pages] = bytes(extent.pages)

    def _number(self, extent: Extent) -> int:
        return (extent.base - self._normal.base) // PAGE_SIZE
