"""A driver's log and a run's history as JSON, for files that any host can read."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence

from emulator.events import Event, EventKind
from emulator.world_port import PortAbort

from .log import Entry, GotLost, Ran

BYTES, VALUES, ABORT, RAN, LOST = "bytes", "values", "abort", "ran", "lost"


def dump_log(entries: Sequence[Entry]) -> bytes:
    return json.dumps([_dump(entry) for entry in entries], separators=(",", ":")).encode()


def load_log(data: bytes) -> list[Entry]:
    """Raises ValueError for anything that `dump_log` did not write."""
    try:
        return [_load(item) for item in json.loads(data)]
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"damaged log: {error!r}") from error


def dump_events(events: Sequence[Event]) -> bytes:
    rows = [(event.kind.name, event.instruction, *event.args) for event in events]
    return json.dumps(rows, separators=(",", ":")).encode()


def load_events(data: bytes) -> list[Event]:
    """Raises ValueError for anything that `dump_events` did not write."""
    try:
        rows = json.loads(data)
        return [Event(EventKind[kind], _integer(at), tuple(map(_integer, args))) for kind, at, *args in rows]
    except (TypeError, KeyError) as error:
        raise ValueError(f"damaged history: {error!r}") from error


def _dump(entry: Entry) -> object:
    match entry:
        case bytes():
            return [BYTES, b64encode(entry).decode()]
        case tuple():
            return [VALUES, *entry]
        case PortAbort():
            return [ABORT, entry.syndrome, entry.address]
        case Ran():
            return [RAN, int(entry.reason), entry.pc, entry.events]
        case GotLost():
            return [LOST, entry.message, entry.events]
        case _:
            return entry


def _load(item: object) -> Entry:
    match item:
        case None | int():
            return item
        case [str(kind), str(text)] if kind == BYTES:
            return b64decode(text, validate=True)
        case [str(kind), *values] if kind == VALUES:
            return tuple(map(_integer, values))
        case [str(kind), int(syndrome), int(address)] if kind == ABORT:
            return PortAbort(syndrome, address)
        case [str(kind), int(reason), int(pc), int(events)] if kind == RAN:
            return Ran(reason, pc, events)
        case [str(kind), str(message), int(events)] if kind == LOST:
            return GotLost(message, events)
        case _:
            raise ValueError(f"damaged log: {item!r} is no entry")


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    return value
