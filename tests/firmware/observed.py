"""What the worlds can see of a phone, to be compared; and the monitor's rules, judged once for all that look alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from emulator.core import SYSTEM_REGISTERS
from emulator.memory_map import SECURE_SRAM
from emulator.state import MachineState
from emulator.world import World
from monitor.abi import Pending
from monitor.invariants import violations
from monitor.view import Interrupts

from .gic import NPU_LINE
from .phone import Phone

Hardware: TypeAlias = tuple[int, int, Interrupts]  # what `npu.hardware` gives

# What a context has of its own, but for the timers of the tries; SP_EL1 is what it stands on.
CONTEXT_REGISTERS = [
    name
    for name in SYSTEM_REGISTERS
    if name.endswith(("_EL0", "_EL1", "FPCR", "FPSR")) and not name.startswith(("CNTP", "SP_EL1"))
]


@dataclass(frozen=True)
class Registers:
    """Of the context in which the core stands."""

    world: World
    in_driver: bool
    x: list[int]
    place: tuple[int, int, int]  # PC, SP, PSTATE
    vectors: list[int]
    system: list[int]


def registers(phone: Phone, first: int = 0) -> Registers:
    """``first``: x registers before this one are left out."""
    core = phone.core
    return Registers(
        core.world,
        phone.in_driver,
        [core.x[index] for index in range(first, 31)],
        (core.pc, core.sp, core.pstate),
        [core.read_vector(index) for index in range(32)],
        [core.read_sysreg(name) for name in CONTEXT_REGISTERS],
    )


@dataclass(frozen=True)
class Ending:
    """Of a call, and of what the worlds do after it: back to the normal world, and into the secure world again."""

    here: Registers
    memory: dict[int, bytes]
    hardware: Hardware
    secure_timer: int  # what it is set to
    taken: int  # FIQs by EL3 until here
    preemptions: int  # until here
    normal: Registers
    entry: Registers
    pending: Pending
    owed: int
    served: int  # how often the normal world was told of the interrupt, or found it

    @property
    def is_elsewhere(self) -> bool:
        """Than in the normal world: its interrupts take the core away there."""
        return self.here.world is World.SECURE or self.here.in_driver

    @property
    def npu_is_secure(self) -> bool:
        return not self.hardware[-1].group1 >> NPU_LINE & 1

    @property
    def results(self) -> tuple[object, ...]:
        """What no interrupt may change."""
        pending = self.pending & ~Pending.FIQ
        return (self.here, self.memory, self.hardware, self.normal, self.entry, pending, self.owed)


@dataclass
class Remembered:
    """Memory past every filter, and what of it was looked at."""

    phone: Phone
    seen: dict[int, bytes] = field(default_factory=dict)

    def read_physical(self, address: int, size: int) -> bytes:
        found = self.phone.machine.read_physical(address, size)
        self.seen[address] = max(found, self.seen.get(address, b""), key=len)
        return found

    def agrees(self) -> bool:
        """Whether memory still holds what was seen."""
        return all(self.phone.machine.read_physical(at, len(seen)) == seen for at, seen in self.seen.items())

    def join(self) -> None:
        """What adjoins becomes one."""
        joined: dict[int, bytes] = {}
        last = -1
        for at, seen in sorted(self.seen.items()):
            if last in joined and last + len(joined[last]) == at:
                joined[last] += seen
            else:
                joined[at], last = seen, at
        self.seen = joined


@dataclass
class Rules:
    """monitor/invariants.py, whose verdict depends on nothing but what it looks at."""

    phone: Phone
    judged: list[tuple[Hardware, Remembered, list[str]]] = field(default_factory=list)

    def broken(self, registers: Hardware) -> list[str]:
        for known, memory, found in self.judged:
            if known == registers and memory.agrees():
                return found
        memory = Remembered(self.phone)
        found = violations(memory, self.phone.layout, *registers)
        memory.join()
        self.judged.append((registers, memory, found))
        return found


def memory_of(state: MachineState) -> dict[int, bytes]:
    """All but the monitor's own, which holds times and what an interrupt has pushed there."""
    return {address: page for address, page in state.pages.items() if not SECURE_SRAM.base <= address < SECURE_SRAM.end}
