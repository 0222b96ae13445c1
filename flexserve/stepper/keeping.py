"""Commands that change the run, and that keep it in a file."""

from __future__ import annotations

import re
from pathlib import Path

from emulator.core import SYSTEM_REGISTERS
from emulator.debug.edit import Edit, SetMemory, SetRegister, SetSystemRegister
from flexserve import snapshot
from flexserve.debug.expressions import evaluate
from flexserve.debug.scene import Answer, Refused, Scene, lines
from flexserve.debug.subject import open_snapshot
from flexserve.errors import UserError

from .command import Command
from .session import Session

_SET = re.compile(r"(.+?)\s*(?:=|\s)\s*(\S+)")
_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}
_REGISTERS = {**{f"x{index}": index for index in range(31)}, "sp": 31, "pc": 32}
_MASK = (1 << 64) - 1


def _save(session: Session, text: str) -> Answer:
    if not text:
        raise Refused("save where? save FILE")
    try:
        snapshot.save(Path(text), session.recipe, session.timeline)
    except UserError as error:
        raise Refused(str(error)) from None
    return Answer(
        {"file": text}, lines(f"{text} holds the run as it stands; go on from it with `load`, or step --snapshot")
    )


def _load(session: Session, text: str) -> Answer:
    if not text:
        raise Refused("load what? load FILE")
    try:
        subject = open_snapshot(Path(text))
    except UserError as error:
        raise Refused(str(error)) from None
    session.open(subject)
    position = session.timeline.position
    return Answer({"file": text, "position": list(position)}, lines(f"[{position}] as it was saved"))


def _set(session: Session, text: str) -> Answer:
    match = _SET.fullmatch(text)
    if match is None:
        raise Refused("set what? set REGISTER = VALUE, or set ADDRESS:8|16|32|64 = VALUE for physical memory")
    edit = _edit(session.scene, match[1], evaluate(session.scene, match[2]))
    try:
        session.timeline.edit(edit)
    except ValueError as error:
        raise Refused(str(error)) from None
    session.refresh()
    return Answer({"set": match[1]}, lines("from here on this is another run"))


def _edit(scene: Scene, place: str, value: int) -> Edit:
    name = place.removeprefix("$").lower()
    if name in _REGISTERS:
        return SetRegister(_REGISTERS[name], value)
    if name.upper() in SYSTEM_REGISTERS:
        return SetSystemRegister(name.upper(), value)
    address, _, bits = place.rpartition(":") if place.rpartition(":")[2] in _BYTES else (place, "", "64")
    return SetMemory(evaluate(scene, address), (value & _MASK).to_bytes(8, "little")[: _BYTES[bits]])


_SET_HELP = """change a register, or physical memory, as in: set 0x40200000:32 = 1
What comes after is another run."""

KEEPING = (
    Command(("save",), "FILE", "keep the run as it stands in a file, for any host", _save, "other"),
    Command(("load",), "FILE", "go on from a file that `save` wrote", _load, "other"),
    Command(("set",), "REGISTER|ADDRESS = VALUE", _SET_HELP, _set, "other"),
)
