"""What can come next on a line that is being typed."""

from __future__ import annotations

from collections.abc import Iterable

from emulator.core import SYSTEM_REGISTERS
from emulator.debug.devices import device_windows
from flexserve.debug.scene import Refused
from flexserve.debug.views import VIEWS
from monitor import abi

from .command import find
from .commands import COMMANDS, KNOWN
from .kinds import KINDS
from .session import Session

_BREAKS = ("smc", "page", "event", "invariant")
_WALK = ("read", "write", "fetch", "el0", "el1", "el2", "el3", "normal", "secure", "storage")
_REPEATING = {"system"}
_FIXED: dict[str, Iterable[str]] = {
    "next": KINDS,
    "prev": KINDS,
    "goto": ("start", "end", "-"),
    "help": tuple(command.name for command in COMMANDS),
    "system": ("PSTATE", *SYSTEM_REGISTERS),
}
_PLACED = {"code", "list", "memory", "walk", "why", "pages", "history", "watch", "rwatch", "awatch"}


def candidates(session: Session, line: str) -> list[str]:
    """Words that the last, unfinished word of ``line`` may become."""
    words = line.split()
    if line.endswith(" ") or not words:
        words.append("")
    *before, begun = words
    return sorted({word for word in _choices(session, before) if word.lower().startswith(begun.lower())})


def _choices(session: Session, before: list[str]) -> Iterable[str]:
    if not before:
        return (command.name for command in COMMANDS)
    try:
        name = find(KNOWN, before[0]).name
    except Refused:
        return ()
    if name == "info":
        return VIEWS if len(before) == 1 else _arguments(session, before[1], before[2:])
    return _arguments(session, name, before[1:])


def _arguments(session: Session, name: str, before: list[str]) -> Iterable[str]:
    if name in _FIXED and (name in _REPEATING or not before):
        return _FIXED[name]
    match name, before:
        case "break", []:
            return (*_BREAKS, *session.sources.symbols)
        case "break", ["smc"]:
            return (call.name for call in abi.CALLS)
        case "break", ["event"]:
            return KINDS
        case "break", ["smc", call_name, *_]:
            return (word.name for call in abi.CALLS if call.name == call_name for word in call.args)
        case "device", []:
            return (window.name for window in device_windows(session.timeline.machine))
        case "walk", [_, *_]:
            return _WALK
    return session.sources.symbols if name in _PLACED and not before else ()
