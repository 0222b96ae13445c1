"""The interrupt controller in cases: code that programs it, from EL3 in the secure view, and that puts it back."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fidelity.case import load

GICD, GICC = 0x0800_0000, 0x0801_0000

D_CTLR, IGROUPR, ISENABLER, ICENABLER, ISPENDR, ICPENDR, ISACTIVER, ICACTIVER = (
    0x000, 0x080, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380,
)  # fmt: skip
IPRIORITYR, ITARGETSR, ICFGR, SGIR, CPENDSGIR, SPENDSGIR = 0x400, 0x800, 0xC00, 0xF00, 0xF10, 0xF20
C_CTLR, PMR, BPR, IAR, EOIR, RPR, HPPIR, ABPR, APR, NSAPR, DIR = (
    0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C, 0xD0, 0xE0, 0x1000,
)  # fmt: skip

GROUPS, FIQ_ENABLE = 3, 8


def stores(base: int, values: dict[int, int]) -> list[str]:
    """32-bit stores with x8 as the base and x7 for the values."""
    lines = load("x8", base)
    for offset, value in values.items():
        lines += [*load("x7", value), f"str w7, [x8, #{offset}]"]
    return lines


def reset() -> list[str]:
    """The controller as it comes out of reset, as far as cases use it: interrupts 0 to 63."""
    return ["mov x6, x30", "bl reset_controller", "mov x30, x6"]


def to_self(number: int, group1: bool) -> int:
    """GICD_SGIR for an SGI to the core itself."""
    return number | group1 << 15 | 2 << 24


@dataclass(frozen=True)
class Interrupt:
    """One interrupt as a case has it at the beginning."""

    id: int
    group1: bool = True
    priority: int = 0x80
    pending: bool = True
    enabled: bool = True


def program(
    interrupts: list[Interrupt],
    *,
    control: int = GROUPS | FIQ_ENABLE,
    mask: int = 0xFF,
    more: dict[int, int] | None = None,
) -> list[str]:
    """Groups, priorities and what is pending; then GICC_CTLR ``control``, GICC_PMR ``mask`` and ``more`` of GICC."""
    words: dict[int, int] = {}
    for interrupt in interrupts:
        word, bit = interrupt.id // 32 * 4, 1 << interrupt.id % 32
        for array, wanted in ((IGROUPR, interrupt.group1), (ISENABLER, interrupt.enabled)):
            words[array + word] = words.get(array + word, 0) | (bit if wanted else 0)
        priority = IPRIORITYR + interrupt.id // 4 * 4
        words[priority] = words.get(priority, 0) | interrupt.priority << interrupt.id % 4 * 8
    for interrupt in interrupts:
        if interrupt.pending and interrupt.id >= 16:
            word = ISPENDR + interrupt.id // 32 * 4
            words[word] = words.get(word, 0) | 1 << interrupt.id % 32
    words[D_CTLR] = GROUPS
    generated = [
        line
        for interrupt in interrupts
        if interrupt.pending and interrupt.id < 16
        for line in stores(GICD, {SGIR: to_self(interrupt.id, interrupt.group1)})
    ]
    return [*stores(GICD, words), *generated, *stores(GICC, {PMR: mask, **(more or {}), C_CTLR: control})]
