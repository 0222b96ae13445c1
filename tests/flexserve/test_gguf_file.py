"""The GGUF container: what the gguf package reads out of sound files, and a bounded refusal of every other."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, dequantize

from flexserve.gguf_file import Gguf, GgufError
from tests.flexserve.gguf_models import Recipe

UINT32, STRING, ARRAY = 4, 8, 9
F32, Q8_0 = 0, 8


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(*keys: bytes, tensors: tuple[bytes, ...] = (), counts: tuple[int, int] | None = None) -> bytes:
    tensor_count, key_count = counts or (len(tensors), len(keys))
    return b"GGUF" + struct.pack("<IQQ", 3, tensor_count, key_count) + b"".join((*keys, *tensors))


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
def test_reads_what_the_gguf_package_reads(tmp_path: Path, kind: str) -> None:
    path = Recipe(kind=GGMLQuantizationType[kind]).write(tmp_path / "model.gguf")
    ours, theirs = Gguf.read(path), GGUFReader(path)
    assert ours.keys == {
        name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")
    }
    assert list(ours.tensors) == [found.name for found in theirs.tensors]
    for found in theirs.tensors:
        assert ours.tensors[found.name].shape == tuple(found.shape.tolist())
        assert np.array_equal(ours.tensors[found.name].values(), dequantize(found.data, found.tensor_type))


HUGE = 1 << 62


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"GGU", "is not a GGUF file"),
        (b"GGUF", "its version would end at byte 8 of 4"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "has GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is big-endian"),
        (gguf(counts=(HUGE, 0)), "the name of a tensor would end"),
        (gguf(counts=(0, HUGE)), "the name of a key would end"),
        (gguf(key(b"k", STRING, struct.pack("<Q", HUGE))), "key 'k' would end"),
        (gguf(key(b"k", STRING, text(b"\xff"))), "key 'k' is not UTF-8"),
        (gguf(key(b"k", ARRAY, struct.pack("<IQ", UINT32, HUGE))), "key 'k' would end"),
        (gguf(key(b"k", ARRAY, struct.pack("<IQ", STRING, HUGE))), "more than the file can hold"),
        (gguf(key(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 5000)), "array of arrays"),
        (gguf(key(b"k", 99, b"")), "unknown value type 99"),
        (gguf(key(b"k", UINT32, bytes(4)), key(b"k", UINT32, bytes(4))), "key 'k' is there twice"),
        (gguf(key(b"general.alignment", UINT32, bytes(4))), "general.alignment is 0"),
        (gguf(tensors=(tensor(b"t", ()),)), "has 0 dimensions"),
        (gguf(tensors=(tensor(b"t", (1,) * 5),)), "has 5 dimensions"),
        (gguf(tensors=(tensor(b"t", (4, 0, HUGE)),)), "tensor 't' is empty"),
        (gguf(tensors=(tensor(b"t", (HUGE, HUGE)),)), "tensor 't' would end"),
        (gguf(tensors=(tensor(b"t", (4,), offset=HUGE),)), "tensor 't' would end"),
        (gguf(tensors=(tensor(b"t", (4,), kind=999),)), "unknown type 999"),
        (gguf(tensors=(tensor(b"t", (33,), kind=Q8_0),)), "rows of 33 elements, Q8_0 has blocks of 32"),
        (gguf(tensors=(tensor(b"t", (1,)),) * 2) + bytes(64), "tensor 't' is there twice"),
    ],
)
def test_damage_is_refused_at_once_and_by_name(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufError, match=why):
        Gguf.read(path)


def test_empty_array_is_a_value(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(key(b"k", ARRAY, struct.pack("<IQ", UINT32, 0))))
    assert Gguf.read(path).keys == {"k": []}
