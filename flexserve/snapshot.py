"""Snapshots as files: a whole phone in the middle of a run, with both of its kernels, for any host.

A file holds the recipe of the run, the machine's state, and what the Python kernels had learned from the machine by
then: whoever opens it runs them again from their beginning against that log (emulator/supervision/log.py). It is a zip
archive; docs/snapshots.md lists its members.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from emulator.debug.edit import Edit, SetMemory, SetRegister, SetSystemRegister, SetVector
from emulator.debug.timeline import Moment, Timeline
from emulator.gate import Notice
from emulator.state import MachineState, StateError
from emulator.stops import Position
from emulator.supervision.records import dump_events, dump_log, load_events, load_log

from .errors import UserError
from .identity import firmware_digest
from .recipe import Recipe, read
from .whole_file import whole_file

FORMAT, VERSION = "flexserve snapshot", 1
HEADER, LOG, EVENTS, NOTICES = "header.json", "log.json", "events.json", "notices.json"
EDITS, STATE = "edits.json", "state"
LARGEST_MEMBER = 1 << 32  # bytes, unpacked
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: the same snapshot is the same file
EDIT_KINDS: dict[str, type[Edit]] = {
    kind.__name__: kind for kind in (SetRegister, SetVector, SetSystemRegister, SetMemory)
}


def save(path: Path, recipe: Recipe, timeline: Timeline) -> None:
    """Write where ``timeline`` stands. Raises UserError; the file is whole or not there."""
    moment = timeline.moment()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "firmware": firmware_digest(),
        "recipe": recipe.as_json(),
        "position": list(moment.position),
    }
    state = io.BytesIO()
    moment.state.write(state)
    members = {
        HEADER: json.dumps(header, indent=1, sort_keys=True).encode(),
        LOG: dump_log(moment.entries),
        EVENTS: dump_events(moment.events),
        NOTICES: _dump([[note.kind, list(note.numbers), b64encode(note.data).decode()] for note in moment.notices]),
        EDITS: _dump([[list(position), _dump_edit(edit)] for position, edit in moment.edits]),
        STATE: state.getvalue(),
    }
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)


def load(path: Path) -> tuple[Recipe, Timeline]:
    """The run in a file, where it stood. Raises UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: _member(archive, name) for name in (HEADER, LOG, EVENTS, NOTICES, EDITS, STATE)}
        recipe, position = _header(path, members[HEADER])
        moment = Moment(
            position,
            MachineState.read(io.BytesIO(members[STATE])),
            load_log(members[LOG]),
            load_events(members[EVENTS]),
            [Notice(kind, tuple(numbers), b64decode(data)) for kind, numbers, data in json.loads(members[NOTICES])],
            [(Position(*at), _load_edit(edit)) for at, edit in json.loads(members[EDITS])],
        )
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a file that `save` of `flexserve step` wrote") from error
    except DAMAGE as error:
        raise UserError(f"{path} is no snapshot, or damaged: {error}; save it again") from error
    return recipe, Timeline(recipe.drive, at=moment)


DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError, StateError, NotImplementedError)


def _header(path: Path, content: bytes) -> tuple[Recipe, Position]:
    header = json.loads(content)
    if not isinstance(header, Mapping) or header.get("format") != FORMAT:
        raise ValueError("it does not say that it is one")
    if header["version"] != VERSION:
        raise UserError(
            f"{path} has version {header['version']} of the format, this is version {VERSION}: "
            "save it again with the flexserve that reads it"
        )
    if header["firmware"] != firmware_digest():
        raise UserError(f"{path} was saved with other firmware: build what it was saved with, or save anew")
    return read(header["recipe"]), Position(*(int(number) for number in header["position"]))


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > LARGEST_MEMBER:
        raise ValueError(f"{name} is too large")
    return archive.read(name)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _dump_edit(edit: Edit) -> dict[str, object]:
    values = dataclasses.asdict(edit)
    if isinstance(edit, SetMemory):
        values["data"] = b64encode(edit.data).decode()
    return {"kind": type(edit).__name__, **values}


def _load_edit(values: dict[str, object]) -> Edit:
    kind = EDIT_KINDS[str(values.pop("kind"))]
    if kind is SetMemory:
        values["data"] = b64decode(str(values["data"]))
    return kind(**values)  # type: ignore[arg-type]
