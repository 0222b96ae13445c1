"""The ownership table in itself, and what the monitor counts of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import REGION_SHIFT, REVOKED, PageState, Region
from monitor.hardware import Hardware
from monitor.invariants.rule import named

STATES = (PageState.NORMAL, PageState.ALLOCATED, PageState.LOCKED, PageState.RELEASED)  # of Flex-Mem
STATE_MASK = 7


def pages_have_their_region(now: Hardware) -> Iterable[str]:
    """Regions are as the layout has them; the carve-out and secure DRAM are never Flex-Mem (docs/security.md, 4)."""
    entries, dram = now.memory.ownership.entries, now.layout.dram
    carve_out, secure = ((base - DRAM_BASE) // PAGE_SIZE for base in (dram.carve_out_base, dram.secure_base))
    wanted = np.full(len(entries), Region.NORMAL_DRAM << REGION_SHIFT, np.uint8)
    wanted[carve_out:secure] = Region.MONITOR_CARVE_OUT << REGION_SHIFT | PageState.RESERVED
    wanted[secure:] = Region.SECURE_DRAM << REGION_SHIFT | PageState.RESERVED
    normal = wanted == Region.NORMAL_DRAM << REGION_SHIFT
    wrong = np.where(normal, entries >> REGION_SHIFT != Region.NORMAL_DRAM, entries != wanted)
    yield from named(_addresses(wrong), "page {} is not of the region that the layout has there")


def pages_have_one_state(now: Hardware) -> Iterable[str]:
    """Each page of normal DRAM is in one of four states, and only a NORMAL one can be revoked (monitor/abi.py)."""
    entries = now.memory.ownership.entries[: now.layout.normal_pages] & (STATE_MASK | REVOKED)
    known = np.isin(entries, [*STATES, PageState.NORMAL | REVOKED])
    yield from named(_addresses(~known), "page {} is in no state that there is, or revoked and not NORMAL")


def pages_are_counted(now: Hardware) -> Iterable[str]:
    """The monitor's counts of pages by state, and of revoked ones, are the table's (ownership.c)."""
    entries = now.memory.ownership.entries[: now.layout.normal_pages]
    counts = np.bincount(entries & STATE_MASK, minlength=STATE_MASK + 1)
    for state in STATES:
        if now.pages_in[state] != counts[state]:
            yield f"{counts[state]} pages are {state.name}, the monitor counts {now.pages_in[state]}"
    revoked = np.count_nonzero(entries & REVOKED)
    if now.variables["revoked_pages"] != revoked:
        yield f"{revoked} pages are revoked, the monitor counts {now.variables['revoked_pages']}"


def owed_pages_exist(now: Hardware) -> Iterable[str]:
    """No more is owed than the secure world has, or was promised (recall.c)."""
    there = now.pages_in[PageState.LOCKED] + now.pages_in[PageState.ALLOCATED]
    if now.variables["owed"] > there:
        yield f"{now.variables['owed']} pages are owed, {there} are LOCKED or ALLOCATED"


def _addresses(pages: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.nonzero(pages)[0] * PAGE_SIZE + DRAM_BASE
