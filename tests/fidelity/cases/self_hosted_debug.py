"""Self-hosted debug: software step, breakpoints, watchpoints, and what routes and masks them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fidelity.case import BOUNDARY, SCR, SCR_NS, Case, load, write

MDSCR_SS, MDSCR_KDE, MDSCR_MDE = 1, 1 << 13, 1 << 15
SPSR_SS = 1 << 21
AIF = 0x1C0  # everything but debug masked
NORMAL, SECURE = SCR | SCR_NS, SCR
PLACES = {"el0": (0, NORMAL), "el1": (1, NORMAL), "s-el0": (0, SECURE), "s-el1": (1, SECURE), "el2": (2, NORMAL)}
MDCR_EL2 = 6
UNLOCK = ["msr oslar_el1, xzr", "isb"]
LOCK = ["mov x0, #1", "msr oslar_el1, x0", "isb"]


def cases() -> Iterator[Case]:
    for place, (level, scr) in PLACES.items():
        for masked in (0, 0x200):
            for name, mdscr in (("ss", MDSCR_SS), ("ss+kde", MDSCR_SS | MDSCR_KDE), ("kde", MDSCR_KDE)):
                setup = [*UNLOCK, *write("MDSCR_EL1", mdscr)]
                body = ["mov x3, #1", "mov x3, #2", "mov x3, #3"]
                for stepping in (0, SPSR_SS):
                    pstate = AIF | masked | stepping
                    title = f"debug/{place}-step-{name}-d{masked >> 9}-spsr{stepping >> 21}"
                    yield Case(title, level, body, setup, LOCK, scr=scr, pstate=pstate)
                    if scr == NORMAL and level < 2:
                        routed = [*setup, *write("MDCR_EL2", MDCR_EL2 | 1 << 8)]
                        yield Case(f"{title}-tde", level, body, routed, LOCK, scr=scr, pstate=pstate)
            for name, mdscr in (("mde", MDSCR_MDE), ("mde+kde", MDSCR_MDE | MDSCR_KDE)):
                control = 1 | 3 << 1 | 0xF << 5
                label = f"here_{place.replace('-', '_')}_{name.replace('+', '_')}_{masked}"
                far = [f"adrp x0, {label}", f"add x0, x0, :lo12:{label}"]
                setup = [
                    *UNLOCK,
                    *far,
                    "msr dbgbvr0_el1, x0",
                    *write("DBGBCR0_EL1", control),
                    *write("MDSCR_EL1", mdscr),
                ]
                body = ["mov x3, #1", f"{label}: mov x3, #2", "mov x3, #3"]
                yield Case(
                    f"debug/{place}-breakpoint-{name}-d{masked >> 9}",
                    level,
                    body,
                    setup,
                    LOCK,
                    scr=scr,
                    pstate=AIF | masked,
                )
                for kind, load_store in (("load", 1), ("store", 2)):
                    control = 1 | 3 << 1 | load_store << 3 | 0xFF << 5
                    setup = [
                        *UNLOCK,
                        *write("DBGWVR0_EL1", BOUNDARY),
                        *write("DBGWCR0_EL1", control),
                        *write("MDSCR_EL1", mdscr),
                    ]
                    for access in ("ldr x4, [x2]", "str x4, [x2]", "ldr x4, [x2, #8]"):
                        number = ("ldr x4, [x2]", "str x4, [x2]", "ldr x4, [x2, #8]").index(access)
                        title = f"debug/{place}-watch-{kind}-{number}-{name}-d{masked >> 9}"
                        body = [*load("x2", BOUNDARY), access, "mov x3, #3"]
                        yield Case(title, level, body, setup, LOCK, scr=scr, pstate=AIF | masked)
