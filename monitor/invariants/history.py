"""What must hold from one instant to the next: how pages and the NPU change hands."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import REVOKED, PageState
from monitor.hardware import Hardware
from monitor.invariants.descriptors import NPU_DRAINING, NPU_SECURE
from monitor.invariants.rule import named

NORMAL, ALLOCATED, LOCKED, RELEASED = PageState.NORMAL, PageState.ALLOCATED, PageState.LOCKED, PageState.RELEASED

# docs/smc-calls.md: ALLOCATE, LOCK, RELEASE; RECLAIM of what was released or promised, DECLINE; FORCE, ACK_REVOKED.
STEPS = (
    (NORMAL, ALLOCATED), (ALLOCATED, LOCKED), (LOCKED, RELEASED), (RELEASED, NORMAL), (ALLOCATED, NORMAL),
    (LOCKED, NORMAL | REVOKED), (NORMAL | REVOKED, NORMAL),
)  # fmt: skip


def pages_change_hands_step_by_step(now: Hardware) -> Iterable[str]:
    """An entry of the ownership table moves along the calls' edges, and along no other (docs/smc-calls.md)."""
    for page, old, new in _changes(now):
        if (old, new) not in STEPS:
            yield f"page {page:#x} went from {old:#x} to {new:#x}"


def returned_pages_hold_zeros(now: Hardware) -> Iterable[str]:
    """A page that was the secure world's and is the normal world's now holds nothing of it (docs/security.md, 2)."""
    returned = [page for page, old, new in _changes(now) if old in (LOCKED, RELEASED) and new & ~REVOKED == NORMAL]
    dirty = [page for page in returned if any(now.physical.read_physical(page, PAGE_SIZE))]
    return named(dirty, "page {} was not scrubbed")


def switched_npu_holds_nothing(now: Hardware) -> Iterable[str]:
    """The NPU that has changed hands is off, idle and as out of reset, and has posted nothing (npu.c)."""
    if now.before is None:
        return
    was, is_now = (one.variables["npu_mode"] == NPU_SECURE for one in (now.before, now))
    if was == is_now:
        return
    for what in ("power", "clock", "busy", "used"):
        if now.npu[what]:
            yield f"the NPU has changed hands with {what} {int(now.npu[what]):#x}"


def draining_npu_begins_nothing(now: Hardware) -> Iterable[str]:
    """Once the normal world has lost its registers, the NPU ends the jobs that it is at and begins no other (npu.c)."""
    if now.before and now.before.variables["npu_mode"] == now.variables["npu_mode"] == NPU_DRAINING:
        begun = int(now.npu["busy"]) & ~int(now.before.npu["busy"])
        if begun:
            yield f"the NPU is being drained, and its cores {begun:#x} have begun a job"


def _changes(now: Hardware) -> Iterable[tuple[int, int, int]]:
    """Address, entry before and entry now of each page of normal DRAM whose entry is another."""
    if now.before is None or now.before.memory is now.memory:
        return ()
    old, new = (one.memory.ownership.entries[: now.layout.normal_pages] for one in (now.before, now))
    return [(DRAM_BASE + int(page) * PAGE_SIZE, int(old[page]), int(new[page])) for page in np.nonzero(old != new)[0]]
