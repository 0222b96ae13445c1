"""The filters in front of memory and devices, as they judge: TZC-400 and TZPC."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emulator.inspection import REGION, TZASC_REGIONS
from emulator.memory_map import DEVICES, DRAM_BASE, Nsaid, Reach
from monitor.hardware import Hardware

REGION_0_TOP = (1 << 44) - 1  # of the whole space, always
WHOLE_SRAM = (1 << 32) - 1  # pages
NORMAL_MASTERS = sum(1 << nsaid for nsaid in Nsaid if nsaid is not Nsaid.SMMU_WALKER)
TABLE_READERS = 1 << Nsaid.CPU | 1 << Nsaid.SMMU_WALKER


def tzasc_has_three_regions(now: Hardware) -> Iterable[str]:
    """Normal memory, the carve-out and secure DRAM are each for their masters, nothing else is (tzc.c, DDI 0504)."""
    dram, filters = now.layout.dram, now.filters
    wanted = np.zeros(TZASC_REGIONS, REGION)
    for index, (base, end, secure, normal) in enumerate(
        (
            (0, REGION_0_TOP + 1, 0, 0),
            (DRAM_BASE, dram.normal_end, 0, NORMAL_MASTERS),
            (dram.normal_end, dram.secure_base, 0, TABLE_READERS),
            (dram.secure_base, dram.end, 1, 0),
        )
    ):
        wanted[index] = (base, end - 1, normal, normal, 1, secure, secure, 0)
    for index, region in enumerate(filters["region"]):
        if (region["enabled"] or wanted[index]["enabled"]) and region != wanted[index]:
            yield f"TZASC region {index} is {_region(region)}, not {_region(wanted[index])}"


def tzasc_is_open_and_reports(now: Hardware) -> Iterable[str]:
    """The gate is open, and what is denied is a bus error (tzc.c): a panic at EL3, an abort below."""
    if not now.filters["gate_open"]:
        yield "the TZASC's gate is closed"
    if not now.filters["bus_error"]:
        yield "the TZASC denies without a bus error"


def tzpc_protects_sram_and_secure_devices(now: Hardware) -> Iterable[str]:
    """All of SRAM is secure, and exactly the normal world's devices take Non-secure accesses (tzpc.c, DTO 0015)."""
    normal = sum(1 << index for index, window in enumerate(DEVICES) if window.reach is Reach.NORMAL)
    pages, devices = int(now.filters["secure_sram_pages"]), int(now.filters["normal_devices"])
    if pages != WHOLE_SRAM:
        yield f"the TZPC keeps {pages} pages of SRAM secure, not all"
    for index, window in enumerate(DEVICES):
        if (devices ^ normal) >> index & 1:
            yield f"the TZPC has {window.name} {'normal' if devices >> index & 1 else 'secure'}, which it is not"
    if devices >> len(DEVICES):
        yield f"the TZPC opens what is no device: {devices:#x}"


def _region(region: np.void) -> str:
    if not region["enabled"]:
        return "off"
    secure = "secure" if region["secure_read"] or region["secure_write"] else "not secure"
    masters = f"{int(region['normal_read']):#x} read, {int(region['normal_write']):#x} write"
    return f"{int(region['base']):#x}..{int(region['top']):#x}, {secure}, NSAIDs {masters}"
