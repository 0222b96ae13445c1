"""What a view looks at, and what it answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.text import Text

from emulator.debug.source import SourceMap
from emulator.events import Event
from emulator.machine import Machine

Words: TypeAlias = Sequence[str]  # a command's arguments


class Refused(Exception):
    """The request cannot be answered: one line that says why, and what could be asked instead."""


@dataclass(frozen=True)
class Scene:
    """One instant of a run. ``events``: all since the start; ``monitored``: Flex-Monitor owns the pages."""

    machine: Machine
    sources: SourceMap
    events: Sequence[Event]
    monitored: bool = True


@dataclass(frozen=True)
class Answer:
    """The same twice: ``data`` as JSON has it, ``lines`` for a person."""

    data: Mapping[str, object]
    lines: tuple[Text, ...] = ()

    @property
    def plain(self) -> str:
        """The lines without colours."""
        return "\n".join(line.plain for line in self.lines)


def lines(*texts: str) -> tuple[Text, ...]:
    """Plain lines; what is in brackets is no markup."""
    return tuple(Text(text) for text in texts)


def expect_none(words: Words) -> None:
    """For what takes no arguments. Raises Refused."""
    if words:
        raise Refused(f"{' '.join(words)!r} is too much: this takes no arguments")
