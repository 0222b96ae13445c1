"""Accesses that the level above refuses, in place of a call: EL2 gives them back, or EL3 ends the driver's call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from monitor.abi import Caller, Status

from .phone import PAGE, Phone
from .scenes import DRIVER, NORMAL, SECURE, Scene, locked, secure_npu

UPPER_HALF = 0xFFFF_FFFF_FFFF_0000  # what TTBR1_EL1 maps
MMU_OFF = 0x30D0_0800  # SCTLR_EL1: its bits that are one
EL0_MASKED = 0x8000_03C0  # SPSR_EL1, with a flag
LOAD, STORE, CALL = 0xF940_0000, 0xF900_0001, 0xD63F_0000  # ldr x0, [x0]; str x1, [x0]; blr x0
SPSEL_0 = 0xD500_40BF  # msr spsel, #0
ERET = 0xD69F_03E0
READ_CNTP_CVAL, READ_DBGBVR0 = 0xD53B_E240, 0xD530_0080  # mrs x0, ...

Place: TypeAlias = Callable[[Phone], None]


def from_el1(phone: Phone, *words: int) -> None:
    phone.place_code(*words)
    phone.core.x[0] = PAGE


def from_el0(phone: Phone) -> None:
    """Untranslated by a table of its own."""
    phone.place_code(ERET, LOAD)
    for name, value in (("ELR_EL1", phone.room + 4), ("SPSR_EL1", EL0_MASKED), ("SCTLR_EL1", MMU_OFF)):
        phone.core.write_sysreg(name, value)
    phone.core.x[0] = PAGE


def by_walk(phone: Phone) -> None:
    """Of a table that lies in a locked page."""
    phone.place_probe("probe_walk", PAGE, UPPER_HALF)


ACCESSES: dict[str, Place] = {
    "read": lambda phone: from_el1(phone, LOAD),
    "write": lambda phone: from_el1(phone, STORE),
    "fetch": lambda phone: from_el1(phone, CALL),
    "read-el1t": lambda phone: from_el1(phone, SPSEL_0, LOAD),
    "read-el0": from_el0,
    "walk": by_walk,
    "timer": lambda phone: from_el1(phone, READ_CNTP_CVAL),
    "debug-register": lambda phone: from_el1(phone, READ_DBGBVR0),
}


@dataclass(frozen=True)
class Abort(Scene):
    """``by`` makes ``access`` after ``prepare``."""

    function: int = field(default=0, init=False)
    access: str = field(kw_only=True)

    def place(self, phone: Phone) -> None:
        ACCESSES[self.access](phone)

    @property
    def call(self) -> None:
        return None

    @property
    def name(self) -> str:
        return f"{self.access}-{self.by.name}"


def _abort(by: Caller, access: str) -> Abort:
    return Abort(by, secure_npu if by is DRIVER else locked, (), Status.FAULT if by is DRIVER else None, access=access)


ABORTS = (
    *(_abort(NORMAL, access) for access in ("read", "write", "fetch", "read-el1t", "read-el0", "walk")),
    _abort(SECURE, "debug-register"),
    *(_abort(DRIVER, access) for access in ("read", "write", "fetch", "timer", "debug-register")),
)
