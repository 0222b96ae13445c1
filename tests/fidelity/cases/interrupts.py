"""Where interrupts go and what masks them: physical ones by SCR_EL3, HCR_EL2 and PSTATE, virtual ones by HCR_EL2."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import DAIF, HCR_RW, SCR, SCR_NS, Case, load, write
from tests.fidelity.controller import Interrupt, program, reset

SPI = 40
SCR_IRQ, SCR_FIQ = 1 << 1, 1 << 2
FMO, IMO, AMO, VF, VI, VSE, TGE = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 27
MASK_F, MASK_I, MASK_A = 1 << 6, 1 << 7, 1 << 8
PLACES = [(0, False), (1, False), (0, True), (1, True), (2, True), (3, False), (3, True)]
BODY = ["mov x1, #1", "mov x2, #2"]


def place(level: int, normal: bool) -> str:
    return f"{'n' if normal else 's'}-el{level}"


def pending(kind: str) -> list[str]:
    return [*reset(), *program([Interrupt(SPI, group1=kind == "irq")])]


def legal(level: int, normal: bool, hcr: int) -> bool:
    """Whether EL3 can return there."""
    return not (hcr & TGE and level == 1 and normal)


def physical() -> Iterator[Case]:
    routes = [0, IMO, FMO, IMO | FMO, TGE, TGE | IMO | FMO]
    for kind, scr, hcr, (level, normal), masks in product(
        ("irq", "fiq"), (0, SCR_IRQ, SCR_FIQ, SCR_IRQ | SCR_FIQ), routes, PLACES, (0, MASK_I, MASK_F, DAIF)
    ):
        if not legal(level, normal, hcr) or (not normal and hcr not in (0, IMO | FMO)):
            continue
        yield Case(
            f"interrupt/{kind}-{place(level, normal)}-scr{scr:x}-hcr{hcr:x}-daif{masks:x}",
            level,
            BODY,
            setup=[*pending(kind), *write("HCR_EL2", HCR_RW | hcr)],
            cleanup=reset(),
            scr=SCR | scr | (SCR_NS if normal else 0),
            pstate=masks,
        )


def virtual() -> Iterator[Case]:
    for bits, routes, (level, normal), masks in product(
        (VI, VF, VSE, VI | VF, VI | VF | VSE),
        (0, IMO, FMO, AMO, IMO | FMO | AMO, TGE | IMO | FMO | AMO),
        PLACES,
        (0, MASK_I, MASK_F, MASK_A, DAIF),
    ):
        if not legal(level, normal, routes):
            continue
        yield Case(
            f"virtual/{place(level, normal)}-hcr{bits | routes:x}-daif{masks:x}",
            level,
            BODY,
            setup=write("HCR_EL2", HCR_RW | bits | routes),
            normal=normal,
            pstate=masks,
        )


def both() -> Iterator[Case]:
    """A physical and a virtual one at once, and what ISR_EL1 says of them."""
    for kind, bits, routes, (level, normal) in product(
        ("irq", "fiq", ""), (0, VI, VF, VSE, VI | VF | VSE), (0, IMO, FMO, AMO, IMO | FMO | AMO), PLACES
    ):
        setup = [*(pending(kind) if kind else []), *write("HCR_EL2", HCR_RW | bits | routes)]
        name = f"{kind or 'none'}-{place(level, normal)}-hcr{bits | routes:x}"
        if level:
            yield Case(f"isr/{name}", level, ["mrs x1, isr_el1"], setup, reset(), normal=normal)
            yield Case(
                f"wfi/pending-{name}",
                level,
                ["wfi", "mov x1, #1"] if kind or bits else ["mov x1, #1"],
                setup,
                reset(),
                normal=normal,
            )
        yield Case(f"both/{name}", level, BODY, setup, reset(), normal=normal, pstate=0)


def unmasking() -> Iterator[Case]:
    """The instruction after the one that unmasks is the first that waits."""
    ways = {
        "daifclr-i": ["msr daifclr, #2"],
        "daifclr-f": ["msr daifclr, #1"],
        "daifclr-if": ["msr daifclr, #3"],
        "daif": ["msr daif, xzr"],
        "daif-i": [*load("x3", MASK_F), "msr daif, x3"],
        "eret": ["adr x3, 1f", "msr elr_el1, x3", "msr spsr_el1, xzr", "eret", "1:"],
        "eret-same": ["adr x3, 1f", "msr elr_el1, x3", "mov x4, #5", "msr spsr_el1, x4", "eret", "1:"],
        "set-again": ["msr daifclr, #3", "msr daifset, #3"],
    }
    for (name, way), kind, normal in product(ways.items(), ("irq", "fiq"), (False, True)):
        yield Case(
            f"unmask/{name}-{kind}-{place(1, normal)}",
            1,
            ["mov x1, #1", *way, "mov x2, #2", "mov x5, #5"],
            pending(kind),
            reset(),
            normal=normal,
        )
    for kind, bit, route in (("irq", VI, IMO), ("fiq", VF, FMO)):
        for name, way in ways.items():
            setup = write("HCR_EL2", HCR_RW | bit | route)
            yield Case(f"unmask/{name}-virtual-{kind}", 1, ["mov x1, #1", *way, "mov x2, #2"], setup)
    for kind, scr in (("irq", SCR_IRQ), ("fiq", SCR_FIQ)):
        body = [*write("SCR_EL3", SCR | SCR_NS | scr, "x3"), "mov x2, #2"]
        yield Case(f"unmask/scr-{kind}", 3, body, pending(kind), reset(), pstate=0)
    for kind, route in (("irq", IMO), ("fiq", FMO)):
        body = [*load("x3", HCR_RW | route), "msr hcr_el2, x3", "mov x2, #2"]
        yield Case(f"unmask/hcr-{kind}", 2, body, pending(kind), reset(), pstate=0)


def cases() -> Iterator[Case]:
    yield from physical()
    yield from virtual()
    yield from both()
    yield from unmasking()
