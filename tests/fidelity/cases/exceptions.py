"""Synchronous exceptions by instruction: SVC, HVC, SMC, BRK, HLT, UDF, and what traps them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fidelity.case import HCR_RW, Case, write

STATES = [(0, True), (0, False), (1, True), (1, False), (2, True), (3, True)]
HCR_TGE, HCR_TSC, HCR_TWI, HCR_HCD = 1 << 27, 1 << 19, 1 << 13, 1 << 29
IMMEDIATES = (0, 1, 0x1234, 0x8000, 0xFFFE)


def where(level: int, normal: bool) -> str:
    return f"{'' if normal else 's-'}el{level}"


def calls() -> Iterator[Case]:
    for instruction in ("svc", "hvc", "smc", "brk", "hlt", "udf"):
        for level, normal in STATES:
            for value in IMMEDIATES:
                body = [f"{instruction} #{value}"]
                yield Case(f"{instruction}/{where(level, normal)}-{value:#x}", level, body, normal=normal)


def trapped_calls() -> Iterator[Case]:
    for level, normal in STATES:
        for name, hcr in (("TGE", HCR_TGE), ("TSC", HCR_TSC), ("HCD", HCR_HCD), ("TSC+TGE", HCR_TGE | HCR_TSC)):
            if level == 1 and normal and hcr & HCR_TGE:
                continue  # EL1 cannot be entered
            for instruction in ("svc", "hvc", "smc", "brk", "udf", "hlt"):
                setup = write("HCR_EL2", HCR_RW | hcr)
                body = [f"{instruction} #{0x51}"]
                yield Case(f"{instruction}/{where(level, normal)}-HCR.{name}", level, body, setup, normal=normal)


def cases() -> Iterator[Case]:
    yield from calls()
    yield from trapped_calls()
