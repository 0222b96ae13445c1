"""What the worlds can see of a phone, to be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emulator.core import SYSTEM_REGISTERS
from emulator.memory_map import SECURE_SRAM
from emulator.state import MachineState
from emulator.world import World
from monitor.abi import Pending
from monitor.memory import CONTEXT, CONTEXT_BYTES, WORD

from .gic import NPU_LINE
from .phone import Phone

# What a context has of its own, but for the timers of the tries; SP_EL1 is what it stands on.
CONTEXT_REGISTERS = [
    name
    for name in SYSTEM_REGISTERS
    if name.endswith(("_EL0", "_EL1", "FPCR", "FPSR")) and not name.startswith(("CNTP", "CNTV", "SP_EL1"))
]
FLAGS = 0xF << 28  # NZCV
# What EL2 and EL3 keep: not what the exception before the last ERET wrote, nor the stub's scratch.
REGISTERS_ABOVE = [
    name
    for name in SYSTEM_REGISTERS
    if name.endswith(("_EL2", "_EL3")) and not name.startswith(("ELR", "SPSR", "ESR", "FAR", "HPFAR", "TPIDR_EL2"))
]
# Of the monitor's variables: instants, and a context that means something only while it is set aside.
INSTANTS = ("owed_deadline", "npu_deadline", "driver_deadline", "time_left", "drain_end")
CONTEXTS = ("contexts", "set_aside")
THREAD_RUNS = (4, 12)  # offsets in `thread`: means something only while the thread waits


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
    """``first``: x registers before this one, and the flags, if it is not 0, are left out."""
    core = phone.core
    pstate = core.pstate & ~FLAGS if first else core.pstate
    return Registers(
        core.world,
        phone.in_driver,
        [core.x[index] for index in range(first, 31)],
        (core.pc, core.sp, pstate),
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
class Above:
    """What EL2 and EL3 keep from one visit to the next; ``contexts``: what each may do, SCR_EL3 and MDCR_EL3."""

    registers: list[int]
    contexts: list[bytes]
    variables: bytes


def above(phone: Phone, marks: Sequence[str]) -> Above:
    """``marks``: variables in which an interrupt leaves its mark on purpose; zeros here, as what is no state is."""
    symbols = phone.images.monitor.symbols
    start = symbols["__bss_start"]
    found = bytearray(phone.machine.read_physical(start, symbols["__bss_end"] - start))
    first, last = CONTEXT["scr"].offset, CONTEXT["mdcr"].offset + WORD
    bases = [symbols["contexts"] - start + number * CONTEXT_BYTES for number in range(3)]
    contexts = [bytes(found[base + first : base + last]) for base in bases]
    for address, size in _no_state(phone, marks):
        found[address - start : address - start + size] = bytes(size)
    return Above([phone.core.read_sysreg(name) for name in REGISTERS_ABOVE], contexts, bytes(found))


def _no_state(phone: Phone, marks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(address, bytes)"""
    monitor = phone.images.monitor
    for name in (*INSTANTS, *CONTEXTS, *marks):
        yield monitor.symbols[name], monitor.sizes[name]
    for offset in THREAD_RUNS:
        yield monitor.symbols["thread"] + offset, 4


@dataclass(frozen=True)
class Ending:
    """Of a call, and of what the worlds do after it: back to the normal world, and into the secure world again."""

    here: Registers
    above: Above
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
        return (self.here, self.above, self.memory, self.interrupts, self.normal, self.entry, pending, self.owed)


def memory_of(state: MachineState) -> dict[int, bytes]:
    """All but the monitor's own, of which `above` has what counts."""
    return {address: page for address, page in state.pages.items() if not SECURE_SRAM.base <= address < SECURE_SRAM.end}
