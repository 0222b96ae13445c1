"""The monitor's state as it stands in guest memory: the page-ownership table and the tables that must agree with it.

Everything is read past the filters, as a debugger on the bus would, and without executing anything.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.devices.smmu_structures import StreamConfig, StreamTableEntry
from emulator.memory_map import DRAM_BASE, GIB, PAGE_SIZE, DramLayout, StreamId
from monitor.abi import REGION_SHIFT, REVOKED, PageState, Region
from monitor.memory import REVERSE_WRITE

Pages: TypeAlias = NDArray[np.uint64]

STREAM_ENTRY_BYTES = 64
_ENTRIES = 512
_VALID = np.uint64(1)
_OUTPUT = np.uint64(0x0000_FFFF_FFFF_F000)


class PhysicalMemory(Protocol):
    """Guest memory past every filter."""

    def read_physical(self, address: int, size: int) -> bytes: ...


@dataclass(frozen=True)
class Ownership:
    """One byte a page of DRAM, as ``monitor.abi`` lays it out."""

    entries: NDArray[np.uint8]

    def state(self, address: int) -> PageState:
        return PageState(int(self.entries[page_index(address)]) & 7)

    def is_revoked(self, address: int) -> bool:
        return bool(self.entries[page_index(address)] & REVOKED)

    def region(self, address: int) -> Region:
        return Region(int(self.entries[page_index(address)]) >> REGION_SHIFT)

    def pages_in(self, *states: PageState) -> Pages:
        """Physical addresses of the pages that are in one of ``states``, ascending."""
        found = np.isin(self.entries & 7, [int(state) for state in states])
        return np.nonzero(found)[0].astype(np.uint64) * PAGE_SIZE + DRAM_BASE


def page_index(address: int) -> int:
    """Number of the DRAM page that holds ``address``."""
    return (address - DRAM_BASE) // PAGE_SIZE


def read_ownership(memory: PhysicalMemory, layout: DramLayout) -> Ownership:
    return Ownership(np.frombuffer(memory.read_physical(layout.ownership_base, layout.pages), dtype=np.uint8))


@dataclass(frozen=True)
class Mapping:
    """The pages that a stage-2 table maps: input address, output address, and the descriptor, page by page."""

    inputs: Pages
    outputs: Pages
    descriptors: Pages

    def reaches(self, physical: int) -> bool:
        return bool(np.any(self.outputs == np.uint64(physical & ~(PAGE_SIZE - 1))))


def read_stage2(memory: PhysicalMemory, root: int) -> Mapping:
    """Every page that the table at ``root`` maps (start level 1, as the monitor's VTCR_EL2 has it)."""
    inputs, outputs, descriptors = [], [], []
    for gib, level1 in _tables(memory, root):
        for block, level2 in _tables(memory, level1):
            leaves = _read_table(memory, level2)
            valid = np.nonzero(leaves & _VALID)[0].astype(np.uint64)
            base = gib * GIB + block * PAGE_SIZE * _ENTRIES
            inputs.append(valid * PAGE_SIZE + np.uint64(base))
            outputs.append(leaves[valid] & _OUTPUT)
            descriptors.append(leaves[valid])
    empty = np.zeros(0, dtype=np.uint64)
    return Mapping(*(np.concatenate(part) if part else empty for part in (inputs, outputs, descriptors)))


@dataclass(frozen=True)
class Stream:
    """A stage-2 entry of the SMMU's stream table."""

    root: int
    vmid: int
    input_bits: int


def read_stream(memory: PhysicalMemory, table: int, stream: StreamId) -> Stream | None:
    """What the SMMU does with a stream, by its table in memory; None: every access is refused. Raises ValueError."""
    entry = StreamTableEntry()
    words = struct.unpack("<4Q", memory.read_physical(table + stream * STREAM_ENTRY_BYTES, 32))
    entry.values.update(zip(range(0, 32, 8), words, strict=True))
    config = entry.WORD0["config"]
    if not entry.WORD0["v"] or config == StreamConfig.ABORT:
        return None
    if config != StreamConfig.STAGE2:
        raise ValueError(f"stream {stream.name} is configured as {config}; the monitor uses stage 2 only")
    return Stream(entry.WORD3["s2ttb"] << 4, entry.WORD2["s2vmid"], 64 - entry.WORD2["s2t0sz"])


def read_reverse_table(memory: PhysicalMemory, layout: DramLayout) -> dict[int, int]:
    """The monitor's note of what the NPU maps in secure mode: physical address to IOVA."""
    table = np.frombuffer(memory.read_physical(layout.secure_end, 4 * layout.pages), dtype=np.uint32)
    words = table & (REVERSE_WRITE - 1)
    return {DRAM_BASE + int(i) * PAGE_SIZE: (int(words[i]) - 1) * PAGE_SIZE for i in np.nonzero(words)[0]}


def _tables(memory: PhysicalMemory, address: int) -> list[tuple[int, int]]:
    """Index and address of every next-level table; the monitor uses no blocks."""
    entries = _read_table(memory, address)
    tables = np.nonzero((entries & _VALID) & (entries >> np.uint64(1)))[0]
    if len(tables) != np.count_nonzero(entries & _VALID):
        raise ValueError(f"the stage-2 table at {address:#x} holds blocks; the monitor maps pages only")
    return [(int(index), int(entries[index] & _OUTPUT)) for index in tables]


def _read_table(memory: PhysicalMemory, address: int) -> Pages:
    return np.frombuffer(memory.read_physical(address, PAGE_SIZE), dtype=np.uint64)
