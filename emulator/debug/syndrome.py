"""ESR_ELx in words (Arm ARM D19.2.37): the exception's class, and what the syndrome says of it."""

from __future__ import annotations

from emulator.debug.fields import cut

CLASSES = {
    0x00: "unknown or undefined instruction",
    0x01: "WFI or WFE trapped",
    0x07: "FP or SIMD access trapped",
    0x0E: "illegal execution state",
    0x11: "SVC (AArch32)",
    0x15: "SVC",
    0x16: "HVC",
    0x17: "SMC",
    0x18: "system instruction trapped",
    0x20: "instruction abort from a lower level",
    0x21: "instruction abort",
    0x22: "misaligned PC",
    0x24: "data abort from a lower level",
    0x25: "data abort",
    0x26: "misaligned SP",
    0x2C: "FP exception",
    0x2F: "SError",
    0x30: "breakpoint from a lower level",
    0x31: "breakpoint",
    0x32: "software step from a lower level",
    0x33: "software step",
    0x34: "watchpoint from a lower level",
    0x35: "watchpoint",
    0x3C: "BRK",
}
CALLS = (0x11, 0x15, 0x16, 0x17)  # SVC, HVC, SMC
INSTRUCTION_ABORTS, DATA_ABORTS = (0x20, 0x21), (0x24, 0x25)

FAULTS = {
    0x00: "address size fault",
    0x04: "translation fault",
    0x08: "access flag fault",
    0x0C: "permission fault",
    0x14: "external abort on the table walk",
}
OTHER_FAULTS = {
    0x10: "external abort",
    0x11: "asynchronous external abort",
    0x21: "alignment fault",
    0x30: "TLB conflict",
}


def exception_class(syndrome: int) -> int:
    return cut(syndrome, 31, 26)


def describe_fault(status: int) -> str:
    """A fault status code of six bits: ``translation fault, level 3``."""
    if status in OTHER_FAULTS:
        return OTHER_FAULTS[status]
    if status & ~3 in FAULTS:
        return f"{FAULTS[status & ~3]}, level {status & 3}"
    return f"fault {status:#x}"


def describe_syndrome(syndrome: int) -> str:
    """All of a syndrome in one line: ``data abort from a lower level: write, translation fault, level 3``."""
    code = exception_class(syndrome)
    name = CLASSES.get(code, f"exception class {code:#x}")
    details = _details(code, cut(syndrome, 24, 0))
    return f"{name}: {', '.join(details)}" if details else name


def _details(code: int, iss: int) -> list[str]:
    if code in DATA_ABORTS:
        return [*_data_access(iss), describe_fault(iss & 0x3F), *_where(iss)]
    if code in INSTRUCTION_ABORTS:
        return [describe_fault(iss & 0x3F), *_where(iss)]
    if code in {*CALLS, 0x3C}:
        return [f"#{iss & 0xFFFF:#x}"]
    if code == 0x18:
        return [_system_instruction(iss)]
    if code == 0x01:
        return ["WFE" if iss & 1 else "WFI"]
    return []


def _data_access(iss: int) -> list[str]:
    """WnR (or cache maintenance, CM), and size and register where the syndrome is valid (ISV)."""
    if iss >> 8 & 1:
        return ["cache maintenance"]
    words = ["write" if iss >> 6 & 1 else "read"]
    if iss >> 24 & 1:
        words.append(f"{1 << cut(iss, 23, 22)} bytes, x{cut(iss, 20, 16)}")
    return words


def _where(iss: int) -> list[str]:
    words = ["on a stage-1 table walk (stage 2)"] if iss >> 7 & 1 else []
    return [*words, "FAR not valid"] if iss >> 10 & 1 else words


def _system_instruction(iss: int) -> str:
    """The encoding as assemblers write a register without a name."""
    op0, op2, op1, crn, register, crm = (
        cut(iss, *place) for place in ((21, 20), (19, 17), (16, 14), (13, 10), (9, 5), (4, 1))
    )
    direction = "read" if iss & 1 else "write"
    return f"{direction} of S{op0}_{op1}_C{crn}_C{crm}_{op2}, x{register}"
