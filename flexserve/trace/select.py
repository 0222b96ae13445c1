"""Choosing events of a trace by world, call, page and device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from emulator.memory_map import PAGE_SIZE

from .file import OWN, Trace

DRAM_PLACE = re.compile(r"\bdram\+(0x[0-9a-f]+)(?: pages=(\d+)| bytes=(\d+))?")


@dataclass(frozen=True)
class Selected:
    """``number`` counts the events of the whole trace, from 1."""

    number: int
    kind: str
    line: str


@dataclass(frozen=True)
class Selection:
    """What all chosen events have in common; None and an empty set ask for nothing."""

    kinds: frozenset[str] = frozenset()
    world: str | None = None
    call: str | None = None
    page: int | None = None
    device: str | None = None

    def of(self, trace: Trace) -> Iterator[Selected]:
        inside = self.call is None  # the chosen call
        for number, line in enumerate(trace.lines, start=1):
            kind = line.partition(" ")[0]
            if kind == "smc":
                inside = self.call is None or _call(line) == self.call.upper()
            if inside and self._wants(kind, line):
                yield Selected(number, kind, line)
            if kind in ("return", "switch"):
                inside = self.call is None

    def _wants(self, kind: str, line: str) -> bool:
        return (
            (not self.kinds or kind in self.kinds)
            and (self.world is None or re.search(rf"\b{self.world}[.:]", line) is not None)
            and (self.page is None or _concerns(line, self.page))
            and (self.device is None or re.search(rf"\b{re.escape(self.device)}\b", line, re.IGNORECASE) is not None)
        )


def _call(line: str) -> str:
    """``MEM_LOCK`` of ``smc normal.el1 MEM_LOCK ...``."""
    return line.split(" ")[2]


def _concerns(line: str, page: int) -> bool:
    if own := OWN.fullmatch(line):
        return int(own[1]) <= page < int(own[1]) + int(own[2])
    for place in DRAM_PLACE.finditer(line):
        first = int(place[1], 16) // PAGE_SIZE
        count = int(place[2] or 0) or -(-int(place[3] or 0) // PAGE_SIZE) or 1
        if first <= page < first + count:
            return True
    return False
