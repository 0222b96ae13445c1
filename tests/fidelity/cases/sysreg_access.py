"""Every system register read and written from every level that is not EL3, with nothing trapped."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fidelity.case import Case, sysreg
from tests.fidelity.registers import REGISTERS, TIME, Encoding

LEVELS = {"el0": (0, True), "el1": (1, True), "s-el1": (1, False), "el2": (2, True)}
VECTOR_BASES = ("VBAR_EL1", "VBAR_EL2")  # a write ends in no vector


def access(encoding: Encoding, write: bool) -> list[str]:
    """A read into x1; or a write of the value in x0, of which only bits 63:48 are set, and a read back."""
    register = sysreg(*encoding)
    read = [f"mrs x1, {register}", *(["mov x1, #0"] if encoding in TIME else [])]
    return [f"msr {register}, x0", *read] if write else read


def cases() -> Iterator[Case]:
    for place, (level, normal) in LEVELS.items():
        for encoding, name in REGISTERS.items():
            yield Case(f"read/{name}-{place}", level, access(encoding, write=False), normal=normal)
            if name not in VECTOR_BASES:
                yield Case(f"write/{name}-{place}", level, access(encoding, write=True), normal=normal)
