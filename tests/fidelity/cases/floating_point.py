"""Floating point and SIMD trapped by CPACR_EL1.FPEN, CPTR_EL2.TFP and CPTR_EL3.TFP: every class of instruction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import BOUNDARY, HCR_RW, SCR, SCR_NS, Case, load, write

NORMAL, SECURE = SCR | SCR_NS, SCR
PLACES = {
    "el0": (0, NORMAL),
    "s-el0": (0, SECURE),
    "el1": (1, NORMAL),
    "s-el1": (1, SECURE),
    "el2": (2, NORMAL),
    "el3": (3, NORMAL),
}
INSTRUCTIONS = (
    *("fmov d0, x1", "fmov x1, d0", "fadd d0, d0, d1", "fcmp d0, d1", "fcsel d0, d0, d1, eq", "fmadd d0, d0, d1, d1"),
    *("scvtf d0, x1", "fcvtzs x1, d0", "fmov d0, #1.0", "movi v0.16b, #5", "add v0.4s, v0.4s, v1.4s", "dup v0.4s, w1"),
    *("umov w1, v0.b[3]", "ins v0.d[1], x1", "tbl v0.16b, {v1.16b}, v0.16b", "zip1 v0.4s, v0.4s, v1.4s", "abs d0, d1"),
    *("ldr q0, [x2]", "str d0, [x2]", "ldp d0, d1, [x2]", "stp q0, q1, [x2]", "ldur s0, [x2, #4]", "ldr d0, [x2, x3]"),
    *("ld1 {v0.16b}, [x2]", "st1 {v0.b}[3], [x2]", "ld4 {v0.4s-v3.4s}, [x2]", "ld1r {v0.8h}, [x2]", "ldr d0, 1f"),
    *("aese v0.16b, v1.16b", "sha1h s0, s1", "sha256su0 v0.4s, v1.4s", "pmull v0.1q, v0.1d, v1.1d", "mrs x1, fpcr"),
    *("msr fpcr, x3", "mrs x1, fpsr", "msr fpsr, x3", "ext v0.16b, v0.16b, v1.16b, #3", "shl v0.2d, v0.2d, #5"),
    *("fmulx d0, d0, d1", "frecpe d0, d1", "addp d0, v1.2d", "fmaxnmv s0, v1.4s", "crc32b w1, w1, w3"),
)
FEW = (INSTRUCTIONS[0], INSTRUCTIONS[8], INSTRUCTIONS[17], INSTRUCTIONS[23], INSTRUCTIONS[32], "crc32b w1, w1, w3")
SETTINGS = {
    **{f"fpen{value}": write("CPACR_EL1", value << 20) for value in range(4)},
    "cptr2": write("CPTR_EL2", 0x33FF | 1 << 10),
    "cptr3": write("CPTR_EL3", 1 << 10),
    "fpen0+cptr2": [*write("CPACR_EL1", 0), *write("CPTR_EL2", 0x33FF | 1 << 10)],
    "fpen0+cptr3": [*write("CPACR_EL1", 0), *write("CPTR_EL3", 1 << 10)],
    "cptr2+cptr3": [*write("CPTR_EL2", 0x33FF | 1 << 10), *write("CPTR_EL3", 1 << 10)],
    "fpen1+cptr2": [*write("CPACR_EL1", 1 << 20), *write("CPTR_EL2", 0x33FF | 1 << 10)],
}
PREPARE = [*load("x2", BOUNDARY), "mov x3, #0"]
LITERAL = ["b 2f", ".balign 8", "1: .quad 0x4000000000000000", "2:"]


def cases() -> Iterator[Case]:
    for (place, (level, scr)), (name, setup) in product(PLACES.items(), SETTINGS.items()):
        for number, instruction in enumerate(INSTRUCTIONS):
            if name in ("fpen1", "cptr3") or instruction in FEW:
                ending = LITERAL if "1f" in instruction else []
                # CPTR_EL3 is written by EL3 itself in the body: the harness uses vector registers on the way to it.
                late = setup if "cptr3" in name and level == 3 else []
                body = [*late, *PREPARE, "add x4, x4, #1", instruction, *ending]
                yield Case(f"fp/{place}-{name}-{number}", level, body, setup if not late else (), scr=scr)
        if level < 2 and scr == NORMAL:
            tge = write("HCR_EL2", HCR_RW | 1 << 27)
            if level == 0:
                yield Case(f"fp/{place}-{name}-tge", level, [*PREPARE, "fadd d0, d0, d1"], [*setup, *tge], scr=scr)
    for place, (level, scr) in PLACES.items():
        # Where a block holds several: those before the first floating-point instruction are executed.
        body = ["add x4, x4, #1", "fmov d0, x1", "add x4, x4, #2"]
        if level < 2:
            yield Case(f"fp/{place}-inside-a-block", level, body, write("CPACR_EL1", 0), scr=scr)
        # Enabled again by the level itself, as a kernel does at first use.
        if level == 1:
            body = [*load("x1", 3 << 20), "msr cpacr_el1, x1", "isb", "fmov d0, x1"]
            yield Case(f"fp/{place}-enabled", level, body, write("CPACR_EL1", 0), scr=scr)
            body = ["msr cpacr_el1, xzr", "isb", "add x4, x4, #1", "fmov d0, x1"]
            yield Case(f"fp/{place}-disabled", level, body, write("CPACR_EL1", 3 << 20), scr=scr)
