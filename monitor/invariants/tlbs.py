"""What TLBs still hold, against today's tables: a page that has gone, or a right, must have gone from them, too."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from emulator.inspection import Regime, TlbKind
from monitor.abi import Vmid
from monitor.hardware import Hardware, Records
from monitor.invariants.descriptors import (
    EXECUTE_NEVER,
    OUTPUT,
    READ,
    VALID,
    WRITE,
    for_devices,
    for_driver,
    for_normal_world,
    for_npu,
)
from monitor.invariants.monitor_code import NON_SECURE, READ_ONLY, el3_mappings
from monitor.invariants.registers import MAIR_EL3
from monitor.invariants.rule import named
from monitor.view import Pages

PERMIT_READ, PERMIT_WRITE, PERMIT_EXECUTE = 1, 2, 4
SMALLEST = 12  # log2 of a page


def core_tlb_holds_todays_stage2(now: Hardware) -> Iterable[str]:
    """Each page of the normal world's and the driver's is as its table has it now (docs/security.md, 1 and 8).

    So no LOCKED page, and no register of an NPU that has changed hands; also where both stages are one entry.
    """
    entries = now.core_tlb[now.core_tlb["regime"] == Regime.EL1_NORMAL]
    pages = entries[entries["kind"] != TlbKind.STAGE1]
    for vmid, whose, wanted in (
        (Vmid.NORMAL, "the normal world", for_normal_world),
        (Vmid.DRIVER, "the driver context", for_driver),
    ):
        own = pages[pages["vmid"] == vmid]
        known = own["output"] & OUTPUT
        stale = own[~_agrees(own, wanted(now, known)) | ((own["kind"] == TlbKind.STAGE2) & (own["address"] != known))]
        yield from named(stale["output"], f"the core's TLB lets {whose} reach {{}}, which its table does not")
    others = entries[~np.isin(entries["vmid"], [Vmid.NORMAL, Vmid.DRIVER])]
    yield from named(others["vmid"], "the core's TLB holds entries of VMID {}")


def core_tlb_holds_todays_el3(now: Hardware) -> Iterable[str]:
    """Each entry of EL3's is as the monitor's own tables have it; EL2, whose MMU is off, has none (mmu.c, stub.S)."""
    entries = now.core_tlb
    yield from named(entries[entries["regime"] == Regime.EL2]["address"], "the core's TLB holds {} for EL2")
    own = entries[entries["regime"] == Regime.EL3]
    known = np.zeros(len(own), np.bool_)
    for mapped in el3_mappings(now.layout):
        inside = (own["address"] >= mapped.base) & (own["address"] < mapped.end)
        writes = 0 if mapped.attributes & READ_ONLY else PERMIT_WRITE
        executes = 0 if mapped.attributes & EXECUTE_NEVER else PERMIT_EXECUTE
        known |= (
            inside
            & (own["output"] == own["address"])
            & (own["shift"] == mapped.shift)
            & (own["permissions"] == PERMIT_READ | writes | executes)
            & (own["attributes"] == MAIR_EL3 >> (mapped.attributes >> 2 & 7) * 8 & 0xFF)
            & (own["shareability"] == mapped.attributes >> 8 & 3)
            & (own["non_secure"] == (mapped.attributes & NON_SECURE != 0))
        )
    yield from named(own[~known]["address"], "the core's TLB holds {} for EL3, as its tables do not")


def smmu_tlb_holds_todays_stage2(now: Hardware) -> Iterable[str]:
    """Each entry is as the table has it that a stream uses under its VMID, and there is no other VMID (smmu.c)."""
    entries = now.smmu_tlb
    for vmid, wanted in ((Vmid.STORAGE, for_devices), (Vmid.NPU, for_npu)):
        own = entries[entries["vmid"] == vmid]
        stale = own[~_agrees(own, wanted(now, own["address"]), shareability=False)]
        yield from named(stale["address"], f"the SMMU's TLB has {{}} for {vmid.name}, as the table does not")
    others = entries[~np.isin(entries["vmid"], [Vmid.STORAGE, Vmid.NPU])]
    yield from named(others["vmid"], "the SMMU's TLB holds entries of VMID {}")


def _agrees(entries: Records, descriptors: Pages, *, shareability: bool = True) -> NDArray[np.bool_]:
    """Whether each entry is what a walk to the descriptor beside it would give. The SMMU keeps no shareability."""
    permissions = (
        np.where(descriptors & np.uint64(READ), PERMIT_READ, 0)
        | np.where(descriptors & np.uint64(WRITE), PERMIT_WRITE, 0)
        | np.where(descriptors & np.uint64(EXECUTE_NEVER), 0, PERMIT_EXECUTE)
    )
    same: NDArray[np.bool_] = (
        (descriptors & np.uint64(VALID) != 0)
        & (entries["output"] == descriptors & OUTPUT)
        & (entries["shift"] == SMALLEST)
        & (entries["permissions"] == permissions)
        & (entries["attributes"] == (descriptors >> np.uint64(2) & np.uint64(0xF)))
    )
    if shareability:
        same &= entries["shareability"] == (descriptors >> np.uint64(8) & np.uint64(3))
    return same
