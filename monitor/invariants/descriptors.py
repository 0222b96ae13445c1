"""Which stage-2 descriptor each page must have, by who owns it: whatever tables and TLBs hold is compared with this."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emulator.memory_map import (
    DEVICES,
    DRAM_BASE,
    DRIVER_BYTES,
    GIC_CPU,
    GIC_DISTRIBUTOR,
    NPU0,
    NPU1,
    NPU2,
    NPU_CONTROL,
    PAGE_SIZE,
    Reach,
    Window,
)
from monitor.abi import REVOKED, PageState
from monitor.hardware import ENTRY_BYTES, Hardware
from monitor.memory import REVERSE_WRITE
from monitor.view import Pages

# VMSAv8-64 stage 2 (Arm ARM D8.3): valid page, MemAttr, S2AP, SH, AF, XN.
VALID, PAGE, TABLE = 1, 3, 3
NORMAL_WRITE_BACK, DEVICE_NGNRE = 0xF << 2, 1 << 2
READ, WRITE = 1 << 6, 1 << 7
INNER_SHAREABLE = 3 << 8
ACCESS_FLAG = 1 << 10
EXECUTE_NEVER = 1 << 54
OUTPUT = np.uint64(0x0000_FFFF_FFFF_F000)

DRAM_PAGE = PAGE | NORMAL_WRITE_BACK | READ | WRITE | INNER_SHAREABLE | ACCESS_FLAG
DEVICE_PAGE = PAGE | DEVICE_NGNRE | READ | WRITE | ACCESS_FLAG | EXECUTE_NEVER
READ_ONLY_PAGE = DRAM_PAGE & ~WRITE

NPU_WINDOWS = (NPU0, NPU1, NPU2, NPU_CONTROL)
NORMAL_DEVICES = (
    *(window for window in DEVICES if window.reach is Reach.NORMAL and window not in NPU_WINDOWS),
    GIC_DISTRIBUTOR,
    GIC_CPU,
)
NPU_NORMAL, NPU_DRAINING, NPU_SECURE = range(3)  # npu_mode

# By the entry's byte: whether the normal world's core and devices reach the page.
_REACHABLE = np.zeros(256, np.bool_)
_REACHABLE[[PageState.NORMAL, PageState.ALLOCATED, PageState.NORMAL | REVOKED]] = True


def pages_of(windows: Iterable[Window]) -> Pages:
    pages = [page for window in windows for page in range(window.base, window.end, PAGE_SIZE)]
    return np.array(pages, np.uint64)


NPU_PAGES = pages_of(NPU_WINDOWS)
NORMAL_DEVICE_PAGES = pages_of(NORMAL_DEVICES)


def of_dram(now: Hardware) -> Pages:
    """For normal memory, page by page: what its core and its devices have in common."""
    states = now.memory.ownership.entries[: now.layout.normal_pages]
    pages = np.arange(DRAM_BASE, now.layout.dram.normal_end, PAGE_SIZE, dtype=np.uint64)
    return np.where(_REACHABLE[states], pages | np.uint64(DRAM_PAGE), np.uint64(0))


def for_devices(now: Hardware, pages: Pages) -> Pages:
    """For the normal world's DMA masters, of each of ``pages``; 0: none."""
    return _at(of_dram(now), pages, DRAM_BASE)


def for_normal_world(now: Hardware, pages: Pages) -> Pages:
    """For its core."""
    devices = NORMAL_DEVICE_PAGES
    if now.variables["npu_mode"] == NPU_NORMAL:
        devices = np.concatenate([devices, NPU_PAGES])
    return np.where(np.isin(pages, devices), pages | np.uint64(DEVICE_PAGE), for_devices(now, pages))


def for_driver(now: Hardware, pages: Pages) -> Pages:
    """For the driver context: its own memory and, in secure mode, the NPU."""
    base = now.layout.dram.driver_base
    own = (pages >= base) & (pages < base + DRIVER_BYTES)
    npu = np.isin(pages, NPU_PAGES) & (now.variables["npu_mode"] == NPU_SECURE)
    memory = np.where(own, pages | np.uint64(DRAM_PAGE), np.uint64(0))
    return np.where(npu, pages | np.uint64(DEVICE_PAGE), memory)


def of_npu(now: Hardware) -> Pages:
    """For the NPU in secure mode, by page of its addresses, as the reverse table has it."""
    reverse = now.memory.reverse
    frames = np.nonzero(reverse)[0]
    places = (reverse[frames] & (REVERSE_WRITE - 1)).astype(np.int64) - 1
    rights = np.where(reverse[frames] & REVERSE_WRITE, DRAM_PAGE, READ_ONLY_PAGE).astype(np.uint64)
    found = np.zeros(now.layout.memory["NPU entries"][1] // ENTRY_BYTES, np.uint64)
    inside = (places >= 0) & (places < len(found))
    found[places[inside]] = (frames.astype(np.uint64) * PAGE_SIZE + DRAM_BASE | rights)[inside]
    return found


def for_npu(now: Hardware, pages: Pages) -> Pages:
    """The same of each of ``pages``; none while the NPU is not the secure world's."""
    if now.variables["npu_mode"] != NPU_SECURE:
        return np.zeros_like(pages)
    return _at(of_npu(now), pages, 0)


def _at(descriptors: Pages, pages: Pages, base: int) -> Pages:
    """Of pages, from an array that begins with that of ``base``; 0 outside of it."""
    index = (pages - np.uint64(base)) // np.uint64(PAGE_SIZE)  # below the base it wraps, and is far outside
    inside = index < len(descriptors)
    return np.where(inside, descriptors[np.where(inside, index, 0).astype(np.int64)], np.uint64(0))
