"""Threads of the normal kernel beside the main one: they have turns whenever the secure world is not at work.

A background thread is a flow that also yields ``PAUSE``, where it gives the processor up until its next turn, or a
``Sleep``; it does not call the secure world. While there are such threads the kernel's tick takes the processor from
the secure world: so they have a turn whenever that has returned, and one a tick while it computes.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from emulator.gate import Action, Flow, Reply, counter, set_timer
from emulator.world_port import PortAbort

from .gic import Gic

TIMER = 30  # the interrupt of EL1's physical timer
TICK = 1_000_000  # ticks of CNTPCT_EL0, from the end of one to the next


class Pause(enum.Enum):
    """The only value: the turn is over."""

    PAUSE = "pause"


@dataclass
class Completion:
    """Set by the handler of the interrupt that somebody sleeps for."""

    done: bool = False


@dataclass(frozen=True)
class Sleep:
    """The turn is over, and there is none before ``completion`` is done or CNTPCT_EL0 has reached ``deadline``."""

    completion: Completion
    deadline: int

    def is_over(self, now: int) -> bool:
        return self.completion.done or now >= self.deadline


PAUSE = Pause.PAUSE
T = TypeVar("T")
BackgroundFlow: TypeAlias = Generator[Action | Pause | Sleep, Reply, T]


@dataclass
class _Thread:
    flow: BackgroundFlow[None]
    sleep: Sleep | None = None


class Background:
    """Runs background threads within the flow of whoever calls ``turn``."""

    def __init__(self, gic: Gic) -> None:
        self._threads: list[_Thread] = []
        self._gic = gic
        self._ticked = False
        gic.serve_by(TIMER, self._tick)

    def start(self, flow: BackgroundFlow[None]) -> Flow[None]:
        """It begins at the next turn."""
        if not self._threads:
            yield from self._gic.enable(TIMER)
            yield from self._set_tick()
        self._threads.append(_Thread(flow))

    def turn(self) -> Flow[None]:
        """Run each thread to its next pause. Raises what a thread raises; that thread is over then."""
        if not self._threads:
            return
        self._ticked = False
        now = yield from counter()
        for thread in [thread for thread in self._threads if not thread.sleep or thread.sleep.is_over(now)]:
            if not (yield from _to_pause(thread)):
                self._threads.remove(thread)
        if not self._threads:
            yield from set_timer(None)

    def turn_if_due(self) -> Flow[None]:
        """The secure world was preempted: a turn if that was by the tick."""
        if self._ticked:
            yield from self.turn()

    def _set_tick(self) -> Flow[None]:
        yield from set_timer((yield from counter()) + TICK)

    def _tick(self) -> Flow[bool]:
        self._ticked = True
        yield from self._set_tick()
        return True


def _to_pause(thread: _Thread) -> Flow[bool]:
    """False: the thread has ended."""
    reply: Reply | PortAbort = None
    while True:
        try:
            step = thread.flow.throw(reply) if isinstance(reply, PortAbort) else thread.flow.send(reply)
        except StopIteration:
            return False
        if isinstance(step, Pause | Sleep):
            thread.sleep = step if isinstance(step, Sleep) else None
            return True
        try:
            reply = yield step
        except PortAbort as abort:
            reply = abort
