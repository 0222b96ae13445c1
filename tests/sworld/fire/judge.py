"""What must hold of the secure kernel at every step, whatever the normal world has done by then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import PageState
from sworld.region import DeviceAccess, Region

from .core import Phone
from .normal import SHARED, SHARED_PAGES

SECRET = b"what the secure world computes.."  # in every page that its computations have written
REACHABLE = (PageState.NORMAL, PageState.ALLOCATED)  # by the normal world
SHARED_FRAMES = range(SHARED, SHARED + SHARED_PAGES * PAGE_SIZE, PAGE_SIZE)


class Judge:
    """``plaintexts``: pages of decrypted weights."""

    def __init__(self, phone: Phone, plaintexts: frozenset[bytes]) -> None:
        self._plaintexts = plaintexts
        self._tables = -1
        self._mapped: Mapping[int, int] = {}
        phone.judges.append(self.look)
        phone.reached = lambda page: self.reached(phone, page)

    def look(self, phone: Phone) -> None:
        """At any point."""
        self._lists(phone)
        self._mappings(phone)
        self._secrets(phone)

    def reached(self, phone: Phone, page: int) -> None:
        """The secure world loads from a page or stores into it: it is its own, or shared."""
        assert phone.monitor.page_state(page) is PageState.LOCKED or page in SHARED_FRAMES, (
            f"the secure world reaches page {page:#x}, which is {phone.monitor.page_state(page).name}"
        )

    def _lists(self, phone: Phone) -> None:
        """Every page is in one list, and what is said to be LOCKED is, unless it was taken and is not told yet."""
        monitor, pool = phone.monitor, phone.kernel.pool
        held = list(pages_held(phone))
        promised = [page for grant in pool.state.grants for page in grant.unlocked.frames() if page not in grant.taken]
        listed = [*held, *promised, *pool.state.releasing]
        assert len(listed) == len(set(listed)), "a page is in two lists"
        known = [page for page in listed if pool._known[(page - DRAM_BASE) // PAGE_SIZE]]
        assert len(known) == len(listed) == pool._known.count(1), "lists and the map of known pages differ"
        for region in pool.state.regions:
            assert len(region.frames) <= region.pages, f"{region.name} has more pages than addresses"
        for page in held:
            state = monitor.page_state(page)
            assert state is PageState.LOCKED or page in monitor.revoked, f"page {page:#x} is held and {state.name}"

    def _mappings(self, phone: Phone) -> None:
        """What is mapped, in tables or in the TLB, is LOCKED, or was taken and is not acknowledged yet."""
        if self._tables != phone.memory.writes:
            self._tables, self._mapped = phone.memory.writes, phone.translation.mapped()
        for found in (self._mapped, phone.translation.tlb):
            for va, entry in found.items():
                page = entry & ~(PAGE_SIZE - 1) & (1 << 48) - 1
                state = phone.monitor.page_state(page)
                assert state is PageState.LOCKED or page in phone.monitor.revoked or page in SHARED_FRAMES, (
                    f"{va:#x} is mapped to page {page:#x}, which is {state.name}"
                )

    def _secrets(self, phone: Phone) -> None:
        for page, content in phone.memory.pages.items():
            if page < phone.memory.watched and phone.monitor.page_state(page) in REACHABLE:
                assert SECRET not in content, f"page {page:#x} of the normal world's holds a result"
                assert bytes(content) not in self._plaintexts, f"page {page:#x} of the normal world's holds weights"


def pages_held(phone: Phone) -> Iterator[int]:
    """Pages that the secure kernel takes for its own, list by list."""
    state = phone.kernel.pool.state
    yield from state.free
    for region in state.regions:
        yield from region.frames
        yield from region.leaving
    for grant in state.grants:
        yield from grant.ours()


def at_rest(phone: Phone) -> None:
    """No flow is under way: the monitor and the secure kernel agree on everything."""
    monitor, pool = phone.monitor, phone.kernel.pool
    assert not monitor.revoked
    assert not monitor.waits
    locked = {page for page, state in monitor.state.items() if state is PageState.LOCKED}
    assert locked == set(pages_held(phone)), "a page is LOCKED and in no list, or the other way round"
    assert not pool.state.releasing
    assert not pool.state.grants
    expected = {region.va + index * PAGE_SIZE: frame for region in pool.state.regions
                for index, frame in enumerate(region.frames)}  # fmt: skip
    shared = {va for va, page in phone.translation.mapped().items() if page in SHARED_FRAMES}
    assert {va: page for va, page in phone.translation.mapped().items() if va not in shared} == expected
    _npu_at_rest(phone, pool.state.regions)


def _npu_at_rest(phone: Phone, regions: list[Region]) -> None:
    """The NPU reaches the pages of the regions that it may reach, with their rights, and no others."""
    rights = {DeviceAccess.READ: 0, DeviceAccess.WRITE: 1}
    wanted = {frame: rights[region.device] for region in regions if region.device in rights for frame in region.frames}
    found = dict(phone.monitor.iovas.values())
    if phone.kernel.npu:
        assert found == wanted, "the NPU reaches other pages than it may"
    else:
        assert not found


def empty(phone: Phone) -> None:
    """No model is open: nothing is held, no address is taken."""
    pool = phone.kernel.pool
    at_rest(phone)
    assert pool.state.regions == []
    assert not list(pages_held(phone))
    assert not pool._addresses.state.taken, "virtual addresses were not given back"
    if phone.kernel.npu:
        assert not phone.monitor.npu_is_secure, "the NPU was not given back"
        assert not phone.kernel.npu._memory._iovas.state.taken, "addresses of the NPU's were not given back"
