"""Who called whom: frames by the call frame information (DWARF 4, 6.4), and through exception entry to its cause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emulator.debug.dwarf import CallFrame, SourceLine
from emulator.debug.registers import Registers, read_registers
from emulator.debug.source import SourceMap
from emulator.debug.syndrome import describe_syndrome
from emulator.debug.walk import read_virtual
from emulator.machine import Machine

MAX_FRAMES = 64
_SP, _LINK, _WORD = 31, 30, 8
_VECTORS = 0x800  # bytes
_ROUTINE = 0x400  # bytes; no assembly of the firmware's is longer
_BL = 0b100101  # bits 31:26


@dataclass(frozen=True)
class Frame:
    """``address``: of the instruction that runs, or that comes next when its callee returns.

    ``entered``: how the frame before this one was entered: "" by a call, otherwise the exception in words.
    """

    address: int
    level: int
    place: str | None
    source: SourceLine | None
    entered: str = ""


def backtrace(machine: Machine, sources: SourceMap) -> tuple[Frame, ...]:
    """From where the core stands outwards, as far as it can be told."""
    registers = read_registers(machine.core)
    found = list(_calls(machine, sources, registers))
    interrupted = _interrupted(machine, registers)
    if interrupted:
        address, level, why = interrupted
        found.append(Frame(address, level, sources.name_at(address), sources.line_at(address), why))
    return tuple(found)


def _calls(machine: Machine, sources: SourceMap, registers: Registers) -> Iterator[Frame]:
    """The frames of the current exception level. A return address is looked up as the call before it."""
    values = {**dict(enumerate(registers.x)), _SP: registers.sp}
    pc, place = registers.pc, registers.pc
    for depth in range(MAX_FRAMES):
        yield Frame(pc, registers.level, sources.name_at(pc), sources.line_at(place))
        rule = sources.call_frame_at(place)
        if rule is None:
            if depth or not _was_called(machine, sources, pc, values[_LINK]):
                return
            pc = values[_LINK]
        else:
            try:
                values = _unwound(machine, rule, values)
            except ValueError:  # a stack that leads nowhere
                return
            if values[_LINK] in {0, pc}:
                return
            pc = values[_LINK]
        place = pc - 4


def _unwound(machine: Machine, rule: CallFrame, values: dict[int, int]) -> dict[int, int]:
    """The caller's registers. Raises ValueError for memory that is not there."""
    base = values[rule.base] + rule.offset & (1 << 64) - 1
    saved = {
        register: int.from_bytes(read_virtual(machine, base + offset, _WORD), "little")
        for register, offset in rule.saved.items()
    }
    return {**values, **saved, _SP: base}


def _was_called(machine: Machine, sources: SourceMap, pc: int, link: int) -> bool:
    """Whether code without call frames (assembly) was reached by a BL that x30 still names."""
    if sources.image_at(pc) is None or sources.image_at(link) != sources.image_at(pc):
        return False
    try:
        word = int.from_bytes(read_virtual(machine, link - 4, 4), "little")
    except ValueError:
        return False
    offset = (word & 0x3FF_FFFF) - (word << 1 & 0x400_0000)  # signed, in instructions
    return word >> 26 == _BL and 0 <= pc - (link - 4 + 4 * offset) < _ROUTINE


def _interrupted(machine: Machine, registers: Registers) -> tuple[int, int, str] | None:
    """What runs again after the exception return: address, level, and what brought the core here.

    EL3 and EL2 are entered by exceptions alone; EL1 is at work on one while it stands in its vectors.
    """
    level, core = registers.level, machine.core
    in_vectors = level > 0 and 0 <= registers.pc - core.read_sysreg(f"VBAR_EL{level}") < _VECTORS
    if level < 2 and not in_vectors:
        return None
    status, back = core.read_sysreg(f"SPSR_EL{level}"), core.read_sysreg(f"ELR_EL{level}")
    if not status and not back:  # as reset left them
        return None
    return back, status >> 2 & 3, describe_syndrome(core.read_sysreg(f"ESR_EL{level}"))
