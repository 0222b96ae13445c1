"""What must hold between the monitor's calls, looked up in memory and tables past the monitor's own code.

The ownership table is what the monitor believes; the stage-2 tables, the stream table and the GIC are what the hardware
does.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emulator.memory_map import (
    DEVICES,
    DRIVER_BYTES,
    FIRST_SPI,
    GIC_CPU,
    GIC_DISTRIBUTOR,
    NPU0,
    NPU1,
    NPU2,
    NPU_CONTROL,
    PAGE_SIZE,
    UART1,
    DramLayout,
    Reach,
    StreamId,
    Window,
)
from monitor.abi import REVOKED, PageState, Region, Vmid
from monitor.memory import CarveOut
from monitor.view import (
    INTERRUPTS,
    Interrupts,
    Mapping,
    Pages,
    PhysicalMemory,
    Stream,
    read_ownership,
    read_reverse_table,
    read_stage2,
    read_stream,
)

REACHABLE = (PageState.NORMAL, PageState.ALLOCATED)  # by the normal world's core and devices
NPU_WINDOWS = (NPU0, NPU1, NPU2, NPU_CONTROL)
NPU_STREAMS = (StreamId.NPU0, StreamId.NPU1, StreamId.NPU2)
NPU_ADDRESS_BITS = 32
ADDRESS_BITS = 36

SECURE_TIMER = 29  # PPI 13, as on every Arm platform (BSA)
NPU_INTERRUPTS = {FIRST_SPI + window.spi for window in NPU_WINDOWS if window.spi is not None}
SECURE_SGIS = set(range(8, 16))
CONSOLE_INTERRUPTS = {FIRST_SPI + window.spi for window in (UART1,) if window.spi is not None}
MONITOR_PRIORITY = 0x40  # of what comes to EL3
NORMAL_PRIORITIES = range(0x80, 0x100)  # those that the normal world can set


def violations(
    memory: PhysicalMemory, layout: DramLayout, vttbr: int, stream_table: int, interrupts: Interrupts
) -> list[str]:
    """Every broken rule in words, none if all hold. ``vttbr``: VTTBR_EL2; ``stream_table``: where the SMMU finds it."""
    ownership = read_ownership(memory, layout)
    reachable = ownership.pages_in(*REACHABLE)
    tables = {Vmid.NORMAL: layout.carve_out_base + CarveOut.NORMAL_ROOT, Vmid.DRIVER: layout.carve_out_base + CarveOut.DRIVER_ROOT}
    normal, driver = (read_stage2(memory, tables[vmid]) for vmid in (Vmid.NORMAL, Vmid.DRIVER))
    npu_registers = _pages_of(NPU_WINDOWS)
    devices = (window for window in DEVICES if window.reach is Reach.NORMAL and window not in NPU_WINDOWS)
    others = _pages_of((*devices, GIC_DISTRIBUTOR, GIC_CPU))
    own = np.arange(layout.driver_base, layout.driver_base + DRIVER_BYTES, PAGE_SIZE, dtype=np.uint64)
    secure = read_stream(memory, stream_table, StreamId.NPU0) == npu_stream(layout)

    found = []
    if (vttbr >> 48, vttbr & (1 << 48) - 1) not in tables.items():
        found.append(f"VTTBR_EL2 = {vttbr:#x} is neither the normal world's nor the driver context's")
    in_normal = np.isin(npu_registers, normal.inputs)
    in_driver = np.isin(npu_registers, driver.inputs)
    if np.any(in_normal) and (secure or not np.all(in_normal)):
        found.append("the core's stage 2 maps the NPU's registers in secure mode, or a part of them")
    if np.any(in_driver != secure):
        found.append("the driver context's stage 2 has the NPU's registers in normal mode, or not in secure mode")
    wanted = np.concatenate([others, npu_registers[in_normal], reachable])
    found += _maps("the core's stage 2", normal, wanted)
    found += _maps("the driver context's stage 2", driver, np.concatenate([npu_registers[in_driver], own]))
    found += _streams(memory, layout, stream_table, secure)
    found += _maps("the storage stream's stage 2", read_stage2(memory, storage_stream(layout).root), reachable)
    found += _npu_table(memory, layout, ownership.pages_in(PageState.LOCKED))
    found += _interrupts(interrupts, secure)
    regions = ownership.entries >> 4
    reserved = (ownership.entries & 7) == PageState.RESERVED
    if not np.array_equal(reserved, regions != Region.NORMAL_DRAM):
        found.append("a page of the monitor's or the secure world's is not RESERVED, or one of normal DRAM is")
    revoked = (ownership.entries & REVOKED) != 0
    if np.any(revoked & ((ownership.entries & 7) != PageState.NORMAL)):
        found.append("a page is revoked and not NORMAL")
    return found


def storage_stream(layout: DramLayout) -> Stream:
    """Of storage, and of the NPU in normal mode."""
    return Stream(layout.carve_out_base + CarveOut.STORAGE_ROOT, Vmid.STORAGE, ADDRESS_BITS)


def npu_stream(layout: DramLayout) -> Stream:
    """Of the NPU in secure mode."""
    return Stream(layout.carve_out_base + CarveOut.NPU_ROOT, Vmid.NPU, NPU_ADDRESS_BITS)


def _streams(memory: PhysicalMemory, layout: DramLayout, table: int, secure: bool) -> list[str]:
    wanted = dict.fromkeys(NPU_STREAMS, npu_stream(layout) if secure else storage_stream(layout))
    wanted[StreamId.STORAGE] = storage_stream(layout)
    found = {stream: read_stream(memory, table, stream) for stream in wanted}
    return [
        f"stream {stream.name} is {found[stream]}, not {wanted[stream]}"
        for stream in wanted
        if found[stream] != wanted[stream]
    ]


def _npu_table(memory: PhysicalMemory, layout: DramLayout, locked: Pages) -> list[str]:
    """The NPU's own table maps LOCKED pages only, each once, and the reverse table says the same."""
    mapping = read_stage2(memory, npu_stream(layout).root)
    found = [f"the NPU's stage 2 maps {page:#x}, which is not LOCKED" for page in np.setdiff1d(mapping.outputs, locked)]
    if len(np.unique(mapping.outputs)) != len(mapping.outputs):
        found.append("the NPU's stage 2 maps a page at two addresses")
    pairs = zip(mapping.outputs.tolist(), mapping.inputs.tolist(), strict=True)
    if dict(pairs) != read_reverse_table(memory, layout):
        found.append("the reverse table and the NPU's stage 2 do not agree")
    return found


def _interrupts(interrupts: Interrupts, secure: bool) -> list[str]:
    """Group 0 is the monitor's and the secure world's alone, the NPU's among them while it is secure."""
    monitors = {SECURE_TIMER} | (NPU_INTERRUPTS if secure else set())
    group0 = monitors | SECURE_SGIS | CONSOLE_INTERRUPTS
    found = []
    for interrupt in range(INTERRUPTS):
        group1, priority = interrupts.group1 >> interrupt & 1, interrupts.priority[interrupt]
        if group1 == (interrupt in group0):
            found.append(f"interrupt {interrupt} is in Group {group1}")
        if interrupt in monitors and (priority != MONITOR_PRIORITY or not interrupts.enabled >> interrupt & 1):
            found.append(f"interrupt {interrupt} is the monitor's and has priority {priority:#x}, or is disabled")
        if group1 and priority not in NORMAL_PRIORITIES:
            found.append(f"interrupt {interrupt} is the normal world's and has priority {priority:#x}")
    return found


def _pages_of(windows: Iterable[Window]) -> Pages:
    pages = [page for window in windows for page in range(window.base, window.end, PAGE_SIZE)]
    return np.array(pages, dtype=np.uint64)


def _maps(table: str, mapping: Mapping, wanted: Pages) -> list[str]:
    found = [f"{table} maps {page:#x}, which it must not" for page in np.setdiff1d(mapping.inputs, wanted)[:4]]
    found += [f"{table} does not map {page:#x}" for page in np.setdiff1d(wanted, mapping.inputs)[:4]]
    if not np.array_equal(mapping.inputs, mapping.outputs):
        found.append(f"{table} maps a page to another than itself")
    return found
