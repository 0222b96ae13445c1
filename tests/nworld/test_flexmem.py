"""The Flex-Mem manager against a model monitor, with a secure world that cooperates, is slow, or gives nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from emulator.gate import Action, Charge, Compute, Counter, Flow, Notice, Registers, Reply, Smc
from emulator.memory_map import PAGE_SIZE
from monitor import abi
from nworld.flexmem import RECALL_TICKS, FlexMem, LeftoverBytes
from nworld.pages import PageAllocator
from nworld.secure import SecureDriver

T = TypeVar("T")
BASE = 0x4020_0000
PAGES = 256


@dataclass
class Phone:
    """Monitor and secure world; ``per_poll``: pages that one POLL releases."""

    per_poll: int
    state: dict[int, abi.PageState] = field(default_factory=dict)
    owed: int = 0
    deadline: int = 0
    now: int = 0
    dirty: set[int] = field(default_factory=set)
    revoked: set[int] = field(default_factory=set)
    notices: list[Notice] = field(default_factory=list)
    force_calls: int = 0

    def drive(self, flow: Flow[T]) -> T:
        reply: Reply = None
        try:
            while True:
                self.now += 1
                reply = self.perform(flow.send(reply))
        except StopIteration as end:
            result: T = end.value
            return result

    def perform(self, action: Action) -> Reply:
        match action:
            case Smc(function, arguments):
                status, *results = self.call(function, arguments)
                return (status & (1 << 64) - 1, *results, *[0] * (7 - len(results)))
            case Counter():
                return self.now
            case Charge(instructions):
                self.now += instructions
                return None
            case Notice():
                self.notices.append(action)
                return None
            case Compute("holds_only_zeros", (int(va), int(size))):
                return int(self.dirty.isdisjoint(range(va, va + size, PAGE_SIZE)))
            case Compute("fill", _):
                return 0
        raise AssertionError(action)

    def call(self, function: int, arguments: tuple[int, ...]) -> Registers:
        call = abi.find(function)
        if call is abi.MEM_RECALL:
            wanted, ticks = arguments
            self.owed = min(wanted, len(self.pages(abi.PageState.LOCKED, abi.PageState.ALLOCATED)))
            self.deadline = self.now + ticks if self.owed else 0
            return 0, self.owed, self.deadline
        if call is abi.SECURE_CALL:
            self.revoked.clear()
            for page in self.pages(abi.PageState.LOCKED)[-min(self.per_poll, self.owed) :] if self.owed else []:
                if self.per_poll:
                    self.state[page] = abi.PageState.RELEASED
                    self.owed -= 1
            return 0, 0
        if call is abi.MEM_NEXT_RELEASED:
            released = [page for page in self.pages(abi.PageState.RELEASED) if page >= arguments[0]]
            if not released:
                return 0, 0, 0, 0
            return 0, released[0], 1, released[1] if len(released) > 1 else 0
        base, pages, *flags = arguments
        window = range(base, base + min(pages, abi.PAGES_PER_CALL) * PAGE_SIZE, PAGE_SIZE)
        if call is abi.MEM_ALLOCATE:
            assert all(self.state.get(page, abi.PageState.NORMAL) is abi.PageState.NORMAL for page in window)
            self.state.update(dict.fromkeys(window, abi.PageState.ALLOCATED))
        elif call is abi.MEM_RECLAIM:
            if flags == [abi.FORCE]:
                assert len(window) <= self.owed and self.now >= self.deadline
                assert all(self.state[page] is abi.PageState.LOCKED for page in window)
                self.owed -= len(window)
                self.revoked.update(window)
                self.force_calls += 1
            else:
                assert all(self.state[page] is abi.PageState.RELEASED for page in window)
            self.state.update(dict.fromkeys(window, abi.PageState.NORMAL))
        else:
            raise AssertionError(hex(function))
        return 0, len(window)

    def pages(self, *states: abi.PageState) -> list[int]:
        return sorted(page for page, state in self.state.items() if state in states)

    def lock_all(self) -> None:
        self.state.update(dict.fromkeys(self.pages(abi.PageState.ALLOCATED), abi.PageState.LOCKED))


def make(per_poll: int, locked: int = 0) -> tuple[Phone, FlexMem, PageAllocator]:
    phone, allocator = Phone(per_poll), PageAllocator(BASE, BASE + PAGES * PAGE_SIZE)
    manager = FlexMem(allocator, SecureDriver({}))
    while locked > len(manager.state.granted):
        phone.drive(manager.grant(locked - len(manager.state.granted)))
    phone.lock_all()
    return phone, manager, allocator


def test_grant_is_one_allocated_extent_of_at_most_what_was_asked() -> None:
    phone, manager, allocator = make(0)
    base, pages = phone.drive(manager.grant(100))
    assert pages == 64
    assert phone.pages(abi.PageState.ALLOCATED) == list(range(base, base + pages * PAGE_SIZE, PAGE_SIZE))
    assert allocator.free_pages == PAGES - 64


def test_grant_gives_what_is_left_and_then_nothing() -> None:
    phone, manager, allocator = make(0, locked=PAGES - 3)
    assert [phone.drive(manager.grant(1000))[1] for _ in range(3)] == [2, 1, 0]
    assert allocator.free_pages == 0


@pytest.mark.parametrize("per_poll", [100, 7, 1])
def test_pressure_takes_pages_from_a_secure_world_that_releases(per_poll: int) -> None:
    phone, manager, allocator = make(per_poll, locked=100)
    assert phone.drive(manager.press(30)) == 30
    counts = manager.state.counts
    assert (counts.requested, counts.recalled, counts.reclaimed, counts.forced) == (30, 30, 30, 0)
    assert allocator.free_pages == PAGES - 70
    assert phone.notices == []


def test_pressure_for_more_than_there_is_says_that_it_came_short() -> None:
    phone, manager, allocator = make(100, locked=20)
    assert phone.drive(manager.press(50)) == 20
    assert [notice.numbers for notice in phone.notices if notice.kind == "short"] == [(20, 50)]
    assert allocator.free_pages == PAGES


def test_force_takes_exactly_what_is_owed_after_the_deadline() -> None:
    phone, manager, allocator = make(0, locked=200)
    assert phone.drive(manager.press(130)) == 130
    assert phone.now >= RECALL_TICKS
    assert manager.state.counts.forced == 130
    assert phone.force_calls <= -(-130 // abi.PAGES_PER_CALL) + len(bin(200))
    assert phone.revoked == set(), "the secure world was let in to acknowledge"
    assert allocator.free_pages == PAGES - 70


def test_bytes_left_in_a_reclaimed_page_are_noticed() -> None:
    phone, manager, _ = make(10, locked=10)
    phone.dirty.add(phone.pages(abi.PageState.LOCKED)[5])
    with pytest.raises(LeftoverBytes):
        phone.drive(manager.press(10))
