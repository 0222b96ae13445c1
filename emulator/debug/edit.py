"""What a debugger's user may change in a machine, as data: a change is part of the run from then on, and made again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from emulator.machine import Machine


@dataclass(frozen=True)
class SetRegister:
    """``index``: 0 to 30, 31 the stack pointer, 32 the program counter."""

    index: int
    value: int

    def make(self, machine: Machine) -> None:
        machine.core.x[self.index] = self.value


@dataclass(frozen=True)
class SetVector:
    """Q register ``index``, 128 bits."""

    index: int
    value: int

    def make(self, machine: Machine) -> None:
        machine.core.write_vector(self.index, self.value)


@dataclass(frozen=True)
class SetSystemRegister:
    """``name`` as in `emulator.core.SYSTEM_REGISTERS`."""

    name: str
    value: int

    def make(self, machine: Machine) -> None:
        machine.core.write_sysreg(self.name, self.value)


@dataclass(frozen=True)
class SetMemory:
    """At a physical address."""

    address: int
    data: bytes

    def make(self, machine: Machine) -> None:
        machine.write_physical(self.address, self.data)


Edit: TypeAlias = SetRegister | SetVector | SetSystemRegister | SetMemory
