"""Packs a model for one device: GGUF in, encrypted package out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from emulator.devices.trusted import NAME_BYTES, fuse_key
from flexserve.errors import UserError
from flexserve.gguf_import import read_gguf
from sworld.package import MODEL_ID_SIZE, Identity, pack

MODEL_DOMAIN = b"FlexServe model\0"


def model_id(slot: str) -> bytes:
    """Models are told apart by the name of the slot that they are made for."""
    return hashlib.sha256(MODEL_DOMAIN + slot.encode()).digest()[:MODEL_ID_SIZE]


def pack_gguf(path: Path, *, device_id: int, version: int, slot: str | None) -> bytes:
    """The package of the model in ``path`` for a device. ``slot``: by default the file's name. Raises UserError."""
    model = read_gguf(path)
    name = path.stem if slot is None else slot
    if not 0 < len(name.encode(errors="surrogateescape")) <= NAME_BYTES or not name.isprintable():
        raise UserError(f"slot name {name!r} is not 1 to {NAME_BYTES} bytes of text in UTF-8: choose one with --name")
    identity = Identity(name, model_id(name), version)
    return pack(identity, model.shape, model.contents, model.tokenizer, fuse_key(device_id))


def check_target(source: Path, target: Path) -> None:
    """Refuse to write where something else than an older package would be lost. Raises UserError."""
    if target.exists() and not target.is_file():
        raise UserError(f"{target} is no regular file: name another")
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target} is the model itself: name another file for its package")
