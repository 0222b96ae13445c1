"""What a case is, and the words that case modules write.

A case is a few instructions at one exception level of one security state. Before each case the harness puts every
system register, all general registers and the data area into a known state; then it runs the case's `setup` at EL3,
enters `body` at the case's level by ERET, and records the whole state at whatever exception arrives first. A body that
meets none ends with the SVC that the harness appends. The same image runs on our core and on QEMU, and the records must
be equal, word by word.

To add cases, write a module `tests/fidelity/cases/NAME.py` with a function `cases() -> Iterator[Case]` and name it in
`tests/fidelity/cases/__init__.py`:

    def cases() -> Iterator[Case]:
        yield Case("wfi/trapped-by-HCR.TWI", level=1, setup=[*write("HCR_EL2", HCR_RW | 1 << 13)], body=["wfi"])
        for enabled in (0, 1):
            yield Case(f"timer/istatus-{enabled}", level=2, body=[*load("x1", enabled), "msr cntp_ctl_el0, x1", ...])

Names are unique: area/what-is-tested. Bodies are assembly and may use labels like `1:`. What they leave in x0 to x30,
flags, q0, q1 and the 128 bytes of data around BOUNDARY is compared, and ESR, ELR, SPSR and FAR of every level.
General registers start as SEED + their number. A case whose effects outlive the reset (page tables, a device) undoes
them in `cleanup`, which runs at EL3 after the record is made. Bodies run with interrupts masked unless `pstate` says
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HARNESS = 0x4800_0000
RECORDS = 0x4B00_0000
DATA = 0x4A00_0000  # two pages; accesses around their boundary are recorded
BOUNDARY = DATA + 0x1000
TABLES = 0x4A80_0000
SEED = 0x5EED_0000_0000_0000

DAIF = 0x3C0
SCR_NS, SCR_HCE, SCR_RW, SCR_RES1 = 1, 1 << 8, 1 << 10, 0x30
SCR = SCR_RES1 | SCR_RW | SCR_HCE  # the harness adds NS where the case is normal
HCR_RW = 1 << 31
SCTLR_EL1 = 0x30D5_0838
SCTLR_HIGHER = 0x30C5_0838


@dataclass(frozen=True)
class Case:
    """``level`` 0 to 3; ``normal``: SCR_EL3.NS below EL3; ``pstate``: the rest of SPSR_EL3 (M is added);
    ``spsel``: the level's own stack pointer (EL0 has none); ``scr``: all of SCR_EL3, instead of ``normal``.
    ``setup`` may use x0 to x9."""

    name: str
    level: int
    body: Sequence[str]
    setup: Sequence[str] = ()
    cleanup: Sequence[str] = ()
    normal: bool = True
    pstate: int = DAIF
    spsel: bool = True
    scr: int | None = None

    @property
    def spsr(self) -> int:
        return self.pstate | self.level << 2 | (self.spsel and self.level > 0)


def load(register: str, value: int) -> list[str]:
    """The shortest moves that put a constant into an X register."""
    parts = [(shift, value >> shift & 0xFFFF) for shift in (0, 16, 32, 48)]
    used = [part for part in parts if part[1]] or [parts[0]]
    (shift, first), *rest = used
    return [
        f"movz {register}, #{first:#x}, lsl #{shift}",
        *(f"movk {register}, #{half:#x}, lsl #{shift}" for shift, half in rest),
    ]


def write(register: str, value: int, scratch: str = "x0") -> list[str]:
    """Write a system register: its name, or S3_op1_Cn_Cm_op2."""
    return [*load(scratch, value), f"msr {register}, {scratch}", "isb"]


def poke(address: int, value: int) -> list[str]:
    """Store a doubleword from EL3."""
    return [*load("x0", address), *load("x1", value), "str x1, [x0]"]


def sysreg(op0: int, op1: int, crn: int, crm: int, op2: int) -> str:
    return f"s{op0}_{op1}_c{crn}_c{crm}_{op2}"
