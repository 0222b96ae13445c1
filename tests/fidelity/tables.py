"""Translation tables for cases: the descriptors and the setup code that writes them.

Each table of a set has 64 KiB of its own, so that any granule fits. The code (harness and bodies) is mapped where it
lies, read-only for every level and executable, and one address of its own, `WHERE`, is what a case is about.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.fidelity.case import DATA, HCR_RW, SCTLR_EL1, SCTLR_HIGHER, TABLES, load, poke, write

WHERE = 0x8A00_0000  # by a block of any size or a page it reaches DATA
STRIDE = 0x1_0000
STAGE2_TABLES = TABLES + 8 * STRIDE
UPPER_TABLES = TABLES + 16 * STRIDE  # of TTBR1, where the code must not depend on them

VALID, TABLE = 1, 3
AF, NON_GLOBAL, NS = 1 << 10, 1 << 11, 1 << 5
EL0, READ_ONLY = 1 << 6, 1 << 7
PXN, UXN, CONTIGUOUS = 1 << 53, 1 << 54, 1 << 52
UXN_TABLE, PXN_TABLE, NO_EL0_TABLE, READ_ONLY_TABLE, NS_TABLE = 1 << 60, 1 << 59, 1 << 61, 1 << 62, 1 << 63
INNER = 0b11 << 8
LEAF = AF | INNER | EL0  # read and write for all, attribute 0
CODE = AF | INNER | EL0 | READ_ONLY
ATTRIBUTES = 0x4404_0C04_00FF  # Normal, nGnRnE, nGnRE, GRE, nGnRE, Normal non-cacheable
DEVICE = 1 << 2

S2_READ, S2_WRITE, S2_XN = 1 << 6, 1 << 7, 1 << 54
S2_LEAF = AF | INNER | 0b1111 << 2 | S2_READ | S2_WRITE

SIZE = 25  # T0SZ: 39 bits
TCR_EL1 = SIZE | SIZE << 16 | 0b10 << 30 | 0b101 << 32
TCR_HIGHER = SIZE | 0b101 << 16
VTCR = SIZE | 0b01 << 6 | 0b101 << 16
SCTLR_M, SCTLR_A, SCTLR_WXN = 1, 2, 1 << 19
HCR_VM = 1


@dataclass(frozen=True)
class Granule:
    """``bits``: log2 of a page's size; levels resolve ``bits`` - 3 each."""

    bits: int
    tg0: int  # TCR_ELx.TG0, VTCR_EL2.TG0
    tg1: int

    def shift(self, level: int) -> int:
        return self.bits + (self.bits - 3) * (3 - level)

    def start(self, input_bits: int) -> int:
        """The level of the first table."""
        return 4 - -(-(input_bits - self.bits) // (self.bits - 3))

    def index(self, address: int, level: int, start: int, input_bits: int) -> int:
        width = input_bits - self.shift(level) if level == start else self.bits - 3
        return address >> self.shift(level) & (1 << width) - 1


K4, K16, K64 = Granule(12, 0b00, 0b10), Granule(14, 0b10, 0b01), Granule(16, 0b01, 0b11)
CODE_LEVEL = {K4: 1, K16: 2, K64: 2}


def chain(
    base: int,
    address: int,
    level: int,
    descriptor: int,
    *,
    granule: Granule = K4,
    input_bits: int = 39,
    start: int | None = None,
    above: int = 0,
) -> dict[int, int]:
    """Where each descriptor on the way to ``address`` lies and its value; ``above`` is added to the tables'."""
    first = granule.start(input_bits) if start is None else start
    entries = {}
    for step in range(first, level + 1):
        at = base + step * STRIDE + granule.index(address, step, first, input_bits) * 8
        entries[at] = base + (step + 1) * STRIDE | TABLE | above if step < level else descriptor
    return entries


def leaf(address: int, level: int, flags: int, granule: Granule = K4) -> int:
    """A block or page descriptor of what lies around ``address``."""
    shift = granule.shift(level)
    return address >> shift << shift | flags | (TABLE if level == 3 else VALID)


def stage1_entries(
    level: int,
    descriptor: int | None = None,
    flags: int = LEAF,
    *,
    where: int = WHERE,
    granule: Granule = K4,
    above: int = 0,
    input_bits: int = 39,
    base: int = TABLES,
) -> dict[int, int]:
    """WHERE with a leaf (or any descriptor) at ``level``, and the code."""
    what = leaf(DATA, level, flags, granule) if descriptor is None else descriptor
    code_level = CODE_LEVEL[granule]
    code = leaf(0x4800_0000, code_level, CODE, granule)
    return {
        **chain(base, 0x4800_0000, code_level, code, granule=granule, input_bits=input_bits),
        **chain(base, where, level, what, above=above, granule=granule, input_bits=input_bits),
    }


def stage2_entries(
    level: int, descriptor: int | None = None, flags: int = S2_LEAF, *, where: int = WHERE, granule: Granule = K4
) -> dict[int, int]:
    """The same of stage 2. All of DRAM but WHERE is mapped where it lies."""
    what = leaf(DATA, level, flags, granule) if descriptor is None else descriptor
    code_level = CODE_LEVEL[granule]
    return {
        **chain(
            STAGE2_TABLES, 0x4800_0000, code_level, leaf(0x4800_0000, code_level, S2_LEAF, granule), granule=granule
        ),
        **chain(STAGE2_TABLES, where, level, what, granule=granule),
    }


def store(entries: dict[int, int]) -> list[str]:
    return [line for address, value in entries.items() for line in poke(address, value)]


def root(base: int, granule: Granule = K4, input_bits: int = 39) -> int:
    return base + granule.start(input_bits) * STRIDE


def upper(bits: int = 39) -> int:
    """WHERE in the half of TTBR1, of 2 ** ``bits`` bytes."""
    return (1 << 64) - (1 << bits) | WHERE


def enable_stage1(
    level: int, sctlr: int = 0, tcr: int | None = None, ttbr: int | None = None, ttbr1: int | None = None
) -> list[str]:
    """Stage 1 of EL1&0, EL2 or EL3 on the set at TABLES; ``sctlr``: further bits to set."""
    table = root(TABLES) if ttbr is None else ttbr
    if level <= 1:
        return [
            *write("MAIR_EL1", ATTRIBUTES),
            *write("TCR_EL1", TCR_EL1 if tcr is None else tcr),
            *write("TTBR0_EL1", table),
            *write("TTBR1_EL1", table if ttbr1 is None else ttbr1),
            *write("SCTLR_EL1", SCTLR_EL1 | SCTLR_M | sctlr),
        ]
    return [
        *write(f"MAIR_EL{level}", ATTRIBUTES),
        *write(f"TCR_EL{level}", TCR_HIGHER if tcr is None else tcr),
        *write(f"TTBR0_EL{level}", table),
        *(write(f"SCTLR_EL{level}", SCTLR_HIGHER | SCTLR_M | sctlr) if level == 2 else []),
    ]


def turn_on_el3(sctlr: int = 0) -> list[str]:
    """EL3's MMU goes on in the body: the setup and the way to it need none."""
    return write("SCTLR_EL3", SCTLR_HIGHER | SCTLR_M | sctlr)


def enable_stage2(vtcr: int = VTCR, hcr: int = 0, vttbr: int | None = None) -> list[str]:
    table = root(STAGE2_TABLES) if vttbr is None else vttbr
    return [*write("VTCR_EL2", vtcr), *write("VTTBR_EL2", table), *write("HCR_EL2", HCR_RW | HCR_VM | hcr)]


def access(kind: str, address: int = WHERE) -> list[str]:
    """A read, a write or a fetch."""
    how = {"read": "ldr x1, [x2]", "write": "str x1, [x2]", "fetch": "br x2"}[kind]
    return [*load("x2", address), how]
