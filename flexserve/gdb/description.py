"""The target's description: which registers there are, in GDB's order, and how their values travel."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.core import SYSTEM_REGISTERS

GENERAL, FLOAT = "org.gnu.gdb.aarch64.core", "org.gnu.gdb.aarch64.fpu"
SYSTEM = "org.flexserve.aarch64.system"
STACK_POINTER, PROGRAM_COUNTER, PSTATE = 31, 32, 33
VECTORS = 32
FPSR, FPCR = 66, 67


@dataclass(frozen=True)
class Register:
    """``number`` is its place in GDB's order; ``name`` as GDB shows it; ``system``: its name in SYSTEM_REGISTERS."""

    number: int
    name: str
    bits: int
    kind: str
    group: str = ""
    system: str = ""

    @property
    def digits(self) -> int:
        return self.bits // 4


def _registers() -> tuple[Register, ...]:
    general = [Register(index, f"x{index}", 64, "int") for index in range(31)]
    general += [Register(STACK_POINTER, "sp", 64, "data_ptr"), Register(PROGRAM_COUNTER, "pc", 64, "code_ptr")]
    general += [Register(PSTATE, "cpsr", 32, "cpsr_flags")]
    floats = [Register(PSTATE + 1 + index, f"v{index}", 128, "uint128") for index in range(VECTORS)]
    floats += [
        Register(FPSR, "fpsr", 32, "int", "float", "FPSR"),
        Register(FPCR, "fpcr", 32, "int", "float", "FPCR"),
    ]
    others = [name for name in SYSTEM_REGISTERS if name not in ("FPSR", "FPCR")]
    system = [
        Register(FPCR + 1 + index, name.lower(), 64, "uint64", f"el{name[-1]}", name)
        for index, name in enumerate(others)
    ]
    return (*general, *floats, *system)


REGISTERS = _registers()
IN_ALL = FPCR + 1  # a `g` packet has the registers before this one; GDB asks for the others one by one

PSTATE_FLAGS = {
    "SP": (0, 0), "EL": (2, 3), "F": (6, 6), "I": (7, 7), "A": (8, 8), "D": (9, 9), "IL": (20, 20), "SS": (21, 21),
    "V": (28, 28), "C": (29, 29), "Z": (30, 30), "N": (31, 31),
}  # fmt: skip


def target_xml() -> str:
    """As qXfer:features:read gives it."""
    flags = "".join(f'<field name="{n}" start="{a}" end="{b}"/>' for n, (a, b) in PSTATE_FLAGS.items())
    features = (
        (GENERAL, f'<flags id="cpsr_flags" size="4">{flags}</flags>', REGISTERS[: PSTATE + 1]),
        (FLOAT, "", REGISTERS[PSTATE + 1 : IN_ALL]),
        (SYSTEM, "", REGISTERS[IN_ALL:]),
    )
    described = "".join(
        f'<feature name="{name}">{types}{"".join(map(_element, registers))}</feature>'
        for name, types, registers in features
    )
    return (
        '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">'
        f"<architecture>aarch64</architecture>{described}</target>"
    )


def _element(register: Register) -> str:
    group = f' group="{register.group}"' if register.group else ""
    size = f'bitsize="{register.bits}" type="{register.kind}" regnum="{register.number}"'
    return f'<reg name="{register.name}" {size}{group}/>'


def encode(register: Register, value: int | None) -> str:
    """A value in the target's byte order; None: not available."""
    if value is None:
        return "x" * register.digits
    return (value & (1 << register.bits) - 1).to_bytes(register.bits // 8, "little").hex()


def decode(register: Register, text: str) -> int:
    """Raises ValueError."""
    data = bytes.fromhex(text)
    if len(data) != register.bits // 8:
        raise ValueError(f"{register.name} has {register.bits} bits")
    return int.from_bytes(data, "little")
