"""The run of `flexserve exec`: an image from EL3 on the emulated board, to its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emulator.machine import Lost, Machine, StopReason
from emulator.memory_map import VIRT_COUNTER_HZ, DramLayout
from emulator.virt.board import Board, Ending, Listener, populate
from emulator.virt.console import Source
from emulator.virt.semihosting import Host, Semihosting

from .exec_image import Load

NEVER = (1 << 64) - 1
UNFINISHED = 124  # exit status, as timeout(1) has it
# Instructions between looks for input that the guest does not ask for: some milliseconds of the host. Each look is a
# stop that is exact to the instruction, which costs time.
LOOK_INTERVAL = VIRT_COUNTER_HZ // 4


ENDINGS = {
    Ending.EXIT: "semihosting exit",
    Ending.POWER_OFF: "power off",
    Ending.RESET: "reset",
    Ending.FORSAKEN: "waits for input, which has ended",
}


class Screen(Source, Listener, Protocol):
    """Who sits in front of the board."""

    def print(self, data: bytes, *, error: bool) -> None:
        """Semihosting prints."""


class Left(Exception):
    """The user leaves: raised by a screen."""


@dataclass(frozen=True)
class Outcome:
    """``why`` in words; ``status`` as the process should end with; ``instructions`` were executed; at ``pc``.

    ``by_itself``: the image said so.
    """

    why: str
    status: int
    instructions: int
    pc: int
    by_itself: bool


def drive(
    load: Load,
    dram_bytes: int,
    screen: Screen,
    make_machine: Callable[[DramLayout], Machine] = Machine,
    *,
    command_line: str = "",
    clock_start: int = 0,
    max_instructions: int | None = None,
) -> Outcome:
    """Run what was loaded until it ends. Raises MachineError, and Lost for an image that only faults."""
    machine = make_machine(DramLayout(dram_bytes))
    try:
        board = populate(machine, screen, screen, clock_start=clock_start)
        host = Host(
            write=lambda data: screen.print(data, error=False),
            write_error=lambda data: screen.print(data, error=True),
            read=board.console.read,
            ticks=lambda: machine.instructions,
            tick_hz=VIRT_COUNTER_HZ,
            start=clock_start,
            command_line=command_line,
            heap=load.free_memory(dram_bytes),
            exit=lambda status: board.end.come(Ending.EXIT, status),
        )
        semihosting = Semihosting(machine, host)
        machine.keep(semihosting)
        machine.answer_semihosting(semihosting.answer)
        for piece in load.pieces:
            machine.write_physical(piece.address, piece.data)
        machine.core.write_sysreg("CNTFRQ_EL0", VIRT_COUNTER_HZ)
        machine.reset(load.entry)
        return _run(machine, board, NEVER if max_instructions is None else max_instructions)
    finally:
        machine.close()


def _run(machine: Machine, board: Board, last: int) -> Outcome:
    ending = None
    try:
        ending, why, status = _run_to_end(machine, board, last)
    except Left:
        why, status = "left by the user", 0
    except Lost as lost:
        raise Lost(f"{lost}; {machine.instructions:,} instructions in") from lost
    by_itself = ending in {Ending.EXIT, Ending.POWER_OFF, Ending.RESET}
    return Outcome(why, status, machine.instructions, machine.core.pc, by_itself)


def _run_to_end(machine: Machine, board: Board, last: int) -> tuple[Ending | None, str, int]:
    """Why it ended, twice, and the status."""
    while True:
        stop = machine.run(min(last, (machine.instructions // LOOK_INTERVAL + 1) * LOOK_INTERVAL))
        if stop.reason is StopReason.HALTED:
            ending = Ending(machine.ask(lambda: board.end.why))
            return ending, ENDINGS[ending], machine.ask(lambda: board.end.status)
        if machine.instructions >= last:
            return None, f"{last:,} instructions executed, as many as were allowed", UNFINISHED
        if stop.reason is StopReason.BUDGET:
            machine.ask(lambda: _work(board))
        elif not machine.ask(lambda: _wait(machine, board)) and not machine.advance_to_next_event():
            return None, "waits for an interrupt that will never come", UNFINISHED


def _work(board: Board) -> int:
    board.console.work()
    return 0


def _wait(machine: Machine, board: Board) -> int:
    """Whether the machine has reason to go on where it is: input, or its end."""
    due = machine.time_to_next_event()
    came = board.console.wait(math.inf if due is None else due / VIRT_COUNTER_HZ)
    return int(came or bool(board.end.why))
