"""What the worlds can see of a phone, to be compared."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.core import SYSTEM_REGISTERS
from emulator.memory_map import SECURE_SRAM
from emulator.state import MachineState
from emulator.world import World
from monitor.abi import Pending

from .gic import NPU_LINE
from .phone import Phone

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
class Interrupts:
    """What the GIC does with each: a byte an interrupt."""

    group1: bytes
    enabled: bytes
    priority: bytes


def interrupts(phone: Phone) -> Interrupts:
    found = phone.machine.checker.look().interrupts
    return Interrupts(*(bytes(found[name]) for name in ("group1", "enabled", "priority")))


@dataclass(frozen=True)
class Ending:
    """Of a call, and of what the worlds do after it: back to the normal world, and into the secure world again."""

    here: Registers
    memory: dict[int, bytes]
    interrupts: Interrupts
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
        return not self.interrupts.group1[NPU_LINE]

    @property
    def results(self) -> tuple[object, ...]:
        """What no interrupt may change."""
        pending = self.pending & ~Pending.FIQ
        return (self.here, self.memory, self.interrupts, self.normal, self.entry, pending, self.owed)


def memory_of(state: MachineState) -> dict[int, bytes]:
    """All but the monitor's own, which holds times and what an interrupt has pushed there."""
    return {address: page for address, page in state.pages.items() if not SECURE_SRAM.base <= address < SECURE_SRAM.end}
