"""What GDB sees as threads: the core as it runs, and each world's context that the monitor keeps meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.debug.registers import read_registers
from emulator.machine import Machine
from emulator.world import World
from monitor.memory import CONTEXT, CONTEXT_BYTES, WORD

from .description import FPCR, FPSR, PROGRAM_COUNTER, PSTATE, REGISTERS, STACK_POINTER, VECTORS, Register

RUNNING = 1
SAVED = {World.NORMAL: 2, World.SECURE: 3}  # thread numbers
EL3 = 3
PARTS = {PROGRAM_COUNTER: "elr", PSTATE: "spsr", FPSR: "fpsr", FPCR: "fpcr"}  # of a context, by GDB's number


@dataclass(frozen=True)
class Thread:
    """``world``: whose saved context it is; None: the core itself."""

    number: int
    name: str
    world: World | None


class Contexts:
    """Of the machine that ``contexts`` (the monitor's symbol, None without a monitor) lies in."""

    def __init__(self, contexts: int | None) -> None:
        self._base = contexts

    def threads(self, machine: Machine) -> Sequence[Thread]:
        """The core first."""
        registers = read_registers(machine.core)
        found = [Thread(RUNNING, f"core 0 {registers.place}", None)]
        for world, number in SAVED.items():
            if self._base is not None and (registers.level == EL3 or registers.world is not world):
                name = f"{world.name.lower()} world, kept by the monitor"
                found.append(Thread(number, name, world))
        return found

    def read(self, machine: Machine, thread: Thread, register: Register) -> int | None:
        """None: the monitor does not keep it, or not always."""
        if thread.world is None:
            return _read_core(machine, register)
        offset = _offset(register.number)
        if offset is None:
            return None
        assert self._base is not None
        address = self._base + thread.world * CONTEXT_BYTES + offset
        return int.from_bytes(machine.read_physical(address, register.bits // 8), "little")

def _read_core(machine: Machine, register: Register) -> int:
    core = machine.core
    if register.number <= PSTATE:
        return core.x[register.number]
    if register.number <= PSTATE + VECTORS:
        return core.read_vector(register.number - PSTATE - 1)
    return core.read_sysreg(register.system)


def _offset(number: int) -> int | None:
    if number < STACK_POINTER:
        return CONTEXT["x"].offset + number * WORD
    if PSTATE < number <= PSTATE + VECTORS:
        return CONTEXT["v"].offset + (number - PSTATE - 1) * 2 * WORD
    return CONTEXT[PARTS[number]].offset if number in PARTS else None


def general(number: int) -> Register:
    """Raises ValueError for a number that is no register's."""
    if not 0 <= number < len(REGISTERS):
        raise ValueError(f"there is no register {number}")
    return REGISTERS[number]
