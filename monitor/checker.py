"""Judges a machine again and again: what has been judged before is known at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from emulator.image import Image
from emulator.machine import Machine, Stop, StopReason
from emulator.memory_map import DramLayout
from emulator.state import MachineState
from monitor.hardware import Hardware, Raw
from monitor.invariants import RULES, Rule
from monitor.reader import Reader

MOST_KNOWN = 5_000  # states of which a group's verdict is remembered
FRESH = {"deadlines", "before"}  # what is hardly ever the same twice


class Broken(NamedTuple):
    """A rule's name, and how it is broken."""

    rule: str
    what: str


@dataclass
class Group:
    """Rules that look at the same parts; their verdict on each state of those that was met."""

    rules: list[Rule]
    parts: Callable[[Raw], Hashable]
    known: dict[Hashable, list[Broken]] = field(default_factory=dict)

    def judge(self, now: Hardware) -> list[Broken]:
        key = self.parts(now.raw)
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            found = self.known[key] = judged(self.rules, now)
        return found


def judged(rules: Iterable[Rule], now: Hardware) -> list[Broken]:
    return [Broken(rule.name, what) for rule in rules for what in rule.check(now)]


class Checker:
    """The rules on one machine, whose monitor is ``image``."""

    def __init__(self, machine: Machine, image: Image) -> None:
        self._reader = Reader(machine, image)
        self._last: Hardware | None = None
        self._fresh = [rule for rule in RULES if FRESH & set(rule.looks_at)]
        self._groups = _groups(rule for rule in RULES if not FRESH & set(rule.looks_at))

    def look(self) -> Hardware:
        """As it is now, with what was seen the last time."""
        self._last = self._reader.look(self._last)
        return self._last

    def moved(self) -> list[Broken]:
        """How rules are broken that look back at what was seen the last time, or at deadlines."""
        return judged(self._fresh, self.look())

    def broken(self) -> list[Broken]:
        """How rules are broken now, as often as they are."""
        now = self.look()
        found = judged(self._fresh, now)
        for group in self._groups:
            found += group.judge(now)
        return found

    def forget(self) -> None:
        """What is seen next has not come of what was seen last."""
        self._last = None


def _groups(rules: Iterable[Rule]) -> list[Group]:
    found: dict[tuple[str, ...], Group] = {}
    for rule in rules:
        places = [Raw._fields.index(part) for part in rule.looks_at]
        found.setdefault(rule.looks_at, Group([], itemgetter(*places))).rules.append(rule)
    return list(found.values())


class CheckedMachine(Machine):
    """A machine with Flex-Monitor that judges every rule whenever it stops outside of EL3.

    ``checks``: whether it does; what happens while it does not is one step to the rules that look back.
    ``excused``: names of rules that are not asked for.
    """

    def __init__(self, layout: DramLayout, monitor: Image) -> None:
        super().__init__(layout)
        self.checker = Checker(self, monitor)
        self.checks = True
        self.excused: set[str] = set()
        self._halted = monitor.symbols["monitor_halted"]

    def run(self, until: int | None = None) -> Stop:
        """As `Machine.run`. Raises AssertionError, which says what is broken."""
        stop = super().run(until)
        if self.checks and self._is_outside(stop):
            self.check()
        return stop

    def check(self) -> None:
        """Raises AssertionError where a rule is broken."""
        found = [one for one in self.checker.broken() if one.rule not in self.excused]
        if found:
            raise AssertionError("\n".join(f"{rule}: {what}" for rule, what in found))

    def restore(self, state: MachineState) -> None:
        super().restore(state)
        self.checker.forget()

    def _is_outside(self, stop: Stop) -> bool:
        """EL3 was left, or waits for an interrupt on behalf of who called it (PSCI's CPU_SUSPEND)."""
        waits = stop.reason is StopReason.WFI and stop.pc != self._halted
        return self.core.level < 3 or waits
