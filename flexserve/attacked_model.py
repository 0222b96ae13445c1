"""The storage medium of an attacked phone: a model, an older package of it, another model, and free blocks."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import numpy as np

from emulator.devices.trusted import Slot, fuse_key
from emulator.memory_map import PAGE_SIZE
from flexserve.packed_matrix import pack_matrix
from nworld.attacks.hostile import SCRATCH_BLOCKS, Medium
from sworld.package import HEADER_SIZE, Contents, Identity, Package, pack
from sworld.rope import rotation_steps
from sworld.shape import SHARED, Kind, ModelObject, ModelShape, layer_objects, shared_objects
from sworld.tokenizer import SPACE, PieceType, Tokenizer

SHAPE = ModelShape(
    vocabulary=320,
    width=96,
    layers=6,
    heads=6,
    kv_heads=2,
    feed_forward=256,
    context=96,
    rope_base=10000.0,
    norm_epsilon=1e-5,
    tied=True,
)
# For attacks on the NPU: few jobs, of which the classifier's is long enough to be interrupted in the middle
NPU_SHAPE = ModelShape(
    vocabulary=2048,
    width=256,
    layers=2,
    heads=2,
    kv_heads=1,
    feed_forward=32,
    context=32,
    rope_base=10000.0,
    norm_epsilon=1e-5,
    tied=True,
)
SLOT = "assistant"
VERSION, OLDER_VERSION = 2, 1
BYTES, BEGIN, END, UNKNOWN = 256, 0, 1, 2


@dataclass(frozen=True)
class AttackedMedium:
    """``content`` is writable, and laid out as ``layout`` says; ``slot`` accepts the model's newer package only."""

    content: bytearray
    layout: Medium
    slot: Slot


def attacked_medium(shape: ModelShape = SHAPE, device_id: int = 0) -> AttackedMedium:
    """Made of noise, and the same every time."""
    model_id, other_id = (hashlib.sha256(name).digest()[:16] for name in (b"the model", b"another model"))
    packages = [
        pack(Identity(SLOT, identity, version), shape, _contents(shape, seed), _tokenizer(shape), fuse_key(device_id))
        for identity, version, seed in (
            (model_id, VERSION, "the model"),
            (model_id, OLDER_VERSION, "the model, earlier"),
            (other_id, VERSION, "another model"),
        )
    ]
    starts = [sum(len(package) for package in packages[:count]) // PAGE_SIZE for count in range(len(packages) + 1)]
    metadata = packages[0][: Package.metadata_size(packages[0][:HEADER_SIZE])]
    first, second = (chunk for chunk in Package.parse(metadata, fuse_key(device_id)).chunks if chunk.layer in (0, 1))
    layout = Medium(
        slot=SLOT,
        package=starts[0],
        older=starts[1],
        other=starts[2],
        scratch=starts[3],
        layer_a=first.block,
        layer_b=second.block,
        layer_blocks=second.block - first.block,
    )
    content = bytearray(b"".join(packages) + bytes(SCRATCH_BLOCKS * PAGE_SIZE))
    return AttackedMedium(content, layout, Slot(SLOT, model_id, VERSION))


def _contents(shape: ModelShape, seed: str) -> Contents:
    groups = [(SHARED, shared_objects(shape)), *((layer, layer_objects(shape)) for layer in range(shape.layers))]
    return {
        (layer, thing.name): _object(shape, thing, f"{seed} {layer}") for layer, things in groups for thing in things
    }


def _object(shape: ModelShape, thing: ModelObject, seed: str) -> bytes:
    match thing.kind:
        case Kind.TABLE:
            steps = rotation_steps(shape.head_width, shape.rope_base)
            return struct.pack(f"<{len(steps)}Q", *steps)
        case Kind.VECTOR:
            return struct.pack("<f", 1.0) * thing.columns
        case Kind.MATRIX:
            noise = hashlib.shake_256(f"{seed} {thing.name}".encode()).digest(thing.rows * thing.columns)
            values = np.frombuffer(noise.replace(b"\x80", b"\x81"), np.int8).reshape(thing.rows, thing.columns)
            return pack_matrix(np.full(thing.rows, 1 / 1024, np.float32), values)


def _tokenizer(shape: ModelShape) -> Tokenizer:
    """Single bytes, and pieces that no text has."""
    control = [("<s>", PieceType.CONTROL), ("</s>", PieceType.CONTROL), ("<unk>", PieceType.UNKNOWN)]
    single = [(f"<0x{byte:02X}>", PieceType.BYTE) for byte in range(BYTES)]
    rest = shape.vocabulary - len(control) - len(single) - 1
    words = [(SPACE, PieceType.NORMAL), *((f"word{index}", PieceType.NORMAL) for index in range(rest))]
    pieces, types = zip(*control, *single, *words, strict=True)
    scores = (0.0,) * shape.vocabulary
    return Tokenizer(pieces, scores, types, BEGIN, END, UNKNOWN, add_begin=True, add_space=False, squeeze_spaces=False)
