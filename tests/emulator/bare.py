"""Bare machines for tests: a filter that lets everything pass, assembled guest code, registers by name."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from emulator.core import SYSTEM_REGISTERS
from emulator.image import Image
from emulator.machine import Machine
from emulator.memory_map import DRAM_MIN, DramLayout
from emulator.native import ffi, lib

CODE = 0x4200_0000
COMPILER = (
    *(sys.executable, "-m", "ziglang", "cc"),
    *("-target", "aarch64-freestanding-none", "-mcpu=generic+el3"),
    *("-nostdlib", "-static", "-x", "assembler-with-cpp"),
)


def bare_machine(dram_bytes: int = DRAM_MIN) -> Machine:
    """A machine whose TZASC lets everybody read and write all of DRAM."""
    machine = Machine(DramLayout(dram_bytes))
    open_dram(machine)
    return machine


def open_dram(machine: Machine) -> None:
    """As a board without a TZASC."""
    set_region(machine, 0)
    lib.tzasc_set_control(machine.native, True, True)


def set_region(
    machine: Machine, index: int, base: int = 0, top: int = (1 << 44) - 1, secure: str = "rw", normal: str = "rw"
) -> None:
    """TZASC region ``index`` over ``base`` to ``top`` (inclusive); ``normal`` speaks of every NSAID."""
    region = ffi.new("struct tzasc_region *")
    region.base, region.top, region.enabled = base, top, True
    region.secure_read, region.secure_write = "r" in secure, "w" in secure
    region.normal_read = 0xFFFF if "r" in normal else 0
    region.normal_write = 0xFFFF if "w" in normal else 0
    lib.tzasc_set_region(machine.native, index, region)


def read_register(machine: Machine, name: str) -> int:
    return int(lib.core_read_sysreg(machine.native, *SYSTEM_REGISTERS[name]))


def write_register(machine: Machine, name: str, value: int) -> None:
    lib.core_write_sysreg(machine.native, *SYSTEM_REGISTERS[name], value)


def assemble(source: str, address: int = CODE) -> Image:
    """Assemble and link at ``address``; what was assembled once in this session is not assembled again."""
    digest = hashlib.sha256(f"{address:#x} {source}".encode()).hexdigest()
    if digest not in _assembled:
        _assembled[digest] = _assemble(source, address)
    return _assembled[digest]


_assembled: dict[str, Image] = {}


def _assemble(source: str, address: int) -> Image:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "guest.S").write_text(f".global _start\n{source}\n")
        (folder / "guest.ld").write_text(f"ENTRY(_start) SECTIONS {{ . = {address:#x}; .text : {{ *(.text*) }} }}\n")
        files = [str(folder / "guest.S"), "-o", str(folder / "guest.elf"), "-T", str(folder / "guest.ld")]
        done = subprocess.run([*COMPILER, *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return Image.load(folder / "guest.elf")


# --- a guest: code with vector tables that stop, entered at any level -------------------------------------------------

VECTOR_BYTES = 0x800
PRELUDE = """
_start: eret
.macro stopping_vectors
.balign 0x800
.rept 16
    wfi
    b .
    .balign 0x80
.endr
.endm
.balign 0x800
stopping_vectors
stopping_vectors
stopping_vectors
"""
ENTER = CODE
VECTORS = {1: CODE + VECTOR_BYTES, 2: CODE + 2 * VECTOR_BYTES, 3: CODE + 3 * VECTOR_BYTES}
HCR_RW = 1 << 31
SCR_RW = 1 << 10
SCR_NS = 1 << 0
SCR_HCE = 1 << 8
CPACR_FPEN = 3 << 20  # floating point is not trapped
DAIF = 0x3C0
EL3H = 0b1101
PSTATE = 33  # index of the core's register file, as api.h numbers it


class Guest:
    """A bare machine with assembled code in it.

    Every exception stops at its vector (`vector` says which), unless the test points a VBAR elsewhere.
    """

    def __init__(self, source: str) -> None:
        self.machine = bare_machine()
        self.core = self.machine.core
        self.image = assemble(PRELUDE + source)
        self.machine.load(self.image)
        self.machine.reset(ENTER)
        self["SCR_EL3"] = SCR_RW | SCR_NS | SCR_HCE
        self["HCR_EL2"] = HCR_RW
        self["CPACR_EL1"] = CPACR_FPEN
        for level, base in VECTORS.items():
            self[f"VBAR_EL{level}"] = base

    def __getitem__(self, register: str) -> int:
        return read_register(self.machine, register)

    def __setitem__(self, register: str, value: int) -> None:
        write_register(self.machine, register, value)

    def at(self, symbol: str) -> int:
        return self.image.symbols[symbol]

    def enter(self, symbol: str, level: int, *, own_stack: bool = True, masked: int = DAIF) -> None:
        """Through EL3 and an ERET: the next instruction is the one at ``symbol``, at EL ``level``."""
        self.core.x[PSTATE] = DAIF | EL3H
        self.core.pc = ENTER
        self["SCR_EL3"] = self["SCR_EL3"]  # makes the engine look at PSTATE again
        if level == 3:
            self.core.pc = self.at(symbol)
            return
        self["SPSR_EL3"] = masked | level << 2 | (own_stack and level > 0)
        self["ELR_EL3"] = self.at(symbol)
        self.machine.run(self.machine.instructions + 1)

    def vector(self) -> tuple[int, int]:
        """Run to a stop at a vector: its exception level and its offset in the table."""
        pc = self.machine.run(self.machine.instructions + 1_000_000).pc
        for level, base in VECTORS.items():
            if 0 <= pc - base < VECTOR_BYTES:
                return level, pc - base
        raise AssertionError(f"the guest stopped at {pc:#x}, at no vector")


# --- page tables ------------------------------------------------------------------------------------------------------

TABLES = 0x4300_0000
DEVICE_ATTRIBUTE, NORMAL_ATTRIBUTE = 0, 1
MAIR = 0xFF04
AF = 1 << 10
NORMAL = AF | NORMAL_ATTRIBUTE << 2 | 0b11 << 8
DEVICE = AF | DEVICE_ATTRIBUTE << 2
EL0 = 1 << 6
READ_ONLY = 1 << 7
NS = 1 << 5
PXN = 1 << 53
UXN = 1 << 54
STAGE2 = AF | 0b1111 << 2 | 0b11 << 8
STAGE2_READ, STAGE2_WRITE, STAGE2_XN = 1 << 6, 1 << 7, 1 << 54
STAGE2_RW = STAGE2 | STAGE2_READ | STAGE2_WRITE
TCR_EL1 = 25 | 25 << 16 | 0b10 << 30 | 0b101 << 32
TCR_HIGHER = 25 | 0b101 << 16
VTCR = 25 | 0b01 << 6 | 0b101 << 16


class PageTable:
    """Tables of 39-bit addresses, from level 1 down, in the pages from ``base`` on."""

    def __init__(self, machine: Machine, base: int = TABLES) -> None:
        self.machine = machine
        self.base = base
        self._next = base + 0x1000

    def map(self, address: int, output: int, flags: int, size: int = 0x1000) -> None:
        """One block or page: ``size`` is 4 KiB, 2 MiB or 1 GiB."""
        level = {0x1000: 3, 0x20_0000: 2, 0x4000_0000: 1}[size]
        self._write(self.entry(address, level), output | flags | (0b11 if level == 3 else 0b01))

    def unmap(self, address: int, level: int = 3) -> None:
        self._write(self.entry(address, level), 0)

    def entry(self, address: int, level: int) -> int:
        """Where the descriptor of ``address`` at ``level`` lies; the tables above it come into being."""
        table = self.base
        for step in range(1, level):
            at = table + (address >> (39 - 9 * step) & 0x1FF) * 8
            table = self._read(at) & 0xFFFF_FFFF_F000
            if not table:
                table, self._next = self._next, self._next + 0x1000
                self._write(at, table | 0b11)
        return table + (address >> (39 - 9 * level) & 0x1FF) * 8

    def _read(self, address: int) -> int:
        return int.from_bytes(self.machine.read_physical(address, 8), "little")

    def _write(self, address: int, descriptor: int) -> None:
        self.machine.write_physical(address, descriptor.to_bytes(8, "little"))
