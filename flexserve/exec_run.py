"""The run of `flexserve exec`: an image from EL3 on the emulated board, to its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emulator.debug.syndrome import describe_syndrome
from emulator.machine import Lost, Machine, StopReason
from emulator.memory_map import VIRT_COUNTER_HZ, DramLayout
from emulator.virt.board import Board, Ending, populate
from emulator.virt.console import Source
from emulator.virt.semihosting import Host, Semihosting

from .errors import UserError
from .exec_image import Load

NEVER = (1 << 64) - 1
UNFINISHED = 124  # exit status, as timeout(1) has it
LOOK_INTERVAL = VIRT_COUNTER_HZ // 100  # instructions between looks for input that the guest does not ask for
LINE_OF_DEBUGGER, LINE_OF_DEBUGGER_ERRORS = -1, -2  # as numbers of `Screen.output`


class Screen(Source, Protocol):
    """Who sits in front of the board."""

    def output(self, line: int, data: bytes) -> None:
        """From UART ``line``, or by semihosting (LINE_OF_DEBUGGER...)."""


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
    """Run what was loaded until it ends. Raises MachineError, and UserError for an image that only faults."""
    machine = make_machine(DramLayout(dram_bytes))
    try:
        board = populate(
            machine,
            source=screen,
            on_output=lambda line, byte: screen.output(line, bytes([byte])),
            clock_start=clock_start,
        )
        _attach_debugger(machine, board, screen, load, command_line, clock_start)
        for piece in load.pieces:
            machine.write_physical(piece.address, piece.data)
        machine.core.write_sysreg("CNTFRQ_EL0", VIRT_COUNTER_HZ)
        machine.reset(load.entry)
        return _run(machine, board, max_instructions)
    finally:
        machine.close()


def _attach_debugger(
    machine: Machine, board: Board, screen: Screen, load: Load, command_line: str, clock_start: int
) -> None:
    def leave(status: int) -> None:
        board.end.why, board.end.status = Ending.EXIT, status
        machine.halt()

    host = Host(
        write=lambda data: screen.output(LINE_OF_DEBUGGER, data),
        write_error=lambda data: screen.output(LINE_OF_DEBUGGER_ERRORS, data),
        read=board.console.read,
        ticks=lambda: machine.instructions,
        tick_hz=VIRT_COUNTER_HZ,
        start=clock_start,
        command_line=command_line,
        heap=load.free_memory(machine.layout.size),
        exit=leave,
    )
    machine.answer_semihosting(Semihosting(machine, host).answer)


def _run(machine: Machine, board: Board, max_instructions: int | None) -> Outcome:
    try:
        why, status = _run_to_end(machine, board, NEVER if max_instructions is None else max_instructions)
    except Left:
        why, status = "left by the user", 0
    except Lost as lost:
        raise UserError(_describe_loss(machine, lost)) from lost
    by_itself = board.end.why in {Ending.EXIT, Ending.POWER_OFF, Ending.RESET}
    return Outcome(why, status, machine.instructions, machine.core.pc, by_itself)


def _run_to_end(machine: Machine, board: Board, last: int) -> tuple[str, int]:
    """Why it ended, and the status."""
    while True:
        stop = machine.run(min(last, (machine.instructions // LOOK_INTERVAL + 1) * LOOK_INTERVAL))
        if stop.reason is StopReason.HALTED:
            why = board.end.why
            assert why is not None, "only the board's devices halt it"
            return why.value, board.end.status
        if machine.instructions >= last:
            return f"{last:,} instructions executed, as many as were allowed", UNFINISHED
        if stop.reason is StopReason.BUDGET:
            board.console.poll(wanted=False)
            continue
        idle = machine.time_to_next_event()
        seconds = math.inf if idle is None else idle / VIRT_COUNTER_HZ
        if not board.console.poll(wanted=True, idle_seconds=seconds) and not machine.advance_to_next_event():
            return "waits for an interrupt that will never come", UNFINISHED


def _describe_loss(machine: Machine, lost: Lost) -> str:
    core = machine.core
    syndrome = core.read_sysreg(f"ESR_EL{core.level}")
    cause = f"{describe_syndrome(syndrome)} (ESR_EL{core.level} {syndrome:#x})"
    return f"{lost}: {cause}, {machine.instructions:,} instructions in"
