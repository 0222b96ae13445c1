"""The buddy allocator against a slow, obvious model, and the frees it must refuse."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from emulator.memory_map import PAGE_SIZE
from nworld.pages import MAX_ORDER, BadFree, OutOfPages, PageAllocator

DRAM = 0x4000_0000


class BuddyModel(RuleBasedStateMachine):
    """The model marks every page; a block may be allocated where an aligned run of pages is free."""

    @initialize(first=st.integers(0, 40), pages=st.integers(1, 3000))
    def make(self, first: int, pages: int) -> None:
        self.base = DRAM + first * PAGE_SIZE
        self.end = self.base + pages * PAGE_SIZE
        self.allocator = PageAllocator(self.base, self.end)
        self.taken: set[int] = set()
        self.blocks: dict[int, int] = {}

    def pages_of(self, address: int, order: int) -> set[int]:
        return {address + index * PAGE_SIZE for index in range(1 << order)}

    def lowest_run(self, order: int) -> int | None:
        """Only fully coalesced free memory offers every aligned run, so this is also the test of coalescing."""
        size = PAGE_SIZE << order
        start = -(-self.base // size) * size
        blocks = range(start, self.end - size + 1, size)
        return next((block for block in blocks if not self.pages_of(block, order) & self.taken), None)

    @rule(order=st.integers(0, MAX_ORDER))
    def allocate(self, order: int) -> None:
        if self.lowest_run(order) is None:
            with pytest.raises(OutOfPages):
                self.allocator.allocate(order)
            return
        address = self.allocator.allocate(order)
        pages = self.pages_of(address, order)
        assert address % (PAGE_SIZE << order) == 0
        assert self.base <= address and address + (PAGE_SIZE << order) <= self.end
        assert not pages & self.taken
        self.taken |= pages
        self.blocks[address] = order

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.blocks)))
        self.allocator.free(address)
        self.taken -= self.pages_of(address, self.blocks.pop(address))
        with pytest.raises(BadFree):
            self.allocator.free(address)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.blocks)))
        self.allocator.split(address)
        self.blocks.update(dict.fromkeys(self.pages_of(address, self.blocks[address]), 0))

    @invariant()
    def counts_agree(self) -> None:
        assert self.allocator.free_pages == (self.end - self.base) // PAGE_SIZE - len(self.taken)


TestBuddyModel = BuddyModel.TestCase
TestBuddyModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_free_refuses_what_it_never_gave() -> None:
    allocator = PageAllocator(DRAM, DRAM + 8 * PAGE_SIZE)
    address = allocator.allocate(1)
    for foreign in (DRAM - PAGE_SIZE, DRAM + 8 * PAGE_SIZE, address + 1, address + PAGE_SIZE, DRAM + 4 * PAGE_SIZE):
        with pytest.raises(BadFree):
            allocator.free(foreign)
    allocator.free(address)
    with pytest.raises(BadFree, match="freed twice"):
        allocator.free(address)


def test_lowest_address_first() -> None:
    allocator = PageAllocator(DRAM, DRAM + 64 * PAGE_SIZE)
    pages = [allocator.allocate() for _ in range(4)]
    assert pages == [DRAM + index * PAGE_SIZE for index in range(4)]
    allocator.free(pages[2])
    allocator.free(pages[1])
    assert allocator.allocate() == pages[1]
