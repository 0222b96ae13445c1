"""Memory as bytes and text, sixteen to a line."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.debug.walk import read_virtual
from emulator.machine import Machine

LINE = 16


@dataclass(frozen=True)
class MemoryLine:
    """Up to sixteen bytes at ``address``."""

    address: int
    data: bytes

    def __str__(self) -> str:
        words = " ".join(self.data[index : index + 4].hex(" ") for index in range(0, len(self.data), 4))
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in self.data)
        return f"{self.address:#012x}  {words:{LINE * 3 - 1}}  {text}"


def dump(machine: Machine, address: int, size: int, *, physical: bool) -> tuple[MemoryLine, ...]:
    """``size`` bytes past the filters, by virtual address of the current context or physical. Raises ValueError."""
    data = machine.read_physical(address, size) if physical else read_virtual(machine, address, size)
    return tuple(MemoryLine(address + offset, data[offset : offset + LINE]) for offset in range(0, size, LINE))
