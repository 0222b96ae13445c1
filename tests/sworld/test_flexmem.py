"""The pool against a slow monitor: what it gives back, and that every page is in exactly one place at any entry."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from emulator.gate import Flow, Registers
from emulator.memory_map import PAGE_SIZE
from monitor.services.messages import Request, ServiceStatus
from sworld.errors import Refused
from sworld.flexmem import Extent, Kind, Pool, Region
from sworld.mapping import Mapping

from .monitor_model import FREE_PAGES, ROOT, TABLE_ADDRESS, MonitorModel

NORMAL = Extent(FREE_PAGES.start, len(FREE_PAGES))


def make(limit: int = len(FREE_PAGES)) -> tuple[MonitorModel, Pool]:
    monitor = MonitorModel(limit=limit)
    return monitor, Pool(Mapping(ROOT, ROOT + PAGE_SIZE, ROOT + 0x40_0000), monitor.rpc, NORMAL)


def backed(pool: Pool, monitor: MonitorModel, kind: Kind, name: str, pages: int) -> Region:
    region = pool.reserve(kind, name, pages * PAGE_SIZE)
    monitor.drive(pool.back(region, pages))
    region.ready = True
    return region


def consistent(monitor: MonitorModel, pool: Pool) -> None:
    held = sorted([frame for region in pool.state.regions for frame in region.frames] + sorted(pool.state.free))
    assert held == sorted(monitor.pages("LOCKED") | monitor.revoked)
    promised = [frame for extent in pool.state.promised for frame in extent.frames()]
    assert sorted(promised) == sorted(monitor.pages("ALLOCATED"))
    expected = {
        region.va + index * PAGE_SIZE: frame
        for region in pool.state.regions
        for index, frame in enumerate(region.frames)
    }
    assert {va: entry & TABLE_ADDRESS for va, entry in monitor.mapped().items()} == expected


def test_recall_takes_free_pages_then_tail_weights_then_cache_then_activations() -> None:
    monitor, pool = make()
    layers = [backed(pool, monitor, Kind.WEIGHTS, f"layer {index}", 10) for index in range(3)]
    cache = backed(pool, monitor, Kind.KV, "kv", 4)
    workspace = backed(pool, monitor, Kind.ACTIVATIONS, "workspace", 2)
    spare = backed(pool, monitor, Kind.WEIGHTS, "spare", 3)
    monitor.drive(pool.discard(spare))

    def left_after(owed: int) -> list[str]:
        monitor.drive(pool.recall(owed))
        consistent(monitor, pool)
        return [region.name for region in (*layers, cache, workspace) if region.ready]

    assert left_after(3) == ["layer 0", "layer 1", "layer 2", "kv", "workspace"]
    assert left_after(1) == ["layer 0", "layer 1", "kv", "workspace"]
    assert left_after(9) == ["layer 0", "layer 1", "kv", "workspace"]
    assert left_after(20) == ["kv", "workspace"]
    assert pool.state.losses == 0
    assert left_after(4) == ["workspace"]
    assert left_after(2) == []
    assert pool.state.losses == 2
    assert len(monitor.released) == 39


@pytest.mark.parametrize("owed", [1, 7, 64, 65, 130, 200])
def test_recall_gives_exactly_what_is_owed_until_the_pool_is_empty(owed: int) -> None:
    monitor, pool = make()
    backed(pool, monitor, Kind.WEIGHTS, "weights", 130)
    monitor.drive(pool.recall(owed))
    assert len(monitor.released) == min(owed, 130)
    assert len(monitor.pages("LOCKED")) == 130 - min(owed, 130)
    consistent(monitor, pool)


def test_promised_pages_are_declined_last_and_their_load_starts_again() -> None:
    monitor, pool = make()
    region = pool.reserve(Kind.WEIGHTS, "weights", 8 * PAGE_SIZE)
    first = monitor.drive(pool.promise(8))
    monitor.drive(pool.recall(100))
    consistent(monitor, pool)
    assert monitor.pages("ALLOCATED") == set()
    monitor.drive(pool.keep(first, region))
    assert region.frames == []
    again = monitor.drive(pool.promise(8))
    monitor.drive(pool.keep(again, region))
    assert len(region.frames) == 8
    consistent(monitor, pool)


def test_revoked_page_takes_its_region_with_it() -> None:
    monitor, pool = make()
    region = backed(pool, monitor, Kind.KV, "kv", 5)
    other = backed(pool, monitor, Kind.WEIGHTS, "weights", 5)
    monitor.force(region.frames[2])
    monitor.drive(pool.acknowledge_revoked())
    assert not region.ready and other.ready
    assert not monitor.revoked
    assert len(pool.state.free) == 4
    consistent(monitor, pool)


def test_flex_mem_is_mapped_non_secure_and_never_executable() -> None:
    monitor, pool = make()
    backed(pool, monitor, Kind.WEIGHTS, "weights", 3)
    for entry in monitor.mapped().values():
        assert entry >> 5 & 1, "NS"
        assert entry >> 53 & 3 == 3, "PXN, UXN"
        assert entry >> 6 & 3 == 0, "EL1 only, read-write"


def test_out_of_memory_says_how_many_pages_are_missing() -> None:
    monitor, pool = make(limit=6)
    region = pool.reserve(Kind.WEIGHTS, "weights", 10 * PAGE_SIZE)
    with pytest.raises(Refused) as refused:
        monitor.drive(pool.back(region, 10))
    assert (refused.value.status, refused.value.detail) == (ServiceStatus.OUT_OF_MEMORY, 4)
    consistent(monitor, pool)


@pytest.mark.parametrize(
    ("base", "pages"),
    [
        (FREE_PAGES.start + 1, 1),
        (FREE_PAGES.start - PAGE_SIZE, 1),
        (FREE_PAGES.stop - PAGE_SIZE, 2),
        (FREE_PAGES.start, 9),
        (2**64 - PAGE_SIZE, 2),
        (FREE_PAGES.start + 4 * PAGE_SIZE, 1),
    ],
)
def test_grant_outside_normal_memory_or_over_shared_memory_is_refused(base: int, pages: int) -> None:
    def rpc(*_: int) -> Flow[Registers]:
        yield from ()
        return (0, base, pages, 0)

    pool = Pool(Mapping(ROOT, ROOT + PAGE_SIZE, ROOT + 0x40_0000), rpc, NORMAL)
    pool.shared = Extent(FREE_PAGES.start + 4 * PAGE_SIZE, 2)
    with pytest.raises(Refused) as refused:
        MonitorModel().drive(pool.promise(8))
    assert refused.value.status is ServiceStatus.BAD_GRANT
    assert pool.state.promised == []


class PoolUnderFire(RuleBasedStateMachine):
    """Regions come and go while recalls hit at requests and between them, and pages are taken by force."""

    def __init__(self) -> None:
        super().__init__()
        self.monitor = MonitorModel(limit=60)
        self.pool = Pool(Mapping(ROOT, ROOT + PAGE_SIZE, ROOT + 0x40_0000), self.rpc, NORMAL)
        self.pending = 0

    def rpc(self, request: Request, *arguments: int) -> Flow[Registers]:
        """The normal world serves the request, and may recall pages before it resumes the thread."""
        reply = yield from self.monitor.rpc(request, *arguments)
        owed, self.pending = self.pending, 0
        yield from self.monitor.within(self.pool.recall(owed))
        self.monitor.reclaim()
        return reply

    @rule(kind=st.sampled_from(Kind), pages=st.integers(1, 20))
    def add(self, kind: Kind, pages: int) -> None:
        region = self.pool.reserve(kind, "region", pages * PAGE_SIZE)
        with contextlib.suppress(Refused):
            self.monitor.drive(self.pool.back(region, pages))
            region.ready = True

    @rule(pages=st.integers(1, 20))
    def load(self, pages: int) -> None:
        region = self.pool.reserve(Kind.WEIGHTS, "loaded", pages * PAGE_SIZE)
        try:
            extent = self.monitor.drive(self.pool.promise(pages))
        except Refused:
            return
        consistent(self.monitor, self.pool)
        self.monitor.drive(self.rpc(Request.LOAD_BLOCKS, 0, extent.base, extent.pages))
        self.monitor.drive(self.pool.keep(extent, region))

    @rule(pages=st.integers(1, 70))
    def recall_at_next_request(self, pages: int) -> None:
        self.pending = pages

    @rule(pages=st.integers(1, 70))
    def recall(self, pages: int) -> None:
        self.monitor.drive(self.pool.recall(pages))
        self.monitor.reclaim()

    @rule()
    def give_back(self) -> None:
        self.monitor.drive(self.pool.give_back())

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        if self.pool.state.regions:
            self.monitor.drive(self.pool.discard(data.draw(st.sampled_from(self.pool.state.regions))))

    @rule(data=st.data())
    def force(self, data: st.DataObject) -> None:
        locked = sorted(self.monitor.pages("LOCKED"))
        for page in data.draw(st.lists(st.sampled_from(locked), unique=True, max_size=5)) if locked else []:
            self.monitor.force(page)
        self.monitor.drive(self.pool.acknowledge_revoked())

    @invariant()
    def every_page_is_in_one_place(self) -> None:
        consistent(self.monitor, self.pool)

    @invariant()
    def what_is_ready_is_all_there(self) -> None:
        assert all(len(region.frames) == region.pages for region in self.pool.state.regions if region.ready)


TestPoolUnderFire = PoolUnderFire.TestCase
TestPoolUnderFire.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
