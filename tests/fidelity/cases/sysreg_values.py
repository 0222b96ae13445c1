"""Every system register at EL3 after writes of ones, zeros and patterns: which of its bits can be written."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fidelity.case import Case, load, sysreg
from tests.fidelity.registers import REGISTERS, TIME, Encoding

PATTERNS = {
    "ones": (1 << 64) - 1,
    "zeros": 0,
    "fives": 0x5555_5555_5555_5555,
    "tens": 0xAAAA_AAAA_AAAA_AAAA,
}
# Bits that would end the case: the MMU, traps of EL3's own instructions, the execution state of lower levels.
KEPT = {"SCTLR_EL3": 0b1_0000_0000_0000_0000_0010_0000_1111, "CPTR_EL3": 1 << 10, "MDSCR_EL1": 1}


def case(encoding: Encoding, pattern: str) -> Case:
    name, register = REGISTERS[encoding], sysreg(*encoding)
    kept = KEPT.get(name, 0)
    body = [
        f"mrs x1, {register}",  # before
        *load("x2", PATTERNS[pattern] & ~kept),
        *load("x3", kept),
        "and x3, x3, x1",
        "orr x2, x2, x3",
        f"msr {register}, x2",
        "isb",
        f"mrs x4, {register}",
        f"msr {register}, x1",
        "isb",
        f"mrs x5, {register}",
    ]
    return Case(f"value/{name}-{pattern}", 3, body)


def cases() -> Iterator[Case]:
    for encoding in (encoding for encoding in REGISTERS if encoding not in TIME):
        for pattern in PATTERNS:
            yield case(encoding, pattern)
