"""Where a run's model comes from: a package, a GGUF that is packed on the way, or the demo model that is shipped."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from emulator.devices.trusted import Slot
from flexserve.errors import UserError
from flexserve.pack import pack_gguf
from sworld.package import HEADER_SIZE, Identity, Package, PackageError

DEMO_SLOT = "demo"
GGUF_SLOT = "model"  # of a GGUF that is packed on the way, whatever its file is called
FIRST_VERSION = 1
MANIFEST_LIMIT = 4096  # bytes from the start in which a package says what it is


@dataclass(frozen=True)
class StoredModel:
    """A package as the storage medium holds it, and the slot that the device is provisioned with for it."""

    medium: bytes | mmap.mmap
    slot: Slot


def load_model(path: Path | None, device_id: int) -> StoredModel:
    """The model in a .flex or .gguf file, or the demo model. Raises UserError."""
    if path is None:
        with as_file(files("flexserve") / "models" / "demo.gguf") as demo:
            return _stored(pack_gguf(demo, device_id=device_id, version=FIRST_VERSION, slot=DEMO_SLOT), path)
    if path.suffix == ".flex":
        return _stored(_map(path), path)
    return _stored(pack_gguf(path, device_id=device_id, version=FIRST_VERSION, slot=GGUF_SLOT), path)


def _map(path: Path) -> mmap.mmap:
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file: name a package")
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a package or a GGUF file") from error
    except ValueError as error:
        raise UserError(f"{path} is empty: pack a model with `flexserve pack`") from error


def _stored(medium: bytes | mmap.mmap, path: Path | None) -> StoredModel:
    try:
        identity: Identity = Package.identify(medium[:MANIFEST_LIMIT])
        metadata = medium[: Package.metadata_size(medium[:HEADER_SIZE])]
        if len(medium) < Package.whole_size(metadata):
            raise PackageError("it is truncated")  # noqa: TRY301
        return StoredModel(medium, Slot(identity.name, identity.model_id, identity.version))
    except (PackageError, ValueError) as error:
        raise UserError(f"{path} is no model package: {error}; pack the model with `flexserve pack`") from error
