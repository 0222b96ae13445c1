"""A core parked at NS-EL1 with its MMU on, and memory behind a port whose neighbouring pages are not neighbours."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from emulator.machine import Machine
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, DramLayout
from emulator.native import ffi, lib
from emulator.world import World

WINDOW = 0x10_0000_0000
TABLES = DRAM_BASE
FRAMES = DRAM_BASE + 0x40_0000
ENTRIES = 512
TABLE = 0b11
PAGE = 0b11 | 1 << 5 | 1 << 10 | 0b11 << 8 | 1 << 2  # NS, AF, inner shareable, MAIR attribute 1
SCR_NS = 1
PSTATE = 33  # index of the core's register file, as api.h numbers it
EL1H = 0b0101
MMU_ON = 1
T0SZ_39_BITS = 25 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8 | 1 << 23 | 0b010 << 32
MAIR = 0xFF04


class Guest:
    """``pages`` writable pages from ``WINDOW``; ``put`` places objects one behind the other, from any offset on."""

    def __init__(self, pages: int = 256, dram_bytes: int = 64 << 20) -> None:
        self.machine = Machine(DramLayout(dram_bytes))
        region = ffi.new("struct tzasc_region *")
        region.base, region.top, region.enabled = 0, (1 << 44) - 1, True
        region.normal_read = region.normal_write = 0xFFFF
        lib.tzasc_set_region(self.machine.native, 0, region)
        lib.tzasc_set_control(self.machine.native, True, True)
        self._map(pages)
        core = self.machine.core
        core.write_sysreg("SCR_EL3", SCR_NS | 1 << 10)
        core.write_sysreg("MAIR_EL1", MAIR)
        core.write_sysreg("TCR_EL1", T0SZ_39_BITS)
        core.write_sysreg("TTBR0_EL1", TABLES)
        core.write_sysreg("SCTLR_EL1", MMU_ON)
        core.x[PSTATE] = EL1H
        self.port = self.machine.port(World.NORMAL)
        self.end = WINDOW + pages * PAGE_SIZE
        self._next = WINDOW

    def _map(self, pages: int) -> None:
        level3_tables = -(-pages // ENTRIES)
        level2, level3 = TABLES + PAGE_SIZE, TABLES + 2 * PAGE_SIZE
        self.machine.write_physical(TABLES + (WINDOW >> 30) % ENTRIES * 8, struct.pack("<Q", level2 | TABLE))
        next_tables = [level3 + index * PAGE_SIZE | TABLE for index in range(level3_tables)]
        self.machine.write_physical(level2, struct.pack(f"<{level3_tables}Q", *next_tables))
        frames = [FRAMES + self.scattered(index, pages) * PAGE_SIZE | PAGE for index in range(pages)]
        self.machine.write_physical(level3, struct.pack(f"<{pages}Q", *frames))

    @staticmethod
    def scattered(index: int, pages: int) -> int:
        """A permutation of the pages in which no two neighbours stay neighbours."""
        half = (pages + 1) // 2
        return 2 * (half - 1 - index) if index < half else 2 * (pages - 1 - index) + 1

    def skip(self, size: int, alignment: int = 8) -> int:
        """Room for ``size`` bytes at the next multiple of ``alignment``: its address."""
        address = -(-self._next // alignment) * alignment
        self._next = address + -(-size // 8) * 8
        assert self._next <= self.end
        return address

    def put(self, data: bytes | npt.NDArray[np.generic], alignment: int = 8) -> int:
        """Write ``data`` into new room: its address."""
        raw = data if isinstance(data, bytes) else data.tobytes()
        address = self.skip(len(raw), alignment)
        self.port.write(address, raw)
        return address

    def floats(self, address: int, count: int) -> npt.NDArray[np.float32]:
        return np.frombuffer(self.port.read(address, 4 * count), np.dtype("<f4"))
