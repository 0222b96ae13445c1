"""Packages: what was packed comes back, and nothing else is accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sworld.package
from emulator.devices.trusted import fuse_key
from emulator.memory_map import PAGE_SIZE
from sworld.package import (
    HEADER_SIZE,
    Contents,
    Identity,
    NotGenuine,
    Package,
    PackageError,
    open_chunk,
    pack,
    package_key,
)
from sworld.shape import SHARED, ModelShape, layer_objects, shared_objects
from sworld.tokenizer import PieceType, Tokenizer

SHAPE = ModelShape(
    vocabulary=40, width=24, layers=3, heads=4, kv_heads=2, feed_forward=50, context=64, rope_base=10000.0,
    norm_epsilon=2.0**-17, tied=False,
)  # fmt: skip
IDENTITY = Identity("a slot", b"0123456789abcdef", 7)
KEY = fuse_key(1)
TOKENIZER = Tokenizer(
    tuple(f"p{token}" for token in range(SHAPE.vocabulary)),
    tuple(float(-token) for token in range(SHAPE.vocabulary)),
    (PieceType.NORMAL,) * SHAPE.vocabulary,
    begin=1, end=2, unknown=0, add_begin=True, add_space=True, squeeze_spaces=False,
)  # fmt: skip


def contents(shape: ModelShape = SHAPE) -> dict[tuple[int, str], bytes]:
    things = [(SHARED, thing) for thing in shared_objects(shape)]
    things += [(layer, thing) for layer in range(shape.layers) for thing in layer_objects(shape)]
    return {
        (layer, thing.name): bytes((number * 31 + place) % 251 for place in range(thing.size))
        for number, (layer, thing) in enumerate(things)
    }


def packed(identity: Identity = IDENTITY, things: Contents | None = None, key: bytes = KEY) -> bytes:
    return pack(identity, SHAPE, things or contents(), TOKENIZER, key)


PACKED = packed()
METADATA = Package.metadata_size(PACKED[:HEADER_SIZE])


def parse(data: bytes, key: bytes = KEY) -> Package:
    return Package.parse(data[: Package.metadata_size(data[:HEADER_SIZE])], key)


def opened(data: bytes, package: Package, chunk: int) -> bytes | None:
    size, key, number, associated, tag = package.opening(chunk)
    start = package.chunks[chunk].block * PAGE_SIZE
    return open_chunk(key, number, associated, data[start : start + size], tag)


def test_every_object_comes_back() -> None:
    package = parse(PACKED)
    assert (package.identity, package.shape, package.tokenizer) == (IDENTITY, SHAPE, TOKENIZER)
    for (layer, name), content in contents().items():
        chunk, offset = package.place(layer, name)
        plain = opened(PACKED, package, chunk)
        assert plain is not None
        assert offset % 8 == 0
        assert plain[offset : offset + len(content)] == content


def test_layers_have_chunks_of_their_own_and_an_untied_head_comes_last() -> None:
    assert [chunk.name for chunk in parse(PACKED).chunks] == ["shared", "layer 0", "layer 1", "layer 2", "head"]


def test_no_plaintext_of_a_weight_or_of_the_vocabulary_is_in_the_package() -> None:
    assert not any(content[:16] in PACKED for content in contents().values())
    assert b"p10" not in PACKED


def test_index_tells_the_size_of_the_whole() -> None:
    assert Package.whole_size(PACKED[:METADATA]) == len(PACKED)


def test_same_contents_same_bytes() -> None:
    assert packed() == PACKED


@pytest.mark.parametrize(
    "other",
    [
        packed(replace(IDENTITY, version=8)),
        packed(replace(IDENTITY, name="another slot")),
        packed(replace(IDENTITY, model_id=b"another model id")),
        packed(things={**contents(), (1, "up"): bytes(len(contents()[1, "up"]))}),
    ],
    ids=["version", "name", "model id", "one weight"],
)
def test_key_is_of_one_content_only(other: bytes) -> None:
    """The nonce is the chunk's number, so whatever differs must change the key, which the salt decides."""
    assert other[:HEADER_SIZE][-32:] != PACKED[:HEADER_SIZE][-32:]
    assert package_key(KEY, other[:HEADER_SIZE][-32:]) != package_key(KEY, PACKED[:HEADER_SIZE][-32:])


def test_package_of_another_device_is_not_genuine() -> None:
    with pytest.raises(NotGenuine) as refused:
        parse(PACKED, fuse_key(2))
    assert refused.value.chunk == 0


@pytest.mark.parametrize("place", range(0, METADATA, 7))
def test_flipped_bit_in_the_metadata_is_refused(place: int) -> None:
    """In the header, manifest, index and tokenizer at once; in a tag, when its chunk is opened."""
    data = bytearray(PACKED)
    data[place] ^= 1 << place % 8
    try:
        package = parse(bytes(data))
    except PackageError:
        return
    assert place >= METADATA - 16 * 5
    assert sum(opened(bytes(data), package, chunk) is None for chunk in range(5)) == 1


@pytest.mark.parametrize("chunk", range(5))
def test_flipped_bit_in_a_chunk_is_refused(chunk: int) -> None:
    package = parse(PACKED)
    data = bytearray(PACKED)
    data[package.chunks[chunk].block * PAGE_SIZE + 100] ^= 4
    assert [opened(bytes(data), package, other) is None for other in range(5)] == [other == chunk for other in range(5)]


def test_swapped_layers_are_refused() -> None:
    package = parse(PACKED)
    first, second = (package.chunks[chunk] for chunk in (1, 2))
    assert first.size == second.size
    data = bytearray(PACKED)
    for target, source in ((first, second), (second, first)):
        content = PACKED[source.block * PAGE_SIZE : source.block * PAGE_SIZE + source.size]
        data[target.block * PAGE_SIZE : target.block * PAGE_SIZE + target.size] = content
    assert opened(bytes(data), package, 1) is None
    assert opened(bytes(data), package, 2) is None


@given(st.integers(0, METADATA - 1))
def test_truncated_metadata_is_refused(size: int) -> None:
    with pytest.raises(PackageError):
        Package.parse(PACKED[:size], KEY)
    with pytest.raises(PackageError):
        Package.whole_size(PACKED[:size])
    if size < HEADER_SIZE:
        with pytest.raises(PackageError, match="truncated"):
            Package.identify(PACKED[:size])


@settings(max_examples=300)
@given(st.data())
def test_hostile_metadata_gets_nothing_but_package_errors(data: st.DataObject) -> None:
    hostile = bytearray(PACKED[:METADATA])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, HEADER_SIZE + 200))
        noise = data.draw(st.binary(min_size=1, max_size=8))
        hostile[start : start + len(noise)] = noise
    try:
        Package.parse(bytes(hostile), KEY)
    except PackageError:
        return
    assert hostile[: METADATA - 16 * 5] == PACKED[: METADATA - 16 * 5]


def test_vocabulary_must_be_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token without a piece must not come up in the middle of a generation."""
    larger = replace(SHAPE, vocabulary=41)
    with pytest.raises(PackageError, match="its tokenizer has 40 pieces, its manifest 41"):
        pack(IDENTITY, larger, contents(larger), TOKENIZER, KEY)
    with monkeypatch.context() as patched:
        patched.setattr(sworld.package, "_check_vocabulary", lambda tokenizer, shape: None)
        data = pack(IDENTITY, larger, contents(larger), TOKENIZER, KEY)
    with pytest.raises(PackageError, match="its tokenizer has 40 pieces, its manifest 41"):
        parse(data)


def test_wrong_size_of_an_object_is_refused() -> None:
    with pytest.raises(PackageError, match=r"up of layer 1 has 3 bytes"):
        packed(things={**contents(), (1, "up"): b"abc"})
