"""Code and constants of EL3 and EL2 against the image, and EL3's own tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from emulator.memory_map import (
    BLOCK_SIZE,
    DRAM_BASE,
    GIB,
    GIC_CPU,
    GIC_DISTRIBUTOR,
    NPU_CONTROL,
    PAGE_SIZE,
    SECURE_SRAM,
    SMMU,
    TRUSTED,
    TZASC,
    TZPC,
    UART1,
)
from monitor.hardware import EL3_TABLES, ENTRY_BYTES, Hardware, Layout
from monitor.invariants.rule import differing, named
from monitor.memory import CarveOut
from monitor.view import Pages

# VMSAv8-64 stage 1 of a regime with one privilege level (Arm ARM D8.3).
BLOCK, PAGE, TABLE = 1, 3, 3
NORMAL_MEMORY, DEVICE_MEMORY = 1 << 2 | 3 << 8, 0 << 2  # AttrIndx and SH; see MAIR_EL3
NON_SECURE, AP_RES1, READ_ONLY, ACCESS_FLAG, EXECUTE_NEVER = 1 << 5, 1 << 6, 1 << 7, 1 << 10, 1 << 54

CODE = NORMAL_MEMORY | READ_ONLY
CONSTANTS = NORMAL_MEMORY | READ_ONLY | EXECUTE_NEVER
DATA = NORMAL_MEMORY | EXECUTE_NEVER
DEVICE = DEVICE_MEMORY | EXECUTE_NEVER


@dataclass(frozen=True)
class Mapped:
    """A range that EL3 maps to itself, by entries of 1 << ``shift`` bytes."""

    base: int
    end: int
    attributes: int
    shift: int = 12


def el2_runs_the_stub(now: Hardware) -> Iterable[str]:
    """What lies at VBAR_EL2 is the image's stub, byte for byte (boot.c)."""
    image = now.layout.image
    size = image.symbols["el2_stub_end"] - image.symbols["el2_stub_start"]
    stub = now.memory.bytes_of("tables")[CarveOut.EL2_STUB : CarveOut.EL2_STUB + size]
    wanted = _loaded(now.layout, image.symbols["el2_stub_start"], size)
    return _differing_bytes("the EL2 stub", now.layout.dram.carve_out_base + CarveOut.EL2_STUB, stub, wanted)


def el3_runs_the_image(now: Hardware) -> Iterable[str]:
    """EL3's code and constants are the image's, byte for byte (monitor.ld)."""
    base, size = now.layout.memory["image"]
    return _differing_bytes("the monitor", base, now.memory.bytes_of("image"), _loaded(now.layout, base, size))


def el3_maps_what_it_needs(now: Hardware) -> Iterable[str]:
    """EL3's own tables: W^X, guarded stacks, NS on normal memory, carve-out and NPU control, no more (mmu.c)."""
    for name, wanted in el3_tables(now.layout).items():
        at = np.nonzero(now.memory.entries(name) != wanted)[0] * ENTRY_BYTES
        yield from named(at + now.layout.memory[name][0], f"EL3's table {name}: the entry at {{}} is another")


def el3_knows_its_tables(now: Hardware) -> Iterable[str]:
    """What boot has noted of where tables are, and of how many pages there are, is as the layout has it (boot.c)."""
    dram = now.layout.dram
    wanted = {
        "table": dram.ownership_base,
        "normal_pages": now.layout.normal_pages,
        "entries": dram.npu_tables_base,
        "iova_of": dram.secure_end,
        "iova_pages": dram.npu_bytes // PAGE_SIZE,
        "dram_level3": dram.carve_out_base + CarveOut.DRAM_LEVEL3,
        "npu_windows": dram.carve_out_base + CarveOut.NPU_WINDOWS | TABLE,
        "stream_table": dram.carve_out_base + CarveOut.STREAM_TABLE,
        "command_queue": dram.carve_out_base + CarveOut.COMMAND_QUEUE,
        "normal_root": dram.carve_out_base + CarveOut.STORAGE_ROOT,
        "npu_root": dram.carve_out_base + CarveOut.NPU_ROOT,
    }
    return (f"the monitor's {said}" for said in differing(now.variables, wanted))


def el3_mappings(layout: Layout) -> Iterator[Mapped]:
    symbols, dram = layout.image.symbols, layout.dram
    for first, last, attributes in (
        ("__image_start", "__text_end", CODE),
        ("__text_end", "__rodata_end", CONSTANTS),
        ("__rodata_end", "__bss_end", DATA),
        ("__stack_start", "__stack_end", DATA),
        ("__panic_stack_start", "__panic_stack_end", DATA),
    ):
        yield Mapped(symbols[first], symbols[last], attributes)
    for window in (GIC_DISTRIBUTOR, GIC_CPU, UART1, SMMU, TZASC, TZPC, TRUSTED):
        yield Mapped(window.base, window.end, DEVICE)
    yield Mapped(NPU_CONTROL.base, NPU_CONTROL.end, DEVICE | NON_SECURE)
    whole = dram.secure_base // GIB * GIB  # up to here a GiB at a time
    yield Mapped(DRAM_BASE, whole, DATA | NON_SECURE, 30)
    yield Mapped(whole, dram.secure_base, DATA | NON_SECURE, 21)
    yield Mapped(dram.secure_base, dram.end, DATA, 21)


def el3_tables(layout: Layout) -> Mapping[str, Pages]:
    """What each table of EL3's must hold, by the monitor's names."""
    tables = {name: np.zeros(layout.memory[name][1] // ENTRY_BYTES, np.uint64) for name in EL3_TABLES}
    link = {name: np.uint64(layout.image.symbols[name] | TABLE) for name in EL3_TABLES}
    tables["level1"][0] = link["low_level2"]
    whole = layout.dram.secure_base // GIB
    for index, gib in enumerate(range(whole, -(-layout.dram.end // GIB))):
        tables["level1"][gib] = link["dram_level2"] + np.uint64(index * PAGE_SIZE)
    for name, block in _LEVEL3.items():
        tables["low_level2"][block // BLOCK_SIZE] = link[name]
    for mapped in el3_mappings(layout):
        for address in range(mapped.base, mapped.end, 1 << mapped.shift):
            descriptor = address | mapped.attributes | AP_RES1 | ACCESS_FLAG
            if mapped.shift == 30:
                tables["level1"][address // GIB] = descriptor | BLOCK
            elif mapped.shift == 21:
                tables["dram_level2"][address // BLOCK_SIZE - whole * (GIB // BLOCK_SIZE)] = descriptor | BLOCK
            else:
                name = next(name for name, block in _LEVEL3.items() if block == address // BLOCK_SIZE * BLOCK_SIZE)
                tables[name][address % BLOCK_SIZE // PAGE_SIZE] = descriptor | PAGE
    return tables


_LEVEL3 = {
    "sram_level3": SECURE_SRAM.base,
    "gic_level3": GIC_DISTRIBUTOR.base,
    "uart_level3": UART1.base // BLOCK_SIZE * BLOCK_SIZE,
    "filter_level3": TZASC.base // BLOCK_SIZE * BLOCK_SIZE,
    "npu_level3": NPU_CONTROL.base // BLOCK_SIZE * BLOCK_SIZE,
}


def _loaded(layout: Layout, address: int, size: int) -> bytes:
    """What the image's segments put there."""
    data = bytearray(size)
    for segment in layout.image.segments:
        first, last = max(address, segment.address), min(address + size, segment.address + len(segment.data))
        if first < last:
            data[first - address : last - address] = segment.data[first - segment.address : last - segment.address]
    return bytes(data)


def _differing_bytes(what: str, base: int, found: bytes, wanted: bytes) -> Iterator[str]:
    if found != wanted:
        places = np.nonzero(np.frombuffer(found, np.uint8) != np.frombuffer(wanted, np.uint8))[0]
        yield f"{what} is not its image's: {len(places)} bytes differ, from {base + int(places[0]):#x} on"
