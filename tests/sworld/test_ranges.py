"""Ranges of pages: ranges never overlap, gaps are used again, and what does not fit is said so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.memory_map import PAGE_SIZE
from sworld.ranges import Ranges

LIMIT = 64 * PAGE_SIZE


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=60))
def test_ranges_never_overlap_and_stay_below_the_limit(steps: list[tuple[bool, int]]) -> None:
    allocator = Ranges(PAGE_SIZE, LIMIT)
    held: dict[int, int] = {}
    for give_back, pages in steps:
        if give_back and held:
            address = sorted(held)[pages % len(held)]
            del held[address]
            allocator.free(address)
            continue
        found = allocator.allocate(pages)
        if found is not None:
            held[found] = pages
        taken = [start // PAGE_SIZE + index for start, length in held.items() for index in range(length)]
        assert len(taken) == len(set(taken))
        assert all(0 < page < LIMIT // PAGE_SIZE for page in taken)


def test_the_lowest_gap_that_is_large_enough_is_used() -> None:
    allocator = Ranges(PAGE_SIZE, LIMIT)
    first, second, third = (allocator.allocate(pages) for pages in (2, 4, 1))
    assert (first, second, third) == (PAGE_SIZE, 3 * PAGE_SIZE, 7 * PAGE_SIZE)
    assert second is not None
    allocator.free(second)
    assert allocator.allocate(5) == 8 * PAGE_SIZE
    assert allocator.allocate(3) == second


def test_what_does_not_fit_gets_no_address() -> None:
    allocator = Ranges(PAGE_SIZE, LIMIT)
    assert allocator.allocate(64) is None
    assert allocator.allocate(63) == PAGE_SIZE
    assert allocator.allocate(1) is None


@pytest.mark.parametrize("pages", [0, -1])
def test_a_range_has_a_page_at_least(pages: int) -> None:
    with pytest.raises(ValueError, match="one at least"):
        Ranges(PAGE_SIZE, LIMIT).allocate(pages)
