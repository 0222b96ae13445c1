"""The pool interrupted: around every step of each of its flows, pages are taken by force and that is acknowledged.

Whatever has been taken when: every page is in one list, none is reached that is not LOCKED, blocks lie where they
belong, and no more is given back than is owed. Here flows run alone; inside a kernel they are test_under_fire.py's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import pytest

from emulator.gate import Flow, Registers, Reply, Smc, Tlbi
from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import (
    FORCE,
    MEM_ALLOCATE,
    MEM_RECALL,
    MEM_RECLAIM,
    MINIMUM_DEADLINE,
    PAGES_PER_CALL,
    SCAN_PAGES,
    PageState,
    Status,
)
from monitor.services.messages import Request, ServiceStatus
from sworld.errors import Refused
from sworld.extent import Extent
from sworld.mapping import ENTRIES
from sworld.region import Kind, Region

from .fire.bench import NORMAL, Bench, Gap
from .fire.normal import FREE, JUNK, pages_in
from .test_flexmem import backed, bench_reply, promise

T = TypeVar("T")

LARGE = PAGES_PER_CALL + 3  # pages: more than one call locks
FRESH = 2 * PAGES_PER_CALL * PAGE_SIZE  # from one grant to the next


# Flows, step by step


def drive(bench: Bench, flow: Flow[T], gap: Gap) -> T:
    """To its end; ``gap`` comes behind each step, and before each whose instruction leaves the kernel's Python."""
    numbers = itertools.count()
    reply: Reply = None
    try:
        while True:
            action = flow.send(reply)
            if isinstance(action, Smc | Tlbi):
                gap(next(numbers))
            reply = bench._perform(action)
            gap(next(numbers))
    except StopIteration as end:
        result: T = end.value
        return result


def force(bench: Bench, pages: Sequence[int]) -> None:
    """Take LOCKED pages that are owed, at the deadline."""
    bench.monitor.now = max(bench.monitor.now, bench.monitor.claim.deadline)
    for page in pages:
        assert bench.smc(MEM_RECLAIM.function, page, 1, FORCE)[0] == Status.SUCCESS


def take(bench: Bench, pages: Sequence[int]) -> None:
    """Ask for so many pages, wait, take these, and let the secure world hear of it."""
    use_everything(bench)
    assert bench.smc(MEM_RECALL.function, len(pages), MINIMUM_DEADLINE)[0] == Status.SUCCESS
    force(bench, pages)
    bench.drive(bench.pool.acknowledge_revoked())


def use_everything(bench: Bench) -> None:
    """The TLB holds all that the tables say."""
    for va in bench.translation.mapped():
        bench.translation.page(va)


def allocate(bench: Bench, base: int, pages: int) -> None:
    for first in range(0, pages, PAGES_PER_CALL):
        assert bench.smc(MEM_ALLOCATE.function, base + first * PAGE_SIZE, pages - first)[0] == Status.SUCCESS


def bench_of_large_grants() -> Bench:
    """The normal world grants all that it is asked for in one extent, of pages that it has never granted before."""
    bench, places = Bench(), itertools.count(FREE, FRESH)

    def rpc(request: int, *arguments: int) -> Flow[Registers]:
        if request != Request.ALLOCATE_PAGES:
            return bench.rpc(request, *arguments)
        base, pages = next(places), arguments[0]
        allocate(bench, base, pages)
        return bench_reply(base, pages)

    bench.pool._rpc = rpc
    return bench


# What must hold


def in_one_list(bench: Bench) -> None:
    """At any step."""
    state = bench.pool.state
    listed = [*state.free, *state.releasing]
    for region in state.regions:
        listed += [*region.frames, *region.leaving]
    for grant in state.grants:
        listed += [page for page in grant.extent.frames() if page not in grant.taken]
    assert len(listed) == len(set(listed)), "a page is in two lists"
    assert set(pages_in(bench, PageState.LOCKED)) <= set(listed), "a LOCKED page is in no list"
    known = [bench.pool._known[(page - DRAM_BASE) // PAGE_SIZE] for page in listed]
    assert sum(known) == len(listed) == bench.pool._known.count(1), "lists and the map of known pages differ"


def settled(bench: Bench) -> None:
    """Between two flows: every LOCKED page is free or behind a region, mapped there, and nothing else is held."""
    in_one_list(bench)
    state = bench.pool.state
    assert not bench.monitor.revoked
    assert not state.releasing and not state.grants
    held = [*state.free, *(frame for region in state.regions for frame in (*region.frames, *region.leaving))]
    assert sorted(held) == pages_in(bench, PageState.LOCKED)
    mapped = bench.translation.mapped()
    assert mapped == {
        region.va + index * PAGE_SIZE: frame for region in state.regions for index, frame in enumerate(region.frames)
    }
    assert bench.translation.tlb.keys() <= mapped.keys(), "the TLB holds what the tables do not"


# A page is taken around a step


@dataclass
class Scene:
    """A flow that has not begun; ``holds`` is asked behind it, with its result and the page that was taken, if any."""

    bench: Bench
    flow: Flow[object]
    holds: Callable[[object, int | None], None]


def over_two_tables(bench: Bench, pages: int) -> tuple[Region, Region]:
    """A pool's first regions: two pages behind one, and one with nothing behind it, whose fifth page needs a table."""
    other = backed(bench, Kind.KV, "other", 2)
    bench.pool.reserve(Kind.ACTIVATIONS, "between", (ENTRIES - 4 - 3 - 1) * PAGE_SIZE)
    region = bench.pool.reserve(Kind.WEIGHTS, "weights", pages * PAGE_SIZE)
    assert region.va // PAGE_SIZE % ENTRIES == ENTRIES - 4
    return other, region


def loading(bench: Bench, region: Region, pages: int, first: int) -> Flow[object]:
    """A promise, into which blocks from ``first`` on are loaded: to be kept."""
    grant, generation = bench.drive(bench.pool.promise(pages)), region.generation
    for number, page in enumerate(grant.extent.frames(), first):
        bench.memory.write(page, number.to_bytes(8, "little"))
    return bench.pool.keep(grant, region, generation)


def blocks(bench: Bench, region: Region) -> list[int]:
    """Numbers of the blocks that a region holds, as the processor reads them."""
    pages = range(region.va, region.va + len(region.frames) * PAGE_SIZE, PAGE_SIZE)
    return [int.from_bytes(bench._port.read(va, 8), "little") for va in pages]


def keeping() -> Scene:
    """The second of two loads into one region."""
    bench = bench_of_large_grants()
    other, region = over_two_tables(bench, LARGE + 2)
    bench.drive(loading(bench, region, 2, first=0))
    anothers = set(other.frames)

    def holds(_: object, taken: int | None) -> None:
        found = blocks(bench, region)
        assert found == list(range(len(found)))
        whole = taken is None or taken in anothers
        assert len(found) == LARGE + 2 if whole else len(found) in (0, 2)

    return Scene(bench, loading(bench, region, LARGE, first=2), holds)


def keeping_what_was_taken_back() -> Scene:
    """The normal world has one page of the second window back, which it may without asking while it is ALLOCATED."""
    bench = bench_of_large_grants()
    _, region = over_two_tables(bench, LARGE)
    keep = loading(bench, region, LARGE, first=0)
    gone = bench.pool.state.grants[0].extent.base + (PAGES_PER_CALL + 1) * PAGE_SIZE
    assert bench.smc(MEM_RECLAIM.function, gone, 1, 0)[0] == Status.SUCCESS

    def refused() -> Flow[object]:
        with pytest.raises(Refused) as refusal:
            yield from keep
        return refusal.value.status

    def holds(status: object, _: int | None) -> None:
        assert status is ServiceStatus.BAD_GRANT
        assert region.frames == []

    return Scene(bench, refused(), holds)


def backing() -> Scene:
    """By free pages, and by a grant of several windows."""
    bench = bench_of_large_grants()
    _, region = over_two_tables(bench, LARGE + 2)
    bench.drive(bench.pool.discard(backed(bench, Kind.KV, "spare", 2)))

    def holds(_: object, __: int | None) -> None:
        assert len(region.frames) == LARGE + 2, "whoever asks for pages has them"

    return Scene(bench, bench.pool.back(region, LARGE + 2), holds)


def dropping(*, for_good: bool) -> Scene:
    bench = bench_of_large_grants()
    _, region = over_two_tables(bench, 5)
    bench.drive(bench.pool.back(region, 5))
    region.ready = True

    def holds(_: object, __: int | None) -> None:
        assert not region.frames and not region.ready
        assert (region in bench.pool.state.regions) is not for_good

    return Scene(bench, bench.pool.discard(region) if for_good else bench.pool.drop(region), holds)


def giving_back() -> Scene:
    """Free pages in two runs, one of them of several windows."""
    bench = bench_of_large_grants()
    backed(bench, Kind.KV, "other", 2)
    for spare in [backed(bench, Kind.WEIGHTS, "spare", pages) for pages in (LARGE, 2)]:
        bench.drive(bench.pool.discard(spare))
    free = set(bench.pool.state.free)

    def holds(released: object, taken: int | None) -> None:
        assert released == len(free - {taken})
        assert free.isdisjoint(pages_in(bench, PageState.LOCKED))

    return Scene(bench, bench.pool.give_back(), holds)


def clearing() -> Scene:
    bench = bench_of_large_grants()
    regions = [backed(bench, kind, kind.name, 3) for kind in Kind]
    frames = {frame for region in regions for frame in region.frames}

    def holds(released: object, taken: int | None) -> None:
        assert released == len(frames - {taken})
        assert bench.pool.state.regions == [] and not bench.pool._addresses.state.taken

    return Scene(bench, bench.pool.clear(), holds)


SCENES: dict[str, Callable[[], Scene]] = {
    "keep": keeping,
    "keep what was taken back": keeping_what_was_taken_back,
    "back": backing,
    "drop": lambda: dropping(for_good=False),
    "discard": lambda: dropping(for_good=True),
    "give back": giving_back,
    "clear": clearing,
}


def locked_at_each_gap(make: Callable[[], Scene]) -> list[list[int]]:
    """Pages that could be taken, gap by gap, of a flow that nobody disturbs."""
    scene = make()
    found: list[list[int]] = []

    def look(_: int) -> None:
        in_one_list(scene.bench)
        found.append(pages_in(scene.bench, PageState.LOCKED))

    scene.holds(drive(scene.bench, scene.flow, look), None)
    settled(scene.bench)
    return found


@pytest.mark.parametrize("again", [False, True], ids=["taken", "taken and promised again"])
@pytest.mark.parametrize("name", SCENES)
def test_any_page_may_be_taken_around_any_step(name: str, again: bool) -> None:
    """Promised again, it is the normal world's to write; it must come neither to a region nor into a list."""
    for gap, pages in enumerate(locked_at_each_gap(SCENES[name])):
        for page in pages:
            scene = SCENES[name]()
            bench = scene.bench

            def act(number: int, bench: Bench = bench, gap: int = gap, page: int = page) -> None:
                if number == gap:
                    take(bench, [page])
                    if again:
                        allocate(bench, page, 1)
                        bench.memory.write(page, JUNK)
                if number >= gap:
                    in_one_list(bench)

            where = f"page {page:#x} in gap {gap}"
            try:
                result = drive(bench, scene.flow, act)
                settled(bench)
                scene.holds(result, page)
            except Exception as failed:
                raise AssertionError(where) from failed
            assert page not in bench.translation.mapped().values(), where


# A recall is paid while it is served


@dataclass
class Account:
    """What the normal world has asked for, and what it has had of that."""

    bench: Bench
    asked: int = 0
    forced: set[int] = field(default_factory=set)
    promised: int = 0  # pages ALLOCATED when it began
    on_its_way: int = 0  # of what is not taken: pages RELEASED, or being so, when pages were taken

    def ask(self, pages: int) -> None:
        """As many of them as the secure world has."""
        self.asked = self.paid + self.bench.smc(MEM_RECALL.function, pages, MINIMUM_DEADLINE)[1]

    def take(self, pages: int, *, lowest: bool) -> None:
        """At the deadline, so many of those that are LOCKED, if as many are owed."""
        use_everything(self.bench)
        locked = pages_in(self.bench, PageState.LOCKED)
        chosen = locked[:pages] if lowest else locked[-pages:]
        chosen = chosen[: self.bench.monitor.claim.owed]
        force(self.bench, chosen)
        self.forced.update(chosen)
        leaving = {*pages_in(self.bench, PageState.RELEASED), *self.bench.pool.state.releasing}
        self.on_its_way = len(leaving - self.forced)
        self.bench.drive(self.bench.pool.acknowledge_revoked())

    @property
    def released(self) -> int:
        return len(pages_in(self.bench, PageState.RELEASED))

    @property
    def declined(self) -> int:
        return self.promised - len(pages_in(self.bench, PageState.ALLOCATED))

    @property
    def paid(self) -> int:
        return self.released + self.declined + len(self.forced)

    def in_order(self) -> None:
        """At any step: nobody has had what nobody was owed; only a promise goes whole."""
        in_one_list(self.bench)
        due = max(self.asked, self.on_its_way + len(self.forced))
        assert self.released + len(self.forced) <= due, "more is given back than was asked for"
        if self.declined:
            assert not pages_in(self.bench, PageState.LOCKED), "a promise is given up before the pool is empty"

    def closed(self) -> None:
        """In the end."""
        self.in_order()
        assert self.paid >= self.asked, "less is given back than was asked for"


def pool_to_recall(*, promised: bool) -> Account:
    """Three free pages in two runs, three and four behind regions, and perhaps a promise of three more."""
    bench = bench_of_large_grants()
    regions = [backed(bench, Kind.WEIGHTS, "weights", pages) for pages in (1, 3, 4, 2)]
    for spare in (regions[0], regions[3]):
        bench.drive(bench.pool.discard(spare))
    if promised:
        bench.drive(bench.pool.promise(3))
    return Account(bench, promised=3 * promised)


POOL = 10  # pages that it has LOCKED
Act: TypeAlias = Callable[[Account], None]


def recall(owed: int, gap: int, act: Act, *, promised: bool) -> int:
    """Asked for ``owed``; the secure world is entered as long as it owes anything. Gaps of the first entry."""
    account = pool_to_recall(promised=promised)
    bench, gaps = account.bench, 0
    account.ask(owed)

    def look(number: int) -> None:
        nonlocal gaps
        gaps = number + 1
        if number == gap:
            act(account)
        account.in_order()

    drive(bench, bench.pool.recall(bench.monitor.claim.owed), look)
    while bench.monitor.claim.owed:
        before = bench.monitor.claim.owed
        bench.drive(bench.pool.recall(before))
        assert bench.monitor.claim.owed < before, "an entry pays nothing"
    account.closed()
    return gaps


@pytest.mark.parametrize("promised", [False, True], ids=["no promise", "promise"])
@pytest.mark.parametrize("owed", [1, 3, 6, POOL, POOL + 2])
def test_recall_gives_what_is_owed_whatever_is_taken_meanwhile(owed: int, promised: bool) -> None:
    """Fewer pages than are owed, as many, and, when more are asked back meanwhile, more than this entry was told of.

    What is on its way out when pages are taken goes out.
    """
    for gap in range(recall(owed, -1, lambda account: None, promised=promised)):
        for more, taken, lowest in itertools.product((0, 2), (1, owed, owed + 1, owed + 2), (True, False)):

            def act(account: Account, more: int = more, taken: int = taken, lowest: bool = lowest) -> None:
                if more:
                    account.ask(more)
                account.take(taken, lowest=lowest)

            try:
                recall(owed, gap, act, promised=promised)
            except Exception as failed:
                raise AssertionError(f"gap {gap}: {more} more, then {taken} taken, lowest: {lowest}") from failed


# Revoked pages, wherever they are

EDGES = (0, SCAN_PAGES - 1, SCAN_PAGES, 2 * SCAN_PAGES + 1, NORMAL.pages - 1)  # pages of DRAM, by number
PLACES = [(first,) for first in EDGES] + [*itertools.combinations(EDGES, 2), EDGES]


def pool_over_all_dram(extents: Sequence[Extent]) -> Bench:
    """A region over each."""
    bench = Bench()
    for extent in extents:
        promise(bench, extent.base, extent.pages)
        backed(bench, Kind.WEIGHTS, f"at {extent.base:#x}", extent.pages)
    use_everything(bench)
    return bench


def revoke(bench: Bench, pages: Sequence[int]) -> None:
    """Taken; the secure world has not heard of it."""
    assert bench.smc(MEM_RECALL.function, len(pages), MINIMUM_DEADLINE)[0] == Status.SUCCESS
    force(bench, pages)


def all_revoked(bench: Bench, pages: set[int]) -> None:
    """The secure world has heard of all of them, and holds everything else that it had."""
    settled(bench)
    assert pages.isdisjoint(bench.pool.state.free)
    assert pages.isdisjoint(bench.translation.mapped().values())
    assert bench.pool.state.forced == len(pages)
    for region in bench.pool.state.regions:
        assert bool(region.frames) == region.ready == (region.name not in {f"at {page:#x}" for page in pages})


@pytest.mark.parametrize("numbers", PLACES, ids=str)
def test_page_that_was_taken_is_found_wherever_it_is(numbers: tuple[int, ...]) -> None:
    """First and last page of DRAM, on both sides of where a scan ends, with scans between that find nothing."""
    pages = {DRAM_BASE + number * PAGE_SIZE for number in numbers}
    bench = pool_over_all_dram([Extent(DRAM_BASE + number * PAGE_SIZE, 1) for number in EDGES])
    revoke(bench, sorted(pages))
    bench.drive(bench.pool.acknowledge_revoked())
    all_revoked(bench, pages)


@pytest.mark.parametrize(
    "first", [0, SCAN_PAGES - 2, SCAN_PAGES - PAGES_PER_CALL, NORMAL.pages - 2 * PAGES_PER_CALL - 1]
)
@pytest.mark.parametrize("pages", [2, PAGES_PER_CALL, PAGES_PER_CALL + 1, 2 * PAGES_PER_CALL + 1])
def test_run_that_was_taken_is_found_to_its_end(first: int, pages: int) -> None:
    """More adjoining pages than one call tells of, and over the end of a scan."""
    extent = Extent(DRAM_BASE + first * PAGE_SIZE, pages)
    bench = pool_over_all_dram([extent])
    revoke(bench, extent.frames())
    bench.drive(bench.pool.acknowledge_revoked())
    all_revoked(bench, set(extent.frames()))


@pytest.mark.parametrize("heard", [True, False], ids=["heard above", "not heard"])
@pytest.mark.parametrize("number", EDGES)
def test_page_that_is_taken_while_others_are_acknowledged_is_not_forgotten(number: int, heard: bool) -> None:
    """Before or behind what is scanned; an entry above this one hears of it, or the next one."""
    last = DRAM_BASE + number * PAGE_SIZE
    others = {DRAM_BASE + edge * PAGE_SIZE for edge in EDGES if edge != number}
    for gap in itertools.count():
        bench = pool_over_all_dram([Extent(DRAM_BASE + edge * PAGE_SIZE, 1) for edge in EDGES])
        revoke(bench, sorted(others))

        def act(step: int, bench: Bench = bench, gap: int = gap) -> None:
            if step == gap:
                revoke(bench, [last])
                if heard:
                    bench.drive(bench.pool.acknowledge_revoked())
            in_one_list(bench)

        drive(bench, bench.pool.acknowledge_revoked(), act)
        if bench.monitor.page_state(last) is PageState.LOCKED:
            assert gap > 2 * len(others)
            return
        bench.drive(bench.pool.acknowledge_revoked())
        all_revoked(bench, {last, *others})
