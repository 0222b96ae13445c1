"""The encrypted model package, as it lies on the storage medium (docs/package-format.md).

    header | manifest | index | tokenizer | tags | blocks of chunk 1 | blocks of chunk 2 | ...

Header, manifest and index are plain; together they are the associated data of every chunk. Chunk 0 is the tokenizer;
chunk 1 holds what all layers share, then come the layers, then the head of an untied model. The package key is derived
from the device's fuse key and the hash of everything that is encrypted or authenticated, so that no key and nonce (the
chunk's number) ever serve two contents.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from emulator.memory_map import PAGE_SIZE

from .package_layout import Group, blocks, groups, laid_out, placed
from .shape import ModelObject, ModelShape, ShapeError
from .tokenizer import Tokenizer, TokenizerError

MAGIC = b"FLEXPKG\0"
FORMAT = 2  # 1: matrices as plain rows
TAG_SIZE = 16
KEY_SIZE = 32
MODEL_ID_SIZE = 16
NAME_SIZE = 32
MAX_TOKENIZER = 64 << 20
MAX_CHUNKS = 1 << 15  # more than a model can have layers

_HEADER = struct.Struct("<8sIIIII32s")  # magic, format, metadata, index, tokenizer bytes, chunks, salt
_MANIFEST = struct.Struct("<32s16sI8Iff")  # name, model id, version, sizes, RoPE base, norm epsilon
_INDEX_ENTRY = struct.Struct("<QQ")  # first block, bytes
HEADER_SIZE = _HEADER.size
_KEY_DOMAIN = b"FlexServe package key"

Contents: TypeAlias = Mapping[tuple[int, str], bytes]  # (layer or SHARED, object name) -> its bytes


class PackageError(ValueError):
    """Not a package, or one whose plain parts contradict each other."""


class NotGenuine(PackageError):
    """A chunk fails authentication: changed, moved, or encrypted for another device. ``chunk`` is its number."""

    def __init__(self, chunk: int) -> None:
        super().__init__(f"chunk {chunk} fails authentication")
        self.chunk = chunk


@dataclass(frozen=True)
class Identity:
    """What a slot of the trusted block decides about. ``name`` is the slot that the package asks for."""

    name: str
    model_id: bytes
    version: int


@dataclass(frozen=True)
class Chunk:
    """``size`` bytes from ``block`` on, a layer's objects or the shared ones; encrypted in place, the tag elsewhere."""

    name: str
    layer: int
    block: int
    size: int


@dataclass(frozen=True)
class Package:
    """A package whose metadata is genuine."""

    identity: Identity
    shape: ModelShape
    tokenizer: Tokenizer
    chunks: tuple[Chunk, ...]
    _places: Mapping[tuple[int, str], tuple[int, int]]
    _key: bytes
    _associated: bytes
    _tags: tuple[bytes, ...]

    @staticmethod
    def metadata_size(header: bytes) -> int:
        """Bytes from the package's start that `parse` needs. Raises PackageError."""
        if len(header) < HEADER_SIZE:
            raise PackageError("it is truncated")
        magic, form, metadata, index, tokenizer, chunks, _ = _HEADER.unpack_from(header)
        if magic != MAGIC:
            raise PackageError("it does not begin as a model package does")
        if form != FORMAT:
            raise PackageError(f"it has format {form}, this reader knows {FORMAT}: pack the model again")
        expected = HEADER_SIZE + _MANIFEST.size + index + tokenizer + TAG_SIZE * (chunks + 1)
        if tokenizer > MAX_TOKENIZER or chunks > MAX_CHUNKS:
            raise PackageError("its header claims more than a model can have")
        if index != chunks * _INDEX_ENTRY.size or metadata != expected:
            raise PackageError("its header contradicts itself")
        return int(metadata)

    @classmethod
    def identify(cls, content: bytes) -> Identity:
        """What a package says it is, unchecked. Raises PackageError."""
        cls.metadata_size(content)
        if len(content) < HEADER_SIZE + _MANIFEST.size:
            raise PackageError("it is truncated")
        return _read_manifest(content[HEADER_SIZE : HEADER_SIZE + _MANIFEST.size])[0]

    @classmethod
    def whole_size(cls, metadata: bytes) -> int:
        """Bytes of the whole package as its index claims, unchecked. Raises PackageError."""
        size = cls.metadata_size(metadata)
        if len(metadata) < size:
            raise PackageError("it is truncated")
        start = HEADER_SIZE + _MANIFEST.size
        _, _, _, index_size, *_ = _HEADER.unpack_from(metadata)
        places = _INDEX_ENTRY.iter_unpack(metadata[start : start + index_size])
        ends = [int(block) + blocks(chunk) for block, chunk in places]
        return PAGE_SIZE * max(blocks(size), *ends, 0)

    @classmethod
    def parse(cls, metadata: bytes, fuse_key: bytes) -> Package:
        """Check and read ``metadata_size`` bytes. Raises PackageError, NotGenuine for the tokenizer's chunk."""
        size = cls.metadata_size(metadata)
        if len(metadata) < size:
            raise PackageError("it is truncated")
        *_, index_size, tokenizer_size, count, salt = _HEADER.unpack_from(metadata)
        associated = metadata[: HEADER_SIZE + _MANIFEST.size + index_size]
        tags_at = size - TAG_SIZE * (count + 1)
        tags = tuple(metadata[at : at + TAG_SIZE] for at in range(tags_at, size, TAG_SIZE))
        identity, shape = _read_manifest(associated[HEADER_SIZE:])
        parts = groups(shape)
        chunks = _read_index(associated[HEADER_SIZE + _MANIFEST.size :], parts, size)
        key = package_key(fuse_key, salt)
        pieces = open_chunk(key, 0, associated, metadata[tags_at - tokenizer_size : tags_at], tags[0])
        if pieces is None:
            raise NotGenuine(0)
        try:
            tokenizer = Tokenizer.unpack(pieces)
        except TokenizerError as error:
            raise PackageError(str(error)) from error
        _check_vocabulary(tokenizer, shape)
        places = {
            (layer, thing.name): (number, offset)
            for number, (_, layer, objects) in enumerate(parts)
            for thing, offset in laid_out(objects)[0]
        }
        return cls(identity, shape, tokenizer, chunks, places, key, associated, tags)

    def place(self, layer: int, name: str) -> tuple[int, int]:
        """The place in ``chunks`` of the chunk that holds an object, and the object's offset in it."""
        return self._places[layer, name]

    def opening(self, chunk: int) -> tuple[int, bytes, int, bytes, bytes]:
        """What the ``open_chunk`` operation wants for a place in ``chunks``: size, key, nonce, data, tag."""
        return (self.chunks[chunk].size, self._key, chunk + 1, self._associated, self._tags[chunk + 1])


def package_key(fuse_key: bytes, salt: bytes) -> bytes:
    """HKDF-SHA256 of the device's fuse key and the package's salt."""
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=_KEY_DOMAIN).derive(fuse_key)


def open_chunk(key: bytes, number: int, associated: bytes, ciphertext: bytes, tag: bytes) -> bytes | None:
    """The plaintext, or None if the chunk is not what was packed under this number."""
    try:
        return AESGCM(key).decrypt(_nonce(number), ciphertext + tag, associated)
    except InvalidTag:
        return None


def pack(identity: Identity, shape: ModelShape, contents: Contents, tokenizer: Tokenizer, fuse_key: bytes) -> bytes:
    """The package of a model for the device with this fuse key. Raises KeyError or PackageError for wrong contents."""
    _check_vocabulary(tokenizer, shape)
    parts = groups(shape)
    vocabulary = tokenizer.pack()

    def plain() -> Iterator[bytes]:
        """The chunks, one at a time: models are large."""
        yield vocabulary
        for _, layer, objects in parts:
            yield _join(layer, objects, contents)

    manifest = _write_manifest(identity, shape)
    index_size = _INDEX_ENTRY.size * len(parts)
    metadata_size = HEADER_SIZE + _MANIFEST.size + index_size + len(vocabulary) + TAG_SIZE * (len(parts) + 1)
    index = b"".join(_INDEX_ENTRY.pack(block, size) for block, size in placed(parts, metadata_size))
    salt = _salt(itertools.chain([manifest, index], plain()))
    header = _HEADER.pack(MAGIC, FORMAT, metadata_size, index_size, len(vocabulary), len(parts), salt)
    associated = header + manifest + index
    cipher = AESGCM(package_key(fuse_key, salt))
    ciphertexts: list[memoryview] = []
    tags: list[memoryview] = []
    for number, data in enumerate(plain()):
        sealed = memoryview(cipher.encrypt(_nonce(number), data, associated))
        ciphertexts.append(sealed[:-TAG_SIZE])
        tags.append(sealed[-TAG_SIZE:])
    metadata = b"".join([associated, ciphertexts[0], *tags])
    whole: list[bytes | memoryview] = [metadata, *ciphertexts[1:]]
    return b"".join(piece for part in whole for piece in (part, bytes(-len(part) % PAGE_SIZE)))


def _check_vocabulary(tokenizer: Tokenizer, shape: ModelShape) -> None:
    if len(tokenizer.pieces) != shape.vocabulary:
        raise PackageError(f"its tokenizer has {len(tokenizer.pieces)} pieces, its manifest {shape.vocabulary}")


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


def _salt(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _join(layer: int, objects: Sequence[ModelObject], contents: Contents) -> bytes:
    places, size = laid_out(objects)
    data = bytearray(size)
    for thing, offset in places:
        content = contents[layer, thing.name]
        if len(content) != thing.size:
            raise PackageError(f"{thing.name} of layer {layer} has {len(content)} bytes, its shape wants {thing.size}")
        data[offset : offset + thing.size] = content
    return bytes(data)


def _write_manifest(identity: Identity, shape: ModelShape) -> bytes:
    sizes = (shape.vocabulary, shape.width, shape.layers, shape.heads, shape.kv_heads, shape.feed_forward)
    name = identity.name.encode()
    if len(name) > NAME_SIZE or len(identity.model_id) != MODEL_ID_SIZE:
        raise PackageError(f"slot name {identity.name!r} is longer than {NAME_SIZE} bytes in UTF-8: choose another")
    rest = (shape.context, shape.tied, shape.rope_base, shape.norm_epsilon)
    return _MANIFEST.pack(name, identity.model_id, identity.version, *sizes, *rest)


def _read_manifest(data: bytes) -> tuple[Identity, ModelShape]:
    name, model_id, version, *sizes, tied, rope_base, epsilon = _MANIFEST.unpack_from(data)
    if tied > 1:
        raise PackageError("its manifest says neither that the head is tied nor that it is not")
    try:
        identity = Identity(name.rstrip(b"\0").decode(), model_id, version)
        vocabulary, width, layers, heads, kv_heads, feed_forward, context = sizes
        shape = ModelShape(
            vocabulary, width, layers, heads, kv_heads, feed_forward, context, rope_base, epsilon, tied == 1
        )
    except (UnicodeDecodeError, ShapeError) as error:
        raise PackageError(f"its manifest is wrong: {error}") from error
    return identity, shape


def _read_index(data: bytes, parts: Sequence[Group], metadata_size: int) -> tuple[Chunk, ...]:
    entries = list(_INDEX_ENTRY.iter_unpack(data))
    if len(entries) != len(parts):
        raise PackageError(f"its index has {len(entries)} chunks, its manifest needs {len(parts)}")
    chunks = []
    for (block, size), (name, layer, _), place in zip(entries, parts, placed(parts, metadata_size), strict=True):
        if (block, size) != place:
            raise PackageError(f"its index has {name} in the wrong place or size")
        chunks.append(Chunk(name, layer, block, size))
    return tuple(chunks)
