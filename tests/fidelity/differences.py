"""What is known to differ between our core and QEMU, each with its reason: the one list that the tests and
docs/fidelity.md share. `python -m tests.fidelity.differences` writes it into the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.fidelity.record import Difference

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "fidelity.md"
BEGIN, END = "<!-- differences: begin -->\n", "<!-- differences: end -->\n"


@dataclass(frozen=True)
class Known:
    """A reason and the cases that show it: ``cases`` and ``words`` are patterns as in file names; ``bits``: no others
    of the word may differ."""

    title: str
    reason: str
    cases: tuple[str, ...]
    words: tuple[str, ...] = ("*",)
    bits: int = (1 << 64) - 1

    def covers(self, difference: Difference) -> bool:
        if (difference.ours ^ difference.qemu) & ~self.bits:
            return False
        return any(fnmatchcase(difference.case, pattern) for pattern in self.cases) and any(
            fnmatchcase(difference.word, pattern.replace("[", "[[]")) for pattern in self.words
        )


KNOWN = (
    Known(
        "HVC in Secure EL1",
        "There is no Secure EL2 on a Cortex-A72, and the architecture makes HVC undefined there (Arm ARM, HVC)."
        " QEMU 7.2 takes it to EL2.",
        ("hvc/s-el1-*",),
    ),
    Known(
        "HVC in EL3",
        "It targets EL3 (Arm ARM, HVC; AArch64.CallHypervisor). QEMU 7.2 goes down to EL2.",
        ("hvc/el3-*",),
    ),
    Known(
        "The instruction syndrome of EL2's own aborts",
        "ISS[24:14] of ESR_EL2 is zero unless a stage-2 fault from a lower level is reported (Arm ARM, ESR_ELx.ISV)."
        " QEMU 7.2 fills it in for aborts that EL2 takes from itself as well.",
        ("stage1/*-el2-*", "permission/*-el2-*", "half/*-el2-*", "size/*-el2-*", "granule/*-el2-*"),
        ("ESR_EL2",),
        bits=0x7FF << 14,
    ),
    Known(
        "Condition flags at the vector",
        "Taking an exception leaves PSTATE.NZCV as it was (Arm ARM, AArch64.TakeException). QEMU clears the flags.",
        ("eret/*-flags-*", "fp/*-fpen1-3", "word/*"),
        ("pstate", "SPSR_EL3"),
        bits=0xF << 28,
    ),
    Known(
        "The level of a stage-2 fault on a walk",
        "ESR_EL2 holds the level of stage 2 at which the fault arose. QEMU 7.2 reports the level of stage 1 instead.",
        ("walk/L2-*",),
        ("ESR_EL2",),
        bits=3,
    ),
    Known(
        "VTCR_EL2 with more input than output bits",
        "The input size is bounded by what the core implements, not by VTCR_EL2.PS (Arm ARM, VTCR_EL2.T0SZ). QEMU 7.2"
        " takes a translation fault.",
        ("stage2/input-wider-than-output-*",),
    ),
    Known(
        "Alignment checks",
        "The engine performs loads and stores inline and checks the alignment of exclusives only: SCTLR_ELx.A and the"
        " rule for load-acquire and store-release have no effect. A check would cost a call for every access.",
        ("align/*-a1-[01]-*", "align/*-a0-*-3[2-7]"),
    ),
    Known(
        "op1 and op2 of a trapped DAIFSet or DAIFClr",
        "ESR_EL1 names op2 in bits 19:17 and op1 in bits 16:14 (Arm ARM, ESR_ELx, ISS of EC 0x18). QEMU 7.2 has them"
        " the other way round.",
        ("pstate/*el0-daif*",),
        ("ESR_EL1",),
        bits=0x3F << 14,
    ),
    Known(
        "Watchpoints of the guest's own",
        "DBGWVRn_EL1 and DBGWCRn_EL1 can be written and have no effect: the engine watches nothing in pages that our"
        " translation gives it. (Software step and breakpoints work. `flexserve step` and `gdb` have watchpoints.)",
        ("debug/*-watch-*",),
    ),
    Known(
        "AArch32",
        "Our core has it at no level: a return to it is illegal. QEMU's, like the Cortex-A72, executes it.",
        ("eret/*-to-aarch32",),
    ),
    Known(
        "Instructions out of device registers",
        "A fetch from a device is an external abort here. QEMU executes what the device's registers read as. (Software"
        " must not do it: Arm ARM, B2.7.2.)",
        ("pc/*-device",),
    ),
    Known(
        "OSDLR_EL1 and MDCCINT_EL1",
        "The OS double lock is ignored, and its register leaves the general register as it was when it is read."
        " MDCCINT_EL1 is there, as in the Cortex-A72, and reads as zero; QEMU 7.2 has none.",
        ("value/OSDLR*", "read/OSDLR*", "write/OSDLR*", "trap/*-OSDLR*", "space/from-s2_0_c*"),
    ),
    Known(
        "GICC_AIAR, GICC_AEOIR and GICC_AHPPIR",
        "QEMU has none of them. They give Secure software the view of Group 1 (IHI 0048B, 4.4).",
        ("gic/*-s-el?-gicc-0",),
        ("x9", "x11"),
    ),
    Known(
        "GICD_SPENDSGIR",
        "Each byte's bits name the cores that raise an SGI (IHI 0048B, 4.3.16), and there is one core. QEMU also keeps"
        " the bits of cores that there are not, and a byte of zeros makes the SGI pending.",
        ("gic/write-f2*", "gic/byte-f2*"),
    ),
    Known(
        "Virtual interrupts that stand for physical ones",
        "Ending one whose list register has HW set deactivates the physical one (IHI 0048B, 5.3.11). On QEMU 7.2 it"
        " stays active.",
        ("gicv/sequence-*",),
        ("x30",),
        bits=1 << 8,
    ),
    Known(
        "GICV_CTLR and GICV_ABPR",
        "QEMU keeps the bit of GICC_CTLR.EOImodeNS, which a GICV has not, and takes a binary point of Group 1 that is"
        " smaller than the least.",
        ("gicv/write-0-*", "gicv/write-1c-*"),
    ),
    Known(
        "SGIs of another group than GICD_SGIR.NSATT says",
        "They are not forwarded (IHI 0048B, table 4-22). QEMU forwards them.",
        ("gic/sgi-of-another-group-*-s-el1",),
        ("x1",),
    ),
    Known(
        "HCR_EL2.TIDCP",
        "QEMU 7.2 traps none of the registers that it has; later versions do.",
        ("trap/HCR.TIDCP-el1-*-L2*", "trap/HCR.TIDCP-el1-*-CPU*"),
    ),
    Known(
        "Watchpoint addresses",
        "DBGWVRn_EL1 keeps 49 bits of an address here, as the Cortex-A72 does, and all of them on QEMU 7.2.",
        ("value/DBGWVR*", "write/DBGWVR*", "trap/*-DBGWVR*"),
    ),
    Known(
        "Bits of SCTLR_ELx that are reserved in Armv8.0",
        "Bits 43:37 can be written here; QEMU 7.2 knows which later extensions they belong to and keeps them zero.",
        ("value/SCTLR_EL*",),
    ),
)


def unlisted(differences: Iterable[Difference], known: Sequence[Known] = KNOWN) -> list[Difference]:
    """The differences that no entry covers."""
    return [difference for difference in differences if not any(entry.covers(difference) for entry in known)]


def stale(differences: Sequence[Difference], known: Sequence[Known] = KNOWN) -> list[str]:
    """Patterns of cases that cover no difference any more, each with its entry's title."""
    return [
        f"{entry.title}: {pattern}"
        for entry in known
        for pattern in entry.cases
        if not any(fnmatchcase(difference.case, pattern) and entry.covers(difference) for difference in differences)
    ]


def document(known: Sequence[Known] = KNOWN) -> str:
    """The list as it stands in docs/fidelity.md."""
    return "\n".join(
        f"- **{entry.title}.** {entry.reason} (Cases: {', '.join(f'`{pattern}`' for pattern in entry.cases)}.)\n"
        for entry in known
    )


def written() -> str:
    """What docs/fidelity.md says now."""
    return DOCUMENT.read_text().split(BEGIN)[1].split(END)[0].strip() + "\n"


def main() -> None:
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{document()}\n{END}{after}")


if __name__ == "__main__":
    main()
