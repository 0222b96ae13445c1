"""Tarmac, as Arm's Fast Models write it and Arm's tarmac-trace-utilities read it: instructions, registers, memory.

A line is ``time clk`` and then: ``IT (n) va:pa_NS opcode O EL3h_s : disassembly``; ``R name value``; ``MR8``, ``MW4``
``va:pa_NS value``; ``E va:pa number name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import capstone

from emulator.instructions import Executed, MemoryAccess, changed

SP_SELECT = 1
STACK_POINTER = 31
FLAGS = 0xF000_0000
HALF = 4  # bytes between underscores


class TarmacWriter:
    """Takes instructions in order; `close` writes the last one."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last: Executed | None = None
        self._engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
        self._text: dict[tuple[int, int], str] = {}
        self._written = 0

    @property
    def instructions(self) -> int:
        return self._written

    def take(self, executed: Executed) -> None:
        if self._last is None:
            self._reset(executed)
        else:
            self._write(self._last, executed)
        self._last = executed

    def close(self) -> None:
        if self._last:
            self._write(self._last, self._last)
            self._last = None

    def _reset(self, first: Executed) -> None:
        for index, value in enumerate(first.registers):
            self._line(first.time, f"R {_register(index, first)} {value:016x}")
        self._line(first.time, f"R cpsr {first.pstate:08x}")

    def _write(self, executed: Executed, after: Executed) -> None:
        """``after``: the next instruction that is traced, whose registers are those that this one left."""
        if executed.completed:
            self._written += 1
            place = f"{executed.pc:08x}:{executed.physical:012x}{_space(executed)}"
            what = f"{executed.opcode:08x} O {_mode(executed)} : {self._disassembly(executed)}"
            self._line(executed.time, f"IT ({executed.time}) {place} {what}")
            for access in executed.accesses:
                self._line(executed.time, _access(access, executed))
        else:
            place = f"{executed.pc:08x}:{executed.physical:012x}{_space(executed)}"
            self._line(executed.time, f"E {place} 00000000 CoreEvent_Exception")
        for index, value in changed(executed, after):
            self._line(executed.time, f"R {_register(index, after)} {value:016x}")
        if executed.pstate != after.pstate:
            self._line(executed.time, f"R cpsr {after.pstate:08x}")

    def _line(self, time: int, text: str) -> None:
        self._file.write(f"{time} clk {text}\n")

    def _disassembly(self, executed: Executed) -> str:
        key = executed.pc, executed.opcode
        if key not in self._text:
            found = next(self._engine.disasm_lite(executed.opcode.to_bytes(4, "little"), executed.pc), None)
            self._text[key] = f"{found[2].upper():8} {found[3]}".rstrip() if found else "UDF"
        return self._text[key]


def _mode(executed: Executed) -> str:
    """``EL3h_s``: level, stack pointer, security state."""
    stack = "h" if executed.pstate & SP_SELECT else "t"
    return f"EL{executed.level}{stack}_{'ns' if _is_normal(executed) else 's'}"


def _is_normal(executed: Executed) -> bool:
    return executed.normal and executed.level < 3


def _space(executed: Executed) -> str:
    return "_NS" if _is_normal(executed) else ""


def _register(index: int, executed: Executed) -> str:
    if index < STACK_POINTER:
        return f"X{index}"
    return f"SP_EL{executed.level if executed.pstate & SP_SELECT else 0}"


def _access(access: MemoryAccess, executed: Executed) -> str:
    kind = f"{'MW' if access.write else 'MR'}{len(access.data)}"
    digits = access.data[::-1].hex()
    parts: Sequence[str] = [digits[at : at + 2 * HALF] for at in range(0, len(digits), 2 * HALF)]
    return f"{kind} {access.address:08x}:{access.physical:012x}{_space(executed)} {'_'.join(parts)}"
