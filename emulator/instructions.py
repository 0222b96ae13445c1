"""What the core executes, instruction by instruction: for exports, not for golden traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from emulator.native import ffi, lib

if TYPE_CHECKING:
    from emulator.native._native import Instruction as NativeInstruction
    from emulator.native._native import Machine as NativeMachine

BATCH = 1024
FOR_EVER = (1 << 64) - 1
ALL_LEVELS = frozenset(range(4))


@dataclass(frozen=True, slots=True)
class MemoryAccess:
    """``data``: what memory held afterwards."""

    address: int
    physical: int
    write: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """One instruction. ``registers`` (x0-x30, SP) and ``pstate`` are as it found them; ``time`` is guest time then.

    ``completed``: it took no exception; ``accesses``: loads and stores of memory, as far as they were decoded.
    """

    time: int
    pc: int
    physical: int
    opcode: int
    pstate: int
    normal: bool
    completed: bool
    registers: tuple[int, ...]
    accesses: tuple[MemoryAccess, ...]

    @property
    def level(self) -> int:
        return self.pstate >> 2 & 3


Consumer: TypeAlias = Callable[[Executed], None]


class InstructionTrace:
    """Of one machine. Raises MemoryError if the host has no room for it."""

    def __init__(self, machine: NativeMachine) -> None:
        self._machine = machine
        self._consumer: Consumer | None = None
        self._batch = ffi.new("struct instruction[]", BATCH)

    def record(
        self, consumer: Consumer, levels: frozenset[int] = ALL_LEVELS, first: int = 0, end: int = FOR_EVER
    ) -> None:
        """From now on give ``consumer`` each instruction at these levels, from guest time ``first`` to before ``end``.

        They come in order, and all of them have come when a run ends, but for the last one.
        """
        self._consumer = consumer
        if not lib.instructions_record(self._machine, sum(1 << level for level in levels), first, end):
            raise MemoryError("the host gives no memory for a trace of instructions")

    def count(self, base: int, size: int) -> Callable[[], Sequence[int]]:
        """From now on count how often each instruction of a range begins; the result gives the counts so far."""
        number = lib.instructions_count(self._machine, base, size)
        if not number:
            raise MemoryError("the host gives no memory to count instructions")
        return lambda: list(lib.instructions_counts(self._machine, number)[0 : -(-size // 4)])

    def drain(self) -> None:
        """Hand over what is complete."""
        if self._consumer is None:
            return
        while count := lib.instructions_drain(self._machine, self._batch, BATCH):
            for raw in self._batch[0:count]:
                self._consumer(_executed(raw))


def _executed(raw: NativeInstruction) -> Executed:
    data, size = bytes(raw.data), raw.size
    accesses = tuple(
        MemoryAccess(raw.address + at, raw.target + at, bool(raw.store), data[at : at + size])
        for at in range(0, raw.elements * size, size or 1)
    )
    normal, completed, registers = bool(raw.normal), bool(raw.completed), tuple(raw.x)
    return Executed(raw.time, raw.pc, raw.physical, raw.opcode, raw.pstate, normal, completed, registers, accesses)


def changed(before: Executed, after: Executed) -> Iterator[tuple[int, int]]:
    """Numbers and new values of the general registers (31: SP) that differ between two instructions."""
    for index, (old, new) in enumerate(zip(before.registers, after.registers, strict=True)):
        if old != new:
            yield index, new
