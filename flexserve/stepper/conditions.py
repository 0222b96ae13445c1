"""Conditions on the arguments of a call: ``x1>=16``, ``pages==64``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from emulator.events import Event
from flexserve.debug.expressions import evaluate
from flexserve.debug.scene import Refused, Scene
from monitor import abi

OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "&": lambda left, right: bool(left & right),
}
_CONDITION = re.compile(r"(\w+)\s*(==|!=|>=|<=|>|<|&)\s*(.+)")
_REGISTERS = 6  # x0 to x5 are in the event


@dataclass(frozen=True)
class Condition:
    """Register x``register`` at the call compares so with ``value``."""

    register: int
    comparison: str
    value: int

    def holds(self, event: Event) -> bool:
        return OPERATORS[self.comparison](event.args[self.register], self.value)


def parse_conditions(scene: Scene, call: abi.Call, text: str) -> tuple[Condition, ...]:
    """Of ``text``: conditions with spaces, ``and`` or commas between them. Raises Refused."""
    parts = [part for part in re.split(r"\s*(?:,|\band\b|\s(?=\w+\s*[=!<>&]))\s*", text.strip()) if part]
    return tuple(_condition(scene, call, part) for part in parts)


def _condition(scene: Scene, call: abi.Call, text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise Refused(f"{text!r} is no condition: write x1>=16, or an argument's name as in pages==64")
    names = {word.name: index for index, word in enumerate(call.args, 1)}
    register = names.get(match[1])
    if register is None and re.fullmatch(r"x[0-5]", match[1]):
        register = int(match[1][1:])
    if register is None or register >= _REGISTERS:
        known = ", ".join([*names, "x0 to x5"])
        raise Refused(f"{call.name} has no argument {match[1]!r}: there are {known}")
    return Condition(register, match[2], evaluate(scene, match[3]))


def find_call(name: str) -> abi.Call:
    """By its name or the end of it (LOCK is MEM_LOCK), or its number. Raises Refused."""
    wanted = name.upper()
    matching = [call for call in abi.CALLS if call.name == wanted]
    matching = matching or [call for call in abi.CALLS if call.name.endswith(f"_{wanted}")]
    if not matching and wanted.startswith("0X"):
        matching = [call for call in abi.CALLS if f"{call.function:#X}" == wanted]
    if not matching:
        raise Refused(f"no call {name!r}: there are {', '.join(call.name for call in abi.CALLS)}")
    if len(matching) > 1:
        raise Refused(f"{name!r} may be {' or '.join(call.name for call in matching)}")
    return matching[0]
