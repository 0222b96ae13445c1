"""Trap bits: what each of them traps, from where to where, with which syndrome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.fidelity.case import HCR_RW, SCR, SCR_NS, SCTLR_EL1, Case, write
from tests.fidelity.cases.sysreg_access import VECTOR_BASES, access
from tests.fidelity.registers import DEBUG, IDENTIFICATION, IMPLEMENTATION, PERFORMANCE, REGISTERS, TIMER, Encoding

MDCR_EL2 = 6  # HPMN: all counters, as the harness sets it
CPTR_EL2 = 0x33FF
NORMAL, SECURE = SCR | SCR_NS, SCR


@dataclass(frozen=True)
class Trap:
    name: str
    register: str
    value: int
    registers: dict[Encoding, str]  # that are tried
    levels: tuple[tuple[str, int, int], ...]  # name, level, SCR_EL3


EL0, EL1, EL2 = ("el0", 0, NORMAL), ("el1", 1, NORMAL), ("el2", 2, NORMAL)
S_EL0, S_EL1 = ("s-el0", 0, SECURE), ("s-el1", 1, SECURE)


def named(*prefixes: str) -> dict[Encoding, str]:
    return {encoding: name for encoding, name in REGISTERS.items() if name.startswith(prefixes)}


MEMORY = {
    encoding: name
    for encoding, name in named(
        *("SCTLR", "TTBR", "TCR", "ESR", "FAR", "AFSR", "MAIR", "AMAIR", "CONTEXTIDR", "VBAR", "PAR", "TPIDR")
    ).items()
    if name.endswith("_EL1")
}
AUXILIARY = named("ACTLR", "CPACR", "CPTR", "HACR")
CONTROL = named("SCTLR", "ACTLR", "CPACR", "HCR", "MDCR", "CPTR", "SCR")
MASKS = named("DAIF", "SPSel")


def hcr(bit: int) -> int:
    return HCR_RW | 1 << bit


TRAPS = (
    Trap("HCR.TVM", "HCR_EL2", hcr(26), MEMORY, (EL0, EL1, S_EL1, EL2)),
    Trap("HCR.TRVM", "HCR_EL2", hcr(30), MEMORY, (EL1, S_EL1, EL2)),
    Trap("HCR.TID0", "HCR_EL2", hcr(15), IDENTIFICATION, (EL1,)),
    Trap("HCR.TID1", "HCR_EL2", hcr(16), IDENTIFICATION, (EL1, S_EL1)),
    Trap("HCR.TID2", "HCR_EL2", hcr(17), IDENTIFICATION, (EL0, EL1, S_EL1)),
    Trap("HCR.TID3", "HCR_EL2", hcr(18), IDENTIFICATION, (EL0, EL1, S_EL1, EL2)),
    Trap("HCR.TACR", "HCR_EL2", hcr(21), AUXILIARY, (EL1, S_EL1, EL2)),
    Trap("HCR.TIDCP", "HCR_EL2", hcr(20), IMPLEMENTATION, (EL0, EL1, S_EL1, EL2)),
    Trap("CPTR_EL2.TCPAC", "CPTR_EL2", CPTR_EL2 | 1 << 31, AUXILIARY, (EL1, S_EL1, EL2)),
    Trap("CPTR_EL3.TCPAC", "CPTR_EL3", 1 << 31, AUXILIARY, (EL1, S_EL1, EL2)),
    Trap("MDCR_EL2.TPM", "MDCR_EL2", MDCR_EL2 | 1 << 6, PERFORMANCE, (EL0, EL1, S_EL1, EL2)),
    Trap("MDCR_EL2.TPMCR", "MDCR_EL2", MDCR_EL2 | 1 << 5, PERFORMANCE, (EL0, EL1, S_EL1)),
    Trap("MDCR_EL3.TPM", "MDCR_EL3", 1 << 6, PERFORMANCE, (EL0, EL1, S_EL1, EL2)),
    *(Trap(f"PMUSERENR-{value}", "PMUSERENR_EL0", value, PERFORMANCE, (EL0, S_EL0)) for value in (1, 2, 4, 8, 15)),
    Trap("MDCR_EL2.TDA", "MDCR_EL2", MDCR_EL2 | 1 << 9, DEBUG, (EL0, EL1, S_EL1, EL2)),
    Trap("MDCR_EL2.TDOSA", "MDCR_EL2", MDCR_EL2 | 1 << 10, DEBUG, (EL1, S_EL1)),
    Trap("MDCR_EL2.TDRA", "MDCR_EL2", MDCR_EL2 | 1 << 11, DEBUG, (EL1, S_EL1)),
    Trap("MDCR_EL2.TDE", "MDCR_EL2", MDCR_EL2 | 1 << 8, DEBUG, (EL0, EL1, S_EL1)),
    Trap("MDCR_EL3.TDA", "MDCR_EL3", 1 << 9, DEBUG, (EL1, S_EL1, EL2)),
    Trap("MDCR_EL3.TDOSA", "MDCR_EL3", 1 << 10, DEBUG, (EL1, S_EL1, EL2)),
    *(Trap(f"CNTHCTL-{value}", "CNTHCTL_EL2", value, TIMER, (EL0, EL1, S_EL1, EL2)) for value in (0, 1, 2)),
    *(
        Trap(f"CNTKCTL-{value:#x}", "CNTKCTL_EL1", value, TIMER, (EL0, S_EL0))
        for value in (1, 2, 3, 0x100, 0x200, 0x300)
    ),
    Trap("SCR.ST", "SCR_EL3", SCR | 1 << 11, TIMER, (("s-el1", 1, SECURE | 1 << 11), ("el1", 1, NORMAL | 1 << 11))),
    Trap("HCR.TGE", "HCR_EL2", hcr(27), CONTROL, (EL0, EL2)),
    Trap("SCTLR.UMA", "SCTLR_EL1", SCTLR_EL1 | 1 << 9, MASKS, (EL0, S_EL0)),
    Trap("SCTLR.UCT", "SCTLR_EL1", SCTLR_EL1 | 1 << 15, IDENTIFICATION, (EL0, S_EL0)),
    Trap("SCTLR.UCT+TID2", "SCTLR_EL1", SCTLR_EL1 | 1 << 15, IDENTIFICATION, (EL0,)),
)
ALSO = {"SCTLR.UCT+TID2": write("HCR_EL2", hcr(17))}


def cases() -> Iterator[Case]:
    for trap in TRAPS:
        setup = [*write(trap.register, trap.value), *ALSO.get(trap.name, [])]
        for place, level, scr in trap.levels:
            for encoding, name in trap.registers.items():
                for writes in (False, True):
                    if not (writes and name in VECTOR_BASES):
                        kind = "write" if writes else "read"
                        body = access(encoding, writes)
                        yield Case(f"trap/{trap.name}-{place}-{kind}-{name}", level, body, setup, scr=scr)
