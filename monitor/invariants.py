"""What must hold between the monitor's calls, looked up in memory and tables past the monitor's own code.

The ownership table is what the monitor believes; the stage-2 tables are what the hardware does.
"""

from __future__ import annotations

import numpy as np

from emulator.memory_map import DEVICES, DramLayout, Reach
from monitor.abi import REVOKED, PageState, Region
from monitor.view import Pages, PhysicalMemory, read_ownership, read_stage2

REACHABLE = (PageState.NORMAL, PageState.ALLOCATED)  # by the normal world's core and devices


def violations(memory: PhysicalMemory, layout: DramLayout, normal_root: int, storage_root: int) -> list[str]:
    """Every broken rule in words, none if all hold. The roots are the stage-2 tables of core and storage stream."""
    ownership = read_ownership(memory, layout)
    reachable = ownership.pages_in(*REACHABLE)
    windows = np.array([window.base for window in DEVICES if window.reach is Reach.NORMAL], dtype=np.uint64)
    found = _mapped(memory, "the core's stage 2", normal_root, np.concatenate([windows, reachable]))
    found += _mapped(memory, "the storage stream's stage 2", storage_root, reachable)
    regions = ownership.entries >> 4
    reserved = (ownership.entries & 7) == PageState.RESERVED
    if not np.array_equal(reserved, regions != Region.NORMAL_DRAM):
        found.append("a page of the monitor's or the secure world's is not RESERVED, or one of normal DRAM is")
    revoked = (ownership.entries & REVOKED) != 0
    if np.any(revoked & ((ownership.entries & 7) != PageState.NORMAL)):
        found.append("a page is revoked and not NORMAL")
    return found


def _mapped(memory: PhysicalMemory, table: str, root: int, wanted: Pages) -> list[str]:
    mapping = read_stage2(memory, root)
    found = [f"{table} maps {page:#x}, which it must not" for page in np.setdiff1d(mapping.inputs, wanted)[:4]]
    found += [f"{table} does not map {page:#x}" for page in np.setdiff1d(wanted, mapping.inputs)[:4]]
    if not np.array_equal(mapping.inputs, mapping.outputs):
        found.append(f"{table} maps a page to another than itself")
    return found
