"""What a command is, and how the one that was typed is found."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flexserve.debug.scene import Answer, Refused

from .session import Session


class Quit(Exception):
    """The user has seen enough."""


@dataclass(frozen=True)
class Command:
    """``names``: the full one, then short ones; ``usage``: arguments; ``what``: help, its first line for lists."""

    names: tuple[str, ...]
    usage: str
    what: str
    run: Callable[[Session, str], Answer]
    group: str

    @property
    def name(self) -> str:
        return self.names[0]


def by_name(commands: tuple[Command, ...]) -> dict[str, Command]:
    return {name: command for command in commands for name in command.names}


def find(known: Mapping[str, Command], word: str) -> Command:
    """By any of its names, or the beginning of one that is no other's. Raises Refused."""
    if word in known:
        return known[word]
    matching = {known[name].name: known[name] for name in known if name.startswith(word)}
    if len(matching) == 1:
        return next(iter(matching.values()))
    if matching:
        raise Refused(f"{word!r} may be {' or '.join(sorted(matching))}")
    near = difflib.get_close_matches(word, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else "`help` lists what there is"
    raise Refused(f"no command {word!r}: {hint}")
