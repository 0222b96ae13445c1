"""A trace as a file: a header that says which run it is of, the events, and what came of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flexserve.errors import UserError
from flexserve.whole_file import whole_file

FORMAT, VERSION = "flexserve trace", 1
FIRST_LINE = f"# {FORMAT} {VERSION}"
LONGEST_LINE = 1 << 20
EVENTS = (
    "smc", "return", "switch", "exception", "own", "token", "denied", "set", "undeclared", "smmu", "smmu-fault",
    "tlbi", "dma", "npu",
)  # fmt: skip
ENDINGS = ("pages", "result")
OWN = re.compile(r"own page=(\d{1,9}) count=(\d{1,9}) ([A-Z0-9|]+)>([A-Z0-9|]+)", re.ASCII)


class TraceError(ValueError):
    """This is no trace, or a damaged one; the message says where."""


@dataclass(frozen=True)
class Trace:
    """``header``: JSON values by name; ``lines``: the events; ``endings``: what is true at the end."""

    header: Mapping[str, object]
    lines: Sequence[str]
    endings: Sequence[str] = field(default=())

    def text(self) -> str:
        head = [f"# {name} {_canonical(self.header[name])}" for name in sorted(self.header)]
        return "\n".join([FIRST_LINE, *head, *self.lines, *self.endings, ""])

    @classmethod
    def parse(cls, text: str) -> Trace:
        """Raises TraceError."""
        lines = text.split("\n")
        if lines[0] != FIRST_LINE:
            raise TraceError(_not_ours(lines[0]))
        if lines.pop():
            raise TraceError("it is cut off in the middle of a line")
        header: dict[str, object] = {}
        events: list[str] = []
        endings: list[str] = []
        for number, line in enumerate(lines[1:], start=2):
            try:
                _sort(line, header, events, endings)
            except ValueError as error:
                raise TraceError(f"line {number}: {error}") from error
        if not endings:
            raise TraceError("it has no end: the last lines are missing")
        return cls(header, events, endings)


def load(path: Path) -> Trace:
    """Raises UserError."""
    try:
        return Trace.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; record a trace with `flexserve trace record`") from error
    except ValueError as error:
        raise UserError(f"{path} is no trace of version {VERSION}, or damaged: {error}") from error


def save(path: Path, trace: Trace) -> None:
    """Raises UserError."""
    with whole_file(path) as file:
        file.write(trace.text().encode())


def _sort(line: str, header: dict[str, object], events: list[str], endings: list[str]) -> None:
    if len(line) > LONGEST_LINE:
        raise ValueError("it is too long")
    kind, _, rest = line.partition(" ")
    if kind == "#":
        if events or endings:
            raise ValueError("the header is not at the top")
        name, _, value = rest.partition(" ")
        header[name] = json.loads(value)
    elif kind in ENDINGS:
        if kind == "result":
            json.loads(rest)
        endings.append(line)
    elif kind not in EVENTS or endings:
        raise ValueError(f"{kind[:40]!r} is no event" if kind not in EVENTS else "an event behind the end")
    elif kind == "own" and not OWN.fullmatch(line):
        raise ValueError("it does not say which pages became what")
    else:
        events.append(line)


def _not_ours(line: str) -> str:
    if line.startswith(f"# {FORMAT} "):
        return f"it has version {line.rpartition(' ')[2][:20]} of the format: record it again with this flexserve"
    return f"it does not begin with {FIRST_LINE!r}"


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
