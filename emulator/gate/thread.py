"""A kernel thread: a registered flow, its arguments, and the journal of what was sent into the flows of one kernel.

Generators can be neither copied nor pickled. A thread is therefore known by its flow's name and arguments, and it is
rebuilt by running the flow again against the journal. The journal holds all threads of a kernel in the order of their
steps, because they share the kernel's state; it is cut whenever no thread is live.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias, TypeVar

from emulator.world_port import PortAbort

from .actions import Action, Argument, Registers, Reply

T = TypeVar("T")
Flow: TypeAlias = Generator[Action, Reply, T]
Result: TypeAlias = "Registers | bytes | int | None"
FlowFactory: TypeAlias = Callable[..., Flow[Result]]


class Sent(NamedTuple):
    """One step: what ``thread`` got for its last action (the first step starts it with None)."""

    thread: int
    value: Reply | PortAbort


class Thread:
    """A flow under way. ``id`` is what the kernel and the other world call it by."""

    def __init__(self, number: int, name: str, flow: FlowFactory, arguments: tuple[Argument, ...]) -> None:
        self.id = number
        self.name = name
        self.arguments = arguments
        self.result: Result = None
        self.finished = False
        self._generator = flow(*arguments)

    def step(self, value: Reply | PortAbort) -> Action | None:
        """Send a result (or throw an abort) into the flow: its next action, or None when it has finished."""
        try:
            if isinstance(value, PortAbort):
                return self._generator.throw(value)
            return self._generator.send(value)
        except StopIteration as end:
            self.result, self.finished = end.value, True
            return None
