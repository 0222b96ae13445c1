"""A kernel thread: a registered flow and its arguments.

Generators can be neither copied nor pickled. A kernel is brought back to an earlier point by running its flows again,
with the machine's answers from a log (emulator/supervision/log.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from emulator.world_port import PortAbort

from .actions import Action, Argument, Registers, Reply

T = TypeVar("T")
Flow: TypeAlias = Generator[Action, Reply, T]
Result: TypeAlias = "Registers | bytes | int | None"
FlowFactory: TypeAlias = Callable[..., Flow[Result]]


class Thread:
    """A flow under way. ``id`` is what the kernel and the other world call it by."""

    def __init__(self, number: int, name: str, flow: FlowFactory, arguments: tuple[Argument, ...]) -> None:
        self.id = number
        self.name = name
        self.arguments = arguments
        self.result: Result = None
        self.finished = False
        self._generator = flow(*arguments)
        self._send = self._generator.send

    def step(self, value: Reply | PortAbort) -> Action | None:
        """Send a result (or throw an abort) into the flow: its next action, or None when it has finished."""
        try:
            return self._generator.throw(value) if isinstance(value, PortAbort) else self._send(value)
        except StopIteration as end:
            self.result, self.finished = end.value, True
            return None
