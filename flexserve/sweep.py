"""An attack tried at every instruction of a window: each time on a copy of everything, made by fork.

A first copy is left alone and tells which instructions there are. Then there is a copy for each of them, which the
attacker's timer interrupts there; it tells how that ended. The run itself goes on like one of them: like the first that
got through, or else like the one in the middle. So a trace has one of all these, and a debugger steps through it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from emulator.instructions import Executed
from emulator.machine import Machine

NEVER = (1 << 63) - 1
NOP, WFI = 0xD503_201F, 0xD503_207F
AT_ONCE = os.cpu_count() or 1  # copies

Progress: TypeAlias = Callable[[int, int], None]


class Hit(NamedTuple):
    """The attack was tried at this guest time."""

    time: int
    through: bool


@dataclass(frozen=True)
class Copy:
    """A process, as the original sees it, and the pipe through which it tells how it ended."""

    time: int
    process: int
    pipe: int

    def times(self) -> list[int]:
        """What a scout has found."""
        times: list[int] = json.loads(self._told())
        return times

    def through(self) -> bool | None:
        """Whether the attack got through; None: it came too late."""
        through: bool | None = json.loads(self._told())
        return through

    def _told(self) -> str:
        """Waits for it. Raises ChildProcessError if it was killed."""
        with os.fdopen(self.pipe) as pipe:
            told = pipe.read()
        os.waitpid(self.process, 0)
        if not told:
            raise ChildProcessError(f"the copy that was to be interrupted at {self.time} ended without a word")
        return told


class Sweep:
    """Of ``machine``; ``tried`` hears at how many instructions of how many the attack was tried.

    ``times``: so often the last attack was tried, in one copy or another.
    """

    def __init__(self, machine: Machine, tried: Progress) -> None:
        self.times = 1
        self._machine = machine
        self._tried = tried
        self._pipe: int | None = None  # of a copy
        self._scout: Scout | None = None

    @property
    def is_copy(self) -> bool:
        return self._pipe is not None

    def begin(self) -> None:
        """Another attack."""
        self.times = 1

    def choose(self, level: int) -> int:
        """The guest time of an instruction at ``level``: another for each copy, and one of these for the original."""
        time = self._machine.ask(lambda: self._explore(level))
        self.times = self._machine.ask(lambda: self.times)
        return time

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Around all that a copy goes on with: whatever would end it there is an attack that got through."""
        try:
            yield
        except Exception:
            self.ended(True)
            raise
        finally:
            if self.is_copy:
                os._exit(1)

    def ended(self, through: bool | None) -> None:
        """How the attack ended, as in `Copy.through`. A copy is no more behind this."""
        if self._pipe is not None:
            with os.fdopen(self._pipe, "w") as pipe:
                json.dump(self._scout.times if self._scout else through, pipe)
            os._exit(0)

    def _explore(self, level: int) -> int:
        scout = self._fork(NEVER)
        if scout is None:
            self._scout = Scout(self._machine, level)
            return NEVER
        times = scout.times()
        hits: list[Hit] = []
        under_way: deque[Copy] = deque()
        for done, time in enumerate(times):
            copy = self._fork(time)
            if copy is None:
                return time
            under_way.append(copy)
            if len(under_way) == AT_ONCE and _collect(under_way, hits):
                break
            self._tried(done, len(times))
        while under_way:
            _collect(under_way, hits)
        assert hits, "nothing is executed in the window that the attack aims at"
        first = next((number for number, hit in enumerate(hits) if hit.through), None)
        self.times = len(hits) if first is None else first + 1
        return hits[len(hits) // 2 if first is None else first].time

    def _fork(self, time: int) -> Copy | None:
        """None: this is the copy."""
        assert not self.is_copy, "an attack has one window"
        reading, writing = os.pipe()
        process = os.fork()
        if process:
            os.close(writing)
            return Copy(time, process, reading)
        os.close(reading)
        self._pipe = writing
        self._machine.leave_alone()
        return None


def _collect(under_way: deque[Copy], hits: list[Hit]) -> bool:
    """What the oldest copy tells: whether it got through."""
    copy = under_way.popleft()
    through = copy.through()
    if through is not None:
        hits.append(Hit(copy.time, through))
    return bool(through)


class Scout:
    """Guest times of the instructions that ``machine`` executes at ``level`` from now on, but for the normal world's.

    Of a loop in which a kernel lets time pass there is its first turn: the others differ by the time that is left.
    """

    def __init__(self, machine: Machine, level: int) -> None:
        self.times: list[int] = []
        self._first = machine.layout.carve_out_base
        self._seen: set[int] = set()
        machine.instruction_trace.record(self._executed, frozenset({level}))

    def _executed(self, one: Executed) -> None:
        if one.opcode == WFI:
            self._seen.clear()  # a kernel has come to a site of its gate, and will go on from another
        if one.physical >= self._first and one.opcode != NOP and one.pc not in self._seen:
            self._seen.add(one.pc)
            self.times.append(one.time)
