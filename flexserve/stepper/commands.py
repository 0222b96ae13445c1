"""All commands, and what `help` says of them."""

from __future__ import annotations

import re

from rich.text import Text

from emulator.stops import TooManyStops
from flexserve.debug.scene import Answer, Refused, expect_none, lines
from flexserve.debug.styles import DIM, NAME

from .breaking import STOPS
from .command import Command, Quit, by_name, find
from .keeping import KEEPING
from .kinds import KINDS
from .looking import LOOKING
from .movement import MOVEMENT
from .session import Session

_GROUPS = {
    "moving": "Moving, forwards and backwards",
    "stopping": "Stopping",
    "looking": "Looking",
    "other": "Other",
}


def _help(session: Session, text: str) -> Answer:  # noqa: ARG001  # a command as the others
    if text:
        command = find(KNOWN, text)
        head = Text.assemble((command.name, NAME), f" {command.usage}")
        also = lines(f"also: {', '.join(command.names[1:])}") if command.names[1:] else ()
        return Answer({"command": command.name, "help": command.what}, (head, *lines(*command.what.split("\n")), *also))
    shown = [Text("Names can be shortened. An empty line does the last command again. Ctrl-C stops a run.", DIM)]
    for group, title in _GROUPS.items():
        shown.append(Text(title, "bold"))
        shown += [_summary(command) for command in COMMANDS if command.group == group]
        if group == "moving":
            shown.append(Text(f"  KIND: {', '.join(KINDS)}", DIM))
    return Answer({"commands": [command.name for command in COMMANDS]}, tuple(shown))


def _summary(command: Command) -> Text:
    return Text.assemble("  ", (f"{command.name} {command.usage}".ljust(34), NAME), " ", command.what.split("\n")[0])


def _quit(session: Session, text: str) -> Answer:  # noqa: ARG001  # a command as the others
    expect_none(text.split())
    raise Quit


COMMANDS = (
    *MOVEMENT,
    *STOPS,
    *LOOKING,
    *KEEPING,
    Command(("help", "h", "?"), "[COMMAND]", "this list, or more about one command", _help, "other"),
    Command(("quit", "q", "exit"), "", "leave", _quit, "other"),
)
KNOWN = by_name(COMMANDS)


_EXAMINE = re.compile(r"x/(\d*)([xdicbhwgs]*)\s+(.+)")
_UNITS = {"b": 1, "h": 2, "w": 4, "g": 8}


def as_ours(line: str) -> str:
    """What gdb has other words for: ``x/4i ADDRESS``, ``x/8gx ADDRESS``, ``info breakpoints``, ``run``."""
    if match := _EXAMINE.fullmatch(line):
        count, letters, address = int(match[1] or 1), match[2], match[3].replace(" ", "")
        if "i" in letters:
            return f"code {address} {count}"
        size = next((_UNITS[letter] for letter in letters if letter in _UNITS), 4)
        return f"memory {address} {count * size}"
    if re.fullmatch(r"i(nfo)? +b(reakpoints)?", line):
        return "breakpoints"
    return "goto start" if line in {"run", "start"} else line


def perform(session: Session, line: str) -> Answer:
    """Do what one line asks. Raises Refused, Quit."""
    word, _, rest = as_ours(line.strip()).partition(" ")
    try:
        with session.interruptible():
            return find(KNOWN, word).run(session, rest.strip())
    except TooManyStops as error:
        raise Refused(f"{error}; `delete N` removes one") from None
