"""The monitor in slow and plain Python: page states, claims, the NPU, and who may be entered when.

tests/firmware/test_monitor_model.py holds it against the firmware, call by call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor import abi
from monitor.abi import PAGES_PER_CALL, Caller, PageState, Pending, Status

MASK = (1 << 64) - 1
Results = tuple[int, ...]


def status(value: Status, *results: int) -> Results:
    """x0 and on, as registers hold them."""
    return (value & MASK, *results)


@dataclass
class Claim:
    """What the normal world has asked back, and from when on it may take it."""

    owed: int = 0
    deadline: int = 0


@dataclass
class MonitorModel:
    """``pages`` of DRAM can be Flex-Mem; ``scrub`` zeroes the one at an address; ``now`` is CNTPCT_EL0."""

    pages: int
    npu_pages: int
    scrub: Callable[[int], None] = lambda page: None
    now: int = 0
    state: dict[int, PageState] = field(default_factory=dict)  # of those that are not NORMAL, by address
    revoked: set[int] = field(default_factory=set)
    claim: Claim = field(default_factory=Claim)
    iovas: dict[int, tuple[int, int]] = field(default_factory=dict)  # page of the IOVA: page address, flags
    iova_of: dict[int, int] = field(default_factory=dict)
    npu_is_secure: bool = False
    npu_claim: Claim = field(default_factory=Claim)
    npu_revoked: bool = False
    npu_drains: bool = False  # for the secure world, which has asked for it
    npu_interrupts: bool = False  # while it is the secure world's
    normal_job: int = 0  # is still under way at so many looks at it
    waits: bool = False  # an ordinary thread is interrupted
    handler_waits: bool = False
    in_handler: bool = False

    def call(self, caller: Caller, function: int, arguments: tuple[int, ...]) -> Results | None:
        """x0 and on of a fast call; None: it is none of these."""
        row = abi.find(function)
        handler = None if row is None else getattr(self, "_" + row.name.lower(), None)
        if row is None or handler is None:
            return None
        if not row.by & caller:
            return status(Status.NOT_SUPPORTED)
        filled = (*arguments, *[0] * (5 - len(arguments)))
        results: Results = handler(*filled[: len(row.args)])
        return (*results, *[0] * (len(row.returns) - len(results)))

    def page_state(self, page: int) -> PageState:
        return self.state.get(page, PageState.NORMAL)

    def count(self, *states: PageState) -> int:
        return sum(state in states for state in self.state.values())

    # Pages

    def _window(self, base: int, pages: int, *states: PageState) -> range | Status:
        if pages == 0 or base % PAGE_SIZE:
            return Status.INVALID_PARAMETER
        first = (base - DRAM_BASE) // PAGE_SIZE
        if first < 0 or first + pages > self.pages:
            return Status.DENIED
        window = range(base, base + min(pages, PAGES_PER_CALL) * PAGE_SIZE, PAGE_SIZE)
        if any(page in self.revoked or self.page_state(page) not in states for page in window):
            return Status.WRONG_STATE
        return window

    def _move(self, window: range, to: PageState) -> Results:
        for page in window:
            self.state.pop(page, None)
            if to is not PageState.NORMAL:
                self.state[page] = to
        return status(Status.SUCCESS, len(window))

    def _mem_allocate(self, base: int, pages: int) -> Results:
        window = self._window(base, pages, PageState.NORMAL)
        return status(window) if isinstance(window, Status) else self._move(window, PageState.ALLOCATED)

    def _mem_lock(self, base: int, pages: int) -> Results:
        window = self._window(base, pages, PageState.ALLOCATED)
        return status(window) if isinstance(window, Status) else self._move(window, PageState.LOCKED)

    def _mem_release(self, base: int, pages: int) -> Results:
        window = self._window(base, pages, PageState.LOCKED)
        if isinstance(window, Status):
            return status(window)
        self._leave_npu(window)
        results = self._move(window, PageState.RELEASED)
        self._paid(len(window))
        return results

    def _mem_decline(self, base: int, pages: int) -> Results:
        window = self._window(base, pages, PageState.ALLOCATED)
        if isinstance(window, Status):
            return status(window)
        results = self._move(window, PageState.NORMAL)
        self._paid(len(window))
        return results

    def _mem_reclaim(self, base: int, pages: int, flags: int) -> Results:
        if flags == abi.FORCE:
            return self._force(base, pages)
        if flags:
            return status(Status.INVALID_PARAMETER)
        window = self._window(base, pages, PageState.RELEASED, PageState.ALLOCATED)
        if isinstance(window, Status):
            return status(window)
        for page in window:
            if self.page_state(page) is PageState.RELEASED:
                self.scrub(page)
        results = self._move(window, PageState.NORMAL)
        self._paid(0)
        return results

    def _force(self, base: int, pages: int) -> Results:
        window = self._window(base, pages, PageState.LOCKED)
        if isinstance(window, Status):
            return status(window)
        if len(window) > self.claim.owed:
            return status(Status.NOT_OWED)
        if self.now < self.claim.deadline:
            return status(Status.NOT_DUE)
        self._leave_npu(window)
        for page in window:
            self.scrub(page)
        results = self._move(window, PageState.NORMAL)
        self.revoked.update(window)
        self._paid(len(window))
        return results

    def _mem_recall(self, pages: int, ticks: int) -> Results:
        if pages == 0 or ticks < abi.MINIMUM_DEADLINE or ticks > MASK - self.now:
            return status(Status.INVALID_PARAMETER)
        due, claim = self.now + ticks, self.claim
        if claim.owed:
            due = max(min(claim.deadline, due), self.now + abi.MINIMUM_DEADLINE)
        claim.deadline = due
        claim.owed = min(claim.owed + pages, self.count(PageState.LOCKED, PageState.ALLOCATED))
        return status(Status.SUCCESS, claim.owed, due if claim.owed else 0)

    def _paid(self, pages: int) -> None:
        left = max(0, self.claim.owed - pages)
        self.claim.owed = min(left, self.count(PageState.LOCKED, PageState.ALLOCATED))

    def _next(self, cursor: int, wanted: set[int]) -> Results:
        if cursor >= self.pages:
            return status(Status.INVALID_PARAMETER)
        end = min(cursor + abi.SCAN_PAGES, self.pages)
        numbers = {(page - DRAM_BASE) // PAGE_SIZE for page in wanted}
        first = min((number for number in numbers if cursor <= number < end), default=end)
        page = first
        while page < end and page < first + PAGES_PER_CALL and page in numbers:
            page += 1
        found = page - first
        follows = page if wanted and page < self.pages else 0
        return status(Status.SUCCESS, DRAM_BASE + first * PAGE_SIZE if found else 0, found, follows)

    def _mem_next_released(self, cursor: int) -> Results:
        return self._next(cursor, {page for page, state in self.state.items() if state is PageState.RELEASED})

    def _mem_next_revoked(self, cursor: int) -> Results:
        return self._next(cursor, self.revoked)

    def _mem_ack_revoked(self, base: int, pages: int) -> Results:
        window = self._window(base, pages, *PageState)
        if isinstance(window, Status) and window is not Status.WRONG_STATE:
            return status(window)
        pages_here = range(base, base + min(pages, PAGES_PER_CALL) * PAGE_SIZE, PAGE_SIZE)
        if not self.revoked.issuperset(pages_here):
            return status(Status.WRONG_STATE)
        self.revoked.difference_update(pages_here)
        return status(Status.SUCCESS, len(pages_here))

    # The NPU

    def _range(self, iova: int, pages: int) -> range | Status:
        first = iova // PAGE_SIZE
        if pages == 0 or iova % PAGE_SIZE or first >= self.npu_pages or pages > self.npu_pages - first:
            return Status.INVALID_PARAMETER
        return range(first, first + min(pages, PAGES_PER_CALL))

    def _npu_map(self, iova: int, base: int, pages: int, flags: int) -> Results:
        places = Status.INVALID_PARAMETER if flags & ~abi.NPU_WRITE else self._range(iova, pages)
        if isinstance(places, Status):
            return status(places)
        window = self._window(base, pages, PageState.LOCKED)
        if isinstance(window, Status):
            return status(window)
        if any(place in self.iovas for place in places) or any(page in self.iova_of for page in window):
            return status(Status.WRONG_STATE)
        for place, page in zip(places, window, strict=True):
            self.iovas[place], self.iova_of[page] = (page, flags), place
        return status(Status.SUCCESS, len(window))

    def _npu_unmap(self, iova: int, pages: int) -> Results:
        places = self._range(iova, pages)
        if isinstance(places, Status):
            return status(places)
        for place in places:
            if place in self.iovas:
                del self.iova_of[self.iovas.pop(place)[0]]
        return status(Status.SUCCESS, len(places))

    def _leave_npu(self, window: range) -> None:
        for page in window:
            if page in self.iova_of:
                del self.iovas[self.iova_of.pop(page)]

    def _npu_acquire(self) -> Results:
        if self.npu_is_secure:
            return status(Status.WRONG_STATE)
        if self.normal_job:
            self.npu_drains, self.normal_job = True, self.normal_job - 1
            return status(Status.BUSY)
        self.npu_is_secure, self.npu_drains, self.npu_revoked = True, False, False
        return status(Status.SUCCESS)

    def _npu_release(self) -> Results:
        if not self.npu_is_secure and not self.npu_drains:
            return status(Status.WRONG_STATE)
        self.npu_is_secure = self.npu_drains = self.npu_interrupts = False
        self.npu_claim.owed = 0
        return status(Status.SUCCESS)

    def _npu_recall(self, ticks: int) -> Results:
        if ticks < abi.MINIMUM_DEADLINE or ticks > MASK - self.now:
            return status(Status.INVALID_PARAMETER)
        if not self.npu_is_secure and not self.npu_drains:
            return status(Status.SUCCESS, 0)
        claim = self.npu_claim
        claim.deadline = min(claim.deadline, self.now + ticks) if claim.owed else self.now + ticks
        claim.owed = 1
        return status(Status.SUCCESS, claim.deadline)

    def _npu_reclaim(self) -> Results:
        if not self.npu_claim.owed:
            return status(Status.NOT_OWED)
        if self.now < self.npu_claim.deadline:
            return status(Status.NOT_DUE)
        self._npu_release()
        self.npu_revoked = True
        return status(Status.SUCCESS)

    # Entries, as secure_entry.c and preempt.c have them

    def enter_by_call(self) -> Status:
        """SECURE_CALL: SUCCESS if the secure world is entered."""
        if self.waits:
            if self.handler_waits or not self.revoked:
                return Status.BUSY
            self.in_handler = True
        return Status.SUCCESS

    def enter_by_reply(self) -> Status:
        """SECURE_RESUME of a thread."""
        return Status.BUSY if self.revoked or self.waits else Status.SUCCESS

    def resume(self) -> Status:
        """SECURE_RESUME of the interrupted thread: SUCCESS if it goes on."""
        if not self.waits:
            return Status.WRONG_STATE
        if self.revoked and not self.handler_waits:
            return Status.BUSY
        if self.handler_waits:
            self.handler_waits = False
        else:
            self.waits = False
        return Status.SUCCESS

    def preempt(self) -> None:
        """An interrupt takes the core from the secure world."""
        if self.in_handler:
            self.handler_waits = True
        else:
            self.waits = True

    def left(self) -> None:
        """SECURE_DONE or SECURE_RPC."""
        self.in_handler = False

    def pending(self, reason: Pending) -> Pending:
        """x0 of an entry."""
        mask = reason
        for bit, holds in (
            (Pending.REVOKED, self.revoked), (Pending.RECALL, self.claim.owed), (Pending.PREEMPTED, self.in_handler),
            (Pending.NPU_RECALL, self.npu_claim.owed), (Pending.NPU_REVOKED, self.npu_revoked),
            (Pending.FIQ, self.npu_interrupts),
        ):  # fmt: skip
            mask |= bit if holds else Pending(0)
        return mask
