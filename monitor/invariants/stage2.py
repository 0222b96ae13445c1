"""The stage-2 tables of the core and of the normal world's DMA masters, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from emulator.memory_map import (
    BLOCK_SIZE,
    DRAM_BASE,
    DRIVER_BYTES,
    GIB,
    GIC_CPU,
    GIC_DISTRIBUTOR,
    NPU_CONTROL,
    PAGE_SIZE,
    STORAGE,
    UART0,
    DramLayout,
    Window,
)
from monitor.hardware import ENTRY_BYTES, Hardware
from monitor.invariants.descriptors import (
    DEVICE_PAGE,
    DRAM_PAGE,
    NPU_NORMAL,
    NPU_PAGES,
    NPU_SECURE,
    TABLE,
    of_dram,
)
from monitor.invariants.rule import named
from monitor.memory import CarveOut
from monitor.view import Pages

ENTRIES = PAGE_SIZE // ENTRY_BYTES
DEVICE_TABLES: tuple[tuple[Window, ...], ...] = ((UART0,), (STORAGE,), (GIC_DISTRIBUTOR, GIC_CPU))  # of DEVICE_LEVEL3


def normal_memory_is_mapped_by_owner(now: Hardware) -> Iterable[str]:
    """NORMAL and ALLOCATED pages are mapped to themselves, with every right; no other page is (docs/security.md, 1).

    The core and the normal world's DMA masters share these entries (stage2.c).
    """
    found, wanted = now.memory.entries("DRAM entries"), of_dram(now)
    pages = np.nonzero(found != wanted)[0]
    base = now.layout.dram.carve_out_base + CarveOut.DRAM_LEVEL3
    for page in pages[:4]:
        address = DRAM_BASE + int(page) * PAGE_SIZE
        if not wanted[page]:
            yield f"the core's stage 2 maps {address:#x}, which it must not"
        elif not found[page] & 1:
            yield f"the core's stage 2 does not map {address:#x}"
        else:
            yield f"the core's stage 2 maps {address:#x} as {int(found[page]):#x}, not {int(wanted[page]):#x}"
    if len(pages) > 4:
        yield f"and {len(pages) - 4} more entries from {base:#x} on"


def normal_tables_link_that_memory_and_devices(now: Hardware) -> Iterable[str]:
    """The core's table in the normal world: that memory, UART0, storage, the GIC; in normal mode the NPU (stage2.c)."""
    return differing_tables(now, "the core's stage 2", normal_tables(now.layout.dram))


def storage_tables_link_that_memory(now: Hardware) -> Iterable[str]:
    """The table of the normal world's DMA masters: that memory and no device (stage2.c)."""
    return differing_tables(now, "the DMA masters' stage 2", {CarveOut.STORAGE_ROOT: _dram_root(now.layout.dram)})


def driver_tables_hold_its_own_memory(now: Hardware) -> Iterable[str]:
    """The driver context's table: the MiB that is its own; in secure mode the NPU (stage2.c)."""
    return differing_tables(now, "the driver context's stage 2", driver_tables(now.layout.dram))


def npu_registers_are_linked_by_mode(now: Hardware) -> Iterable[str]:
    """One table has the NPU's registers: the normal world's, none while it drains, the driver's (npu.c)."""
    mode, link = now.variables["npu_mode"], _table(now.layout.dram, CarveOut.NPU_WINDOWS, 0)
    normal = int(now.memory.table(CarveOut.DEVICE_LEVEL2)[_NPU_BLOCK])
    driver = int(now.memory.table(CarveOut.DRIVER_DEVICES)[_NPU_BLOCK])
    if normal != (link if mode == NPU_NORMAL else 0):
        yield f"the core's stage 2 links the NPU's registers by {normal:#x}, in mode {mode}"
    if driver != (link if mode == NPU_SECURE else 0):
        yield f"the driver context's stage 2 links the NPU's registers by {driver:#x}, in mode {mode}"


_NPU_BLOCK = NPU_CONTROL.base // BLOCK_SIZE


def normal_tables(dram: DramLayout) -> Mapping[CarveOut, Pages]:
    """What the tables hold, whoever owns what; the link to the NPU's registers left out."""
    root = _dram_root(dram)
    root[0] = dram.carve_out_base + CarveOut.DEVICE_LEVEL2 | TABLE
    level2 = np.zeros(ENTRIES, np.uint64)
    level3 = np.zeros(len(DEVICE_TABLES) * ENTRIES, np.uint64)
    for index, windows in enumerate(DEVICE_TABLES):
        level2[windows[0].base // BLOCK_SIZE] = _table(dram, CarveOut.DEVICE_LEVEL3, index)
        for window in windows:
            pages = np.arange(window.base, window.end, PAGE_SIZE, dtype=np.uint64)
            level3[index * ENTRIES + pages.astype(np.int64) % BLOCK_SIZE // PAGE_SIZE] = pages | np.uint64(DEVICE_PAGE)
    return {
        CarveOut.NORMAL_ROOT: root,
        CarveOut.DEVICE_LEVEL2: level2,
        CarveOut.DEVICE_LEVEL3: level3,
        CarveOut.NPU_WINDOWS: _npu_windows(),
        CarveOut.DRAM_LEVEL2: _dram_level2(dram),
    }


def driver_tables(dram: DramLayout) -> Mapping[CarveOut, Pages]:
    """As `normal_tables`."""
    root, level2, level3 = (np.zeros(ENTRIES, np.uint64) for _ in range(3))
    base = dram.driver_base
    root[0] = _table(dram, CarveOut.DRIVER_DEVICES, 0)
    root[base // GIB] = _table(dram, CarveOut.DRIVER_LEVEL2, 0)
    level2[base % GIB // BLOCK_SIZE] = _table(dram, CarveOut.DRIVER_LEVEL3, 0)
    pages = np.arange(base, base + DRIVER_BYTES, PAGE_SIZE, dtype=np.uint64)
    level3[pages.astype(np.int64) % BLOCK_SIZE // PAGE_SIZE] = pages | np.uint64(DRAM_PAGE)
    return {
        CarveOut.DRIVER_ROOT: root,
        CarveOut.DRIVER_DEVICES: np.zeros(ENTRIES, np.uint64),
        CarveOut.DRIVER_LEVEL2: level2,
        CarveOut.DRIVER_LEVEL3: level3,
    }


def _table(dram: DramLayout, place: CarveOut, index: int) -> int:
    return dram.carve_out_base + place + index * PAGE_SIZE | TABLE


def _dram_root(dram: DramLayout) -> Pages:
    root = np.zeros(ENTRIES, np.uint64)
    for index, gib in enumerate(range(DRAM_BASE, dram.normal_end, GIB)):
        root[gib // GIB] = _table(dram, CarveOut.DRAM_LEVEL2, index)
    return root


def _dram_level2(dram: DramLayout) -> Pages:
    """Whole tables, a GiB each."""
    blocks = (dram.normal_end - DRAM_BASE) // BLOCK_SIZE
    level2 = np.zeros(-(-blocks // ENTRIES) * ENTRIES, np.uint64)
    first = dram.carve_out_base + CarveOut.DRAM_LEVEL3 | TABLE
    level2[:blocks] = first + np.arange(blocks, dtype=np.uint64) * PAGE_SIZE
    return level2


def _npu_windows() -> Pages:
    level3 = np.zeros(ENTRIES, np.uint64)
    level3[NPU_PAGES.astype(np.int64) % BLOCK_SIZE // PAGE_SIZE] = NPU_PAGES | np.uint64(DEVICE_PAGE)
    return level3


def differing_tables(now: Hardware, whose: str, wanted: Mapping[CarveOut, Pages]) -> Iterator[str]:
    """Entries of the carve-out's tables that are not as they must be; links to the NPU's registers are left out."""
    for place, entries in wanted.items():
        found = now.memory.table(place, len(entries) // ENTRIES)
        differs = found != entries
        if place in (CarveOut.DEVICE_LEVEL2, CarveOut.DRIVER_DEVICES):
            differs[_NPU_BLOCK] = False
        at = now.layout.dram.carve_out_base + place + np.nonzero(differs)[0] * ENTRY_BYTES
        yield from named(at, f"{whose} ({place.name}): the entry at {{}} is another")
