"""The pool undisturbed: what it grants itself, what it gives back in which order, and what its tables say.

What others do between its steps is test_under_fire.py's.
"""

from __future__ import annotations

import itertools

import pytest

from emulator.gate import Flow, Registers
from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import MEM_ALLOCATE, PAGES_PER_CALL, SCAN_PAGES, PageState, Status
from monitor.services.messages import Request, ServiceStatus
from sworld.errors import Refused
from sworld.extent import Extent
from sworld.mapping import POOL_WINDOW, Mapping
from sworld.ranges import Ranges
from sworld.region import Kind, Region

from .fire.bench import NORMAL, Bench
from .fire.core import GATE_TABLES, HEAP
from .fire.normal import FREE, pages_in, reclaim_released


def backed(bench: Bench, kind: Kind, name: str, pages: int) -> Region:
    region = bench.pool.reserve(kind, name, pages * PAGE_SIZE)
    bench.drive(bench.pool.back(region, pages))
    region.ready = True
    return region


def consistent(bench: Bench) -> None:
    """Between two flows: every page is free or behind one region, and mapped there."""
    state = bench.pool.state
    held = [frame for region in state.regions for frame in region.frames] + sorted(state.free)
    assert sorted(held) == sorted({*pages_in(bench, PageState.LOCKED), *bench.monitor.revoked})
    assert sorted(page for grant in state.grants for page in grant.extent.frames()) == pages_in(
        bench, PageState.ALLOCATED
    )
    expected = {
        region.va + index * PAGE_SIZE: frame for region in state.regions for index, frame in enumerate(region.frames)
    }
    assert bench.translation.mapped() == expected


def test_recall_takes_free_pages_then_tail_weights_then_cache_then_activations() -> None:
    bench = Bench()
    layers = [backed(bench, Kind.WEIGHTS, f"layer {index}", 10) for index in range(3)]
    cache = backed(bench, Kind.KV, "kv", 4)
    workspace = backed(bench, Kind.ACTIVATIONS, "workspace", 2)
    spare = backed(bench, Kind.WEIGHTS, "spare", 3)
    bench.drive(bench.pool.discard(spare))

    def left_after(owed: int) -> list[str]:
        bench.drive(bench.pool.recall(owed))
        consistent(bench)
        return [region.name for region in (*layers, cache, workspace) if region.ready]

    assert left_after(3) == ["layer 0", "layer 1", "layer 2", "kv", "workspace"]
    assert left_after(1) == ["layer 0", "layer 1", "kv", "workspace"]
    assert left_after(9) == ["layer 0", "layer 1", "kv", "workspace"]
    assert left_after(20) == ["kv", "workspace"]
    assert bench.pool.state.losses == 0
    assert left_after(4) == ["workspace"]
    assert left_after(2) == []
    assert bench.pool.state.losses == 2
    assert len(pages_in(bench, PageState.RELEASED)) == 39


@pytest.mark.parametrize("owed", [1, 7, 64, 65, 130, 200])
def test_recall_gives_exactly_what_is_owed_until_the_pool_is_empty(owed: int) -> None:
    bench = Bench()
    backed(bench, Kind.WEIGHTS, "weights", 130)
    bench.drive(bench.pool.recall(owed))
    assert len(pages_in(bench, PageState.RELEASED)) == min(owed, 130)
    assert len(pages_in(bench, PageState.LOCKED)) == 130 - min(owed, 130)
    consistent(bench)


def test_grants_are_declined_last_and_their_load_starts_again() -> None:
    bench = Bench()
    region = bench.pool.reserve(Kind.WEIGHTS, "weights", 3 * PAGE_SIZE)
    first = bench.drive(bench.pool.promise(3))
    bench.drive(bench.pool.recall(100))
    consistent(bench)
    assert pages_in(bench, PageState.ALLOCATED) == []
    bench.drive(bench.pool.keep(first, region, region.generation))
    assert region.frames == []
    again = bench.drive(bench.pool.promise(3))
    bench.drive(bench.pool.keep(again, region, region.generation))
    assert len(region.frames) == 3
    consistent(bench)


def test_revoked_page_takes_its_region_with_it() -> None:
    bench = Bench()
    region = backed(bench, Kind.KV, "kv", 5)
    other = backed(bench, Kind.WEIGHTS, "weights", 5)
    bench.force(region.frames[2])
    bench.drive(bench.pool.acknowledge_revoked())
    assert not region.ready and other.ready
    assert not bench.monitor.revoked
    assert len(bench.pool.state.free) == 4
    assert bench.pool.state.forced == 1
    consistent(bench)


def test_revoked_pages_are_found_wherever_they_are() -> None:
    """Further apart than one scan looks, and more in a row than one call acknowledges."""
    bench = Bench()
    runs = {FREE: 3, FREE + (SCAN_PAGES + 7) * PAGE_SIZE: PAGES_PER_CALL + 2, NORMAL.end - PAGE_SIZE: 1}
    for base, pages in runs.items():
        promise(bench, base, pages)
        backed(bench, Kind.WEIGHTS, f"at {base:#x}", pages)
    for base, pages in list(runs.items())[1:]:
        for page in range(base, base + pages * PAGE_SIZE, PAGE_SIZE):
            bench.force(page)
    bench.drive(bench.pool.acknowledge_revoked())
    assert not bench.monitor.revoked
    assert [region.ready for region in bench.pool.state.regions] == [True, False, False]
    consistent(bench)


OWED = 3


@pytest.mark.parametrize("forced", [1, OWED, OWED + 1, 9])
def test_recall_gives_no_more_than_is_left_to_pay(forced: int) -> None:
    """Pages are taken by force behind any of its steps: that pays as well, and may pay for more than it was for."""
    for gap in range(_steps_of_recall()):
        bench = _pool_to_recall()
        released: list[int] = []

        def take(number: int, bench: Bench = bench, gap: int = gap, released: list[int] = released) -> None:
            if number == gap:
                released += pages_in(bench, PageState.RELEASED)
                for page in pages_in(bench, PageState.LOCKED)[-forced:]:
                    bench.force(page)
                bench.drive(bench.pool.acknowledge_revoked())

        bench.drive(bench.pool.recall(OWED), take)
        found = pages_in(bench, PageState.RELEASED)
        assert len(found) == max(OWED - forced, len(released)), f"behind step {gap}"
        consistent(bench)


def _pool_to_recall() -> Bench:
    """Two free pages, and two regions."""
    bench = Bench()
    for name in ("first", "second"):
        backed(bench, Kind.WEIGHTS, name, 5)
    bench.drive(bench.pool.discard(backed(bench, Kind.WEIGHTS, "spare", 2)))
    return bench


def _steps_of_recall() -> int:
    bench = _pool_to_recall()
    steps: list[int] = []
    bench.drive(bench.pool.recall(OWED), steps.append)
    return len(steps)


@pytest.mark.parametrize("lost", [0, PAGES_PER_CALL - 1, PAGES_PER_CALL])
def test_grant_that_loses_a_page_is_behind_no_region(lost: int) -> None:
    """Its blocks lie in it in order: with a hole in it, all behind that would be in wrong places."""
    pages, when = 2 * PAGES_PER_CALL + 2, set()
    frames = list(Extent(FREE, pages).frames())
    for gap in range(pages):
        bench = Bench()
        promise(bench, FREE, pages)
        region = bench.pool.reserve(Kind.WEIGHTS, "weights", pages * PAGE_SIZE)
        grant = bench.drive(bench.pool.promise(pages))

        def take(number: int, bench: Bench = bench, gap: int = gap) -> None:
            if number == gap and bench.monitor.page_state(frames[lost]) is PageState.LOCKED:
                when.add(gap)
                bench.force(frames[lost])
                bench.drive(bench.pool.acknowledge_revoked())

        bench.drive(bench.pool.keep(grant, region, region.generation), take)
        assert region.frames == ([] if gap in when else frames), f"behind step {gap}"
        consistent(bench)
    assert len(when) > 2


def test_recall_pays_nothing_by_what_was_taken_before_it() -> None:
    bench = Bench()
    region = backed(bench, Kind.KV, "kv", 5)
    bench.force(region.frames[2])
    bench.drive(bench.pool.acknowledge_revoked())
    bench.drive(bench.pool.recall(3))
    assert len(pages_in(bench, PageState.RELEASED)) == 3


def test_every_run_that_was_taken_is_acknowledged_and_may_be_granted_again() -> None:
    bench = Bench()
    region = backed(bench, Kind.KV, "kv", 5)
    frames = list(region.frames)
    for index in (0, 2, 4):
        bench.force(frames[index])
    bench.drive(bench.pool.acknowledge_revoked())
    assert not bench.monitor.revoked
    bench.drive(bench.pool.back(region, 5))
    assert sorted(region.frames) == frames
    consistent(bench)


def test_release_that_is_cut_by_force_counts_all_that_it_has_released() -> None:
    """More than a window, of which a page is taken behind the first one: what is told and owed goes by this count."""
    pages = PAGES_PER_CALL + 6
    bench = Bench()
    promise(bench, FREE, pages)
    bench.drive(bench.pool.drop(backed(bench, Kind.WEIGHTS, "weights", pages)))

    def take(_: int) -> None:
        if not bench.monitor.revoked and bench.pool.state.forced == 0 and pages_in(bench, PageState.RELEASED):
            bench.force(FREE + (PAGES_PER_CALL + 2) * PAGE_SIZE)
            bench.drive(bench.pool.acknowledge_revoked())

    bench.pool._rpc = bench.rpc
    assert bench.drive(bench.pool.give_back(), take) == pages - 1
    assert bench.pool.state.forced == 1
    consistent(bench)


@pytest.mark.parametrize("taken", [(0,), (0, 1, 4), (0, 2, 4)], ids=["one", "two runs", "three runs"])
def test_revocation_above_a_revocation_serves_every_page_once(taken: tuple[int, ...]) -> None:
    """An entry that serves revocations is interrupted like any other flow; the next entry serves them above it."""
    steps: list[int] = []
    bench = _with_revoked(taken)
    bench.drive(bench.pool.acknowledge_revoked(), steps.append)
    for gap in steps:
        bench = _with_revoked(taken)

        def above(number: int, bench: Bench = bench, gap: int = gap) -> None:
            if number == gap:
                bench.drive(bench.pool.acknowledge_revoked())

        bench.drive(bench.pool.acknowledge_revoked(), above)
        assert bench.pool.state.forced == len(taken), f"behind step {gap}"
        assert not bench.monitor.revoked
        consistent(bench)


def _with_revoked(taken: tuple[int, ...]) -> Bench:
    """Pages of a region were taken, and the secure world is to hear of it."""
    bench = Bench()
    frames = list(backed(bench, Kind.WEIGHTS, "weights", 5).frames)
    for index in taken:
        bench.force(frames[index])
    return bench


@pytest.mark.parametrize("pages", [3, 32, 33, 600])
def test_dropped_pages_are_reached_neither_by_the_tables_nor_by_the_tlb(pages: int) -> None:
    bench = Bench()
    region = backed(bench, Kind.KV, "kv", pages)
    other = backed(bench, Kind.KV, "other", 1)
    for index in range(pages):
        bench.translation.page(region.va + index * PAGE_SIZE)
    assert len(bench.translation.tlb) == pages
    bench.drive(bench.pool.drop(region))
    assert bench.translation.tlb == {}
    assert bench.translation.mapped() == {other.va: other.frames[0]}


def test_flex_mem_is_mapped_non_secure_and_never_executable() -> None:
    bench = Bench()
    region = backed(bench, Kind.WEIGHTS, "weights", 3)
    for index in range(3):
        entry = bench.translation.walk(region.va + index * PAGE_SIZE)
        assert entry >> 5 & 1, "NS"
        assert entry >> 53 & 3 == 3, "PXN, UXN"
        assert entry >> 6 & 3 == 0, "EL1 only, read-write"


def test_out_of_memory_says_how_many_pages_are_missing() -> None:
    bench = Bench(limit=6)
    region = bench.pool.reserve(Kind.WEIGHTS, "weights", 10 * PAGE_SIZE)
    with pytest.raises(Refused) as refused:
        bench.drive(bench.pool.back(region, 10))
    assert (refused.value.status, refused.value.detail) == (ServiceStatus.OUT_OF_MEMORY, 4)
    consistent(bench)


def test_region_that_no_memory_could_back_is_refused() -> None:
    bench = Bench()
    with pytest.raises(Refused) as refused:
        bench.pool.reserve(Kind.WEIGHTS, "weights", (NORMAL.pages + 1) * PAGE_SIZE)
    assert refused.value.status is ServiceStatus.OUT_OF_MEMORY
    assert bench.pool.state.regions == []


def test_out_of_virtual_addresses_is_refused_and_they_come_back() -> None:
    bench = Bench()
    bench.pool._addresses = Ranges(POOL_WINDOW, POOL_WINDOW + 3 * (NORMAL.pages + 1) * PAGE_SIZE)
    regions = [bench.pool.reserve(Kind.WEIGHTS, "large", NORMAL.pages * PAGE_SIZE) for _ in range(3)]
    with pytest.raises(Refused) as refused:
        bench.pool.reserve(Kind.WEIGHTS, "large", NORMAL.pages * PAGE_SIZE)
    assert refused.value.status is ServiceStatus.OUT_OF_MEMORY
    bench.drive(bench.pool.discard(regions[1]))
    assert bench.pool.reserve(Kind.WEIGHTS, "large", NORMAL.pages * PAGE_SIZE).va == regions[1].va


def test_behind_each_region_is_a_page_that_is_nobodys() -> None:
    """Also where one has taken the addresses of another: an access past its end is an exception."""
    bench = Bench()
    regions = [bench.pool.reserve(Kind.WEIGHTS, "adjoining", 2 * PAGE_SIZE) for _ in range(3)]
    bench.drive(bench.pool.discard(regions.pop(1)))
    regions.append(bench.pool.reserve(Kind.WEIGHTS, "between", 2 * PAGE_SIZE))
    starts = sorted(region.va for region in regions)
    assert [after - before for before, after in itertools.pairwise(starts)] == [3 * PAGE_SIZE] * 2


def test_out_of_tables_is_refused_and_leaves_nothing_behind() -> None:
    bench = Bench()
    bench.pool._mapping = Mapping(GATE_TABLES, HEAP, HEAP + PAGE_SIZE)
    region = bench.pool.reserve(Kind.WEIGHTS, "weights", 2 * PAGE_SIZE)
    with pytest.raises(Refused) as refused:
        bench.drive(bench.pool.back(region, 2))
    assert refused.value.status is ServiceStatus.OUT_OF_TABLES
    bench.drive(bench.pool.clear())
    assert bench.pool.state.regions == [] and not bench.pool.state.free
    consistent(bench)


def test_regions_that_come_and_go_use_the_same_addresses_and_tables() -> None:
    """A refused OPEN costs nothing that lasts: neither virtual addresses nor page tables are used up."""
    bench = Bench()
    places, tables = set(), set()
    for turn in range(50):
        region = backed(bench, Kind.WEIGHTS, "package metadata", 1 + turn % 7)
        places.add(region.va)
        bench.drive(bench.pool.discard(region))
        bench.drive(bench.pool.give_back())
        reclaim_released(bench)
        tables.add(bench.mapping.state.next)
    assert len(places) == len(tables) == 1


@pytest.mark.parametrize(
    ("base", "pages"),
    [
        (FREE + 1, 1),
        (DRAM_BASE - PAGE_SIZE, 1),
        (NORMAL.end - PAGE_SIZE, 2),
        (FREE, 9),
        (FREE + 6 * PAGE_SIZE, 9),  # more than asked for
        (2**64 - PAGE_SIZE, 1),
        (2**64 - PAGE_SIZE, 2),
        (FREE, 2**64 - 1),
        (FREE + 4 * PAGE_SIZE, 1),
        (FREE + 3 * PAGE_SIZE, 2),
    ],
)
def test_grant_outside_normal_memory_or_over_shared_memory_is_refused(base: int, pages: int) -> None:
    bench = Bench()
    bench.pool.shared = Extent(FREE + 4 * PAGE_SIZE, 2)
    bench.pool._rpc = lambda *_: bench_reply(base, pages)
    with pytest.raises(Refused) as refused:
        bench.drive(bench.pool.promise(8))
    assert refused.value.status is ServiceStatus.BAD_GRANT
    assert bench.pool.state.grants == []


@pytest.mark.parametrize(
    "extent",
    [
        Extent(2**64 - PAGE_SIZE, 1), Extent(2**64 - PAGE_SIZE, 2), Extent(FREE, (2**64 - FREE) // PAGE_SIZE),
        Extent(FREE, 2**52), Extent(FREE, 2**52 + 1), Extent(2**64 + FREE, 1), Extent(FREE, 2**64 - 1),
    ],
    ids=lambda extent: f"{extent.base:#x}, {extent.pages:#x}",
)  # fmt: skip
def test_what_wraps_is_neither_shared_nor_taken_for_a_grant(extent: Extent) -> None:
    bench = Bench()
    assert bench.pool.may_share(Extent(FREE, 1))
    assert not bench.pool.may_share(extent)
    bench.pool._rpc = lambda *_: bench_reply(extent.base, extent.pages)
    with pytest.raises(Refused) as refused:
        bench.drive(bench.pool.promise(2**64))
    assert refused.value.status is ServiceStatus.BAD_GRANT


def promise(bench: Bench, base: int, pages: int) -> None:
    """What the normal world will grant next."""
    for first in range(0, pages, PAGES_PER_CALL):
        assert bench.smc(MEM_ALLOCATE.function, base + first * PAGE_SIZE, pages - first)[0] == Status.SUCCESS
    bench.pool._rpc = lambda *_: bench_reply(base, pages)


def bench_reply(base: int, pages: int) -> Flow[Registers]:
    yield from ()
    return (0, base, pages, 0)


@pytest.mark.parametrize("where", ["region", "free", "grant"])
def test_grant_of_what_is_held_already_is_refused(where: str) -> None:
    """The confused deputy: a page of its own, given for a grant, would be declined, released, lost."""
    bench = Bench()
    region = backed(bench, Kind.KV, "kv", 3)
    spare = backed(bench, Kind.WEIGHTS, "spare", 2)
    bench.drive(bench.pool.drop(spare))
    grant = bench.drive(bench.pool.promise(2))
    page = {"region": region.frames[1], "free": min(bench.pool.state.free), "grant": grant.extent.base}[where]
    before = dict(bench.monitor.state)
    bench.pool._rpc = lambda *_: bench_reply(page, 1)
    with pytest.raises(Refused) as refused:
        bench.drive(bench.pool.promise(8))
    assert (refused.value.status, refused.value.detail) == (ServiceStatus.BAD_GRANT, page)
    assert bench.monitor.state == before


def test_grant_that_was_never_allocated_is_neither_locked_nor_said_to_be_declined() -> None:
    bench = Bench()
    bench.pool._rpc = lambda *_: bench_reply(FREE, 2)
    grant = bench.drive(bench.pool.promise(2))
    bench.pool._rpc = bench.rpc
    bench.drive(bench.pool.decline(grant))
    assert bench.normal.served == []
    consistent(bench)


def test_what_was_released_may_be_granted_again() -> None:
    bench = Bench()
    region = backed(bench, Kind.WEIGHTS, "weights", 3)
    frames = list(region.frames)
    bench.drive(bench.pool.discard(region))
    assert bench.drive(bench.pool.give_back()) == 3
    reclaim_released(bench)
    assert backed(bench, Kind.KV, "kv", 3).frames == frames


def test_normal_world_hears_of_what_it_has_back() -> None:
    """Pages that were declined, and those that were released without being asked for; not of nothing."""
    bench = Bench()
    assert bench.drive(bench.pool.give_back()) == 0
    assert bench.normal.served == []
    bench.drive(bench.pool.decline(bench.drive(bench.pool.promise(2))))
    assert bench.normal.served == [Request.ALLOCATE_PAGES, Request.FREE_PAGES]
    bench.drive(bench.pool.discard(backed(bench, Kind.KV, "kv", 2)))
    assert bench.drive(bench.pool.give_back()) == 2
    assert bench.normal.served[2:] == [Request.ALLOCATE_PAGES, Request.FREE_PAGES]


def test_grant_of_several_windows_is_locked_window_by_window() -> None:
    bench = Bench()
    pages = 2 * PAGES_PER_CALL + 2
    for first in range(0, pages, PAGES_PER_CALL):
        base = FREE + first * PAGE_SIZE
        bench.smc(MEM_ALLOCATE.function, base, min(PAGES_PER_CALL, pages - first))
    region = bench.pool.reserve(Kind.WEIGHTS, "weights", pages * PAGE_SIZE)
    bench.pool._rpc = lambda *_: bench_reply(FREE, pages)
    bench.drive(bench.pool.back(region, pages))
    assert region.frames == [FREE + index * PAGE_SIZE for index in range(pages)]
    consistent(bench)


def test_shared_memory_is_whole_pages_of_normal_memory_before_the_first_grant() -> None:
    bench = Bench()
    may_share = bench.pool.may_share
    assert may_share(Extent(FREE, 2))
    assert not may_share(Extent(FREE + 8, 2))
    assert not may_share(Extent(NORMAL.end - PAGE_SIZE, 2))
    bench.drive(bench.pool.promise(2))
    assert not may_share(Extent(FREE + PAGE_SIZE, 2))
    assert may_share(Extent(FREE + 2 * PAGE_SIZE, 2))
    backed(bench, Kind.KV, "kv", 1)
    assert not may_share(Extent(FREE + 8 * PAGE_SIZE, 2))


def test_grant_that_cannot_be_locked_leaves_the_pool() -> None:
    bench = Bench()
    region = bench.pool.reserve(Kind.KV, "kv", 2 * PAGE_SIZE)
    bench.pool._rpc = lambda *_: bench_reply(FREE, 2)
    with pytest.raises(Refused) as refused:
        bench.drive(bench.pool.back(region, 2))
    assert (refused.value.status, refused.value.detail) == (ServiceStatus.BAD_GRANT, FREE)
    assert bench.pool.state.grants == []
