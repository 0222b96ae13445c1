"""Instructions in words, with the symbol and source line that they come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import capstone

from emulator.debug.dwarf import SourceLine
from emulator.debug.source import SourceMap

_TARGET = re.compile(r"#(0x[0-9a-f]+)$")
_BRANCHES = ("b", "cb", "tb", "adr")


@dataclass(frozen=True)
class Instruction:
    """``text``: as assemblers write it; ``place``: ``monitor:mem_lock+0x10``; ``target``: what a branch names."""

    address: int
    word: int
    text: str
    place: str | None
    source: SourceLine | None
    target: str | None = None


def disassemble(code: bytes, address: int, sources: SourceMap) -> tuple[Instruction, ...]:
    """Instruction by instruction; a word that is none reads ``.word``."""
    return tuple(
        _instruction(code[offset : offset + 4], address + offset, sources) for offset in range(0, len(code) - 3, 4)
    )


def _instruction(code: bytes, address: int, sources: SourceMap) -> Instruction:
    word = int.from_bytes(code, "little")
    text = f".word {word:#010x}"
    for _, _, mnemonic, operands in _engine().disasm_lite(code, address):
        text = f"{mnemonic} {operands}".rstrip()
    target = _TARGET.search(text) if text.startswith(_BRANCHES) else None
    named = sources.name_at(int(target[1], 16)) if target else None
    return Instruction(address, word, text, sources.name_at(address), sources.line_at(address), named)


@cache
def _engine() -> capstone.Cs:
    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM | capstone.CS_MODE_LITTLE_ENDIAN)
