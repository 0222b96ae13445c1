"""ERET, legal and illegal: every mode from every level, execution states that do not fit, odd addresses, odd bits."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fidelity.case import DAIF, HCR_RW, SCR, SCR_NS, SCR_RW, Case, load, write

HCR_TGE = 1 << 27
PLACES = {
    "el1": (1, SCR | SCR_NS),
    "s-el1": (1, SCR),
    "el2": (2, SCR | SCR_NS),
    "el3": (3, SCR | SCR_NS),
    "el3-ns0": (3, SCR),
}
MODES = [mode for mode in range(32) if mode != 0b10000]  # which is AArch32 at EL0
SINGLE_STEP, ILLEGAL, FLAGS = 1 << 21, 1 << 20, 0xA << 28


def go(level: int, spsr: int, offset: int = 0) -> list[str]:
    """Return to the next instruction, which leaves a mark before the end of the body."""
    return [
        *load("x1", spsr),
        f"msr spsr_el{level}, x1",
        "adr x2, 1f",
        f"add x2, x2, #{offset}",
        f"msr elr_el{level}, x2",
        "eret",
        "1: mov x3, #0x51",
        "nop",
    ]


def modes() -> Iterator[Case]:
    for place, (level, scr) in PLACES.items():
        for mode in MODES:
            yield Case(f"eret/{place}-mode-{mode:05b}", level, go(level, DAIF | mode), scr=scr)
        own = level << 2 | 1
        for name, bits in (("il", ILLEGAL), ("ss", SINGLE_STEP), ("flags", FLAGS), ("res", 0x0FC0_FC00)):
            for mode in (own, own & ~1, 0):
                body = go(level, DAIF | bits | mode)
                yield Case(f"eret/{place}-{name}-{mode:05b}", level, body, scr=scr)
        for offset in (1, 2, 3):
            for mode in (own, 0):
                yield Case(f"eret/{place}-offset-{offset}-{mode:05b}", level, go(level, DAIF | mode, offset), scr=scr)


def states() -> Iterator[Case]:
    """Execution states and HCR_EL2.TGE."""
    for mode in (0, 4, 5, 8, 9, 12, 13):
        body = go(3, DAIF | mode)
        if mode in (8, 9, 12, 13):
            yield Case(f"eret/el3-rw0-mode-{mode:05b}", 3, body, scr=SCR & ~SCR_RW | SCR_NS)
        if mode:  # EL0 below an AArch32 EL1 is illegal too, but neither side knows
            yield Case(f"eret/el3-s-rw0-mode-{mode:05b}", 3, body, scr=SCR & ~SCR_RW)
            yield Case(f"eret/el3-hcr-rw0-mode-{mode:05b}", 3, body, write("HCR_EL2", 0), scr=SCR | SCR_NS)
        body = go(2, DAIF | mode)
        yield Case(f"eret/el2-tge-mode-{mode:05b}", 2, body, write("HCR_EL2", HCR_RW | HCR_TGE))
        if mode:
            yield Case(f"eret/el2-hcr-rw0-mode-{mode:05b}", 2, body, write("HCR_EL2", 0))
        body = go(3, DAIF | mode)
        yield Case(f"eret/el3-tge-mode-{mode:05b}", 3, body, write("HCR_EL2", HCR_RW | HCR_TGE), scr=SCR | SCR_NS)


def cases() -> Iterator[Case]:
    yield from modes()
    yield from states()
    for place, (level, scr) in PLACES.items():
        aarch32 = [*go(level, DAIF | 0b10000)[:-2], "1: .word 0xef000000", "b ."]  # SVC in A32, then in A64
        yield Case(f"eret/{place}-to-aarch32", level, aarch32, scr=scr)
    yield Case("eret/el0-undefined", 0, ["eret"])
    for level, spsr in ((1, DAIF | 5), (2, DAIF | 9), (3, DAIF | 13)):
        wrong = spsr | 2  # no such mode
        for name, instruction in (("svc", "svc #1"), ("udf", "udf #1"), ("branch", "b 2f"), ("load", "ldr x4, [x5]")):
            body = [*go(level, wrong)[:-2], f"1: {instruction}", "2: nop"]
            yield Case(f"eret/illegal-state-before-{name}-el{level}", level, body)
        body = [*go(level, wrong)[:-2], "1: nop"]
        yield Case(f"eret/illegal-state-clears-el{level}", level, body)
