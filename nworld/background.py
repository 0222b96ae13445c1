"""Threads of the normal kernel beside the main one: each has a turn whenever the secure world has returned.

A background thread is a flow that also yields ``PAUSE``: there it gives the processor up until its next turn.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import TypeAlias

from emulator.gate import Action, Flow, Reply
from emulator.world_port import PortAbort


class Pause(enum.Enum):
    """The only value: the turn is over."""

    PAUSE = "pause"


PAUSE = Pause.PAUSE
BackgroundFlow: TypeAlias = Generator[Action | Pause, Reply, None]


class Background:
    """Runs background threads within the flow of whoever calls ``turn``."""

    def __init__(self) -> None:
        self._threads: list[BackgroundFlow] = []

    def add(self, thread: BackgroundFlow) -> None:
        """It begins at the next turn."""
        self._threads.append(thread)

    def turn(self) -> Flow[None]:
        """Run each thread to its next pause. Raises what a thread raises; that thread is over then."""
        for thread in list(self._threads):
            if not (yield from _to_pause(thread)):
                self._threads.remove(thread)


def _to_pause(thread: BackgroundFlow) -> Flow[bool]:
    """False: the thread has ended."""
    reply: Reply | PortAbort = None
    while True:
        try:
            step = thread.throw(reply) if isinstance(reply, PortAbort) else thread.send(reply)
        except StopIteration:
            return False
        if isinstance(step, Pause):
            return True
        try:
            reply = yield step
        except PortAbort as abort:
            reply = abort
