"""The GGUF container, versions 2 and 3: keys with values, and tensors, with every bound checked.

The reader of the gguf package believes what a file says of itself: a damaged count has it loop over bytes that are not
there until memory ends. So the container is read here; the gguf package knows the types, and what their blocks mean.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, dequantize
from numpy.typing import NDArray

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | list[Scalar]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32
SMALLEST_STRING = 8  # bytes: its length alone

_SCALARS = {
    GGUFValueType.UINT8:   "<u1",
    GGUFValueType.INT8:    "<i1",
    GGUFValueType.UINT16:  "<u2",
    GGUFValueType.INT16:   "<i2",
    GGUFValueType.UINT32:  "<u4",
    GGUFValueType.INT32:   "<i4",
    GGUFValueType.UINT64:  "<u8",
    GGUFValueType.INT64:   "<i8",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.FLOAT64: "<f8",
    GGUFValueType.BOOL:    "?",
}  # fmt: skip


class GgufError(ValueError):
    """Not a GGUF, or a damaged one. The message says of the file what is wrong with it."""


@dataclass(frozen=True)
class Tensor:
    """``shape`` in elements, the contiguous dimension first as GGUF has it; ``data``: its blocks, row by row."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    data: NDArray[np.uint8]

    def values(self) -> NDArray[np.float32]:
        """What the tensor says, in float32, the contiguous dimension last. Overflows give infinities."""
        with np.errstate(all="ignore"):
            return np.ascontiguousarray(dequantize(self.data, self.kind), dtype=np.float32)


@dataclass(frozen=True)
class Gguf:
    """A whole file. Tensors stay on the disk until their values are asked for."""

    keys: Mapping[str, Value]
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> Gguf:
        """Raises GgufError, OSError."""
        if path.exists() and not path.is_file():
            raise GgufError("is no regular file: name a GGUF file")
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise GgufError("is empty: name a GGUF file")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if content[: len(MAGIC)] != MAGIC:
            raise GgufError("is not a GGUF file: convert the model to GGUF first")
        return _Reader(content).file()


class _Reader:
    """A position in the file, which only moves on over bytes that are there."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = len(MAGIC)

    def file(self) -> Gguf:
        version = self._number("<u4", "its version")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            why = "is big-endian" if swapped in VERSIONS else f"has GGUF version {version}"
            raise GgufError(f"{why}, read are the little-endian versions 2 and 3: convert the model anew")
        tensor_count, key_count = self._number("<u8", "its tensor count"), self._number("<u8", "its key count")
        keys: dict[str, Value] = {}
        for _ in range(key_count):
            name = self._text("the name of a key")
            if name in keys:
                raise _damaged(f"key {name!r} is there twice")
            keys[name] = self._value(name)
        headers = [self._tensor_header() for _ in range(tensor_count)]
        start = _aligned(self._at, keys.get("general.alignment", DEFAULT_ALIGNMENT))
        tensors: dict[str, Tensor] = {}
        for name, kind, shape, offset in headers:
            if name in tensors:
                raise _damaged(f"tensor {name!r} is there twice")
            tensors[name] = Tensor(name, kind, shape, self._blocks(name, kind, shape, start + offset))
        return Gguf(keys, tensors)

    def _array(self, dtype: str, count: int, what: str) -> NDArray[np.generic]:
        wanted = np.dtype(dtype)
        end = self._at + count * wanted.itemsize
        if end > len(self._content):
            raise GgufError(
                f"is truncated or damaged: {what} would end at byte {end} of {len(self._content)}; get the file again"
            )
        array = np.frombuffer(self._content, wanted, count, self._at)
        self._at = end
        return array

    def _number(self, dtype: str, what: str) -> int:
        return int(self._array(dtype, 1, what)[0])

    def _text(self, what: str) -> str:
        encoded = self._array("u1", self._number("<u8", what), what).tobytes()
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            raise _damaged(f"{what} is not UTF-8") from None

    def _value(self, key: str) -> Value:
        what = f"key {key!r}"
        kind = self._value_type(what)
        if kind is not GGUFValueType.ARRAY:
            return self._scalars(kind, 1, what)[0]
        return self._scalars(self._value_type(what), self._number("<u8", what), what)

    def _value_type(self, what: str) -> GGUFValueType:
        number = self._number("<u4", what)
        try:
            return GGUFValueType(number)
        except ValueError:
            raise _damaged(f"{what} has the unknown value type {number}") from None

    def _scalars(self, kind: GGUFValueType, count: int, what: str) -> list[Scalar]:
        if kind is GGUFValueType.STRING:
            if count > (len(self._content) - self._at) // SMALLEST_STRING:
                raise _damaged(f"{what} has {count} strings, more than the file can hold")
            return [self._text(what) for _ in range(count)]
        if kind is GGUFValueType.ARRAY:
            raise _damaged(f"{what} is an array of arrays, which no model has")
        scalars: list[Scalar] = self._array(_SCALARS[kind], count, what).tolist()
        return scalars

    def _tensor_header(self) -> tuple[str, GGMLQuantizationType, tuple[int, ...], int]:
        """Name, type, shape and place of a tensor."""
        name = self._text("the name of a tensor")
        what = f"tensor {name!r}"
        dimensions = self._number("<u4", what)
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise _damaged(f"{what} has {dimensions} dimensions, not 1 to {MAX_DIMENSIONS}")
        shape = tuple(self._number("<u8", what) for _ in range(dimensions))
        if not all(shape):
            raise _damaged(f"{what} is empty")
        number = self._number("<u4", what)
        try:
            kind = GGMLQuantizationType(number)
        except ValueError:
            raise _damaged(f"{what} has the unknown type {number}") from None
        return name, kind, shape, self._number("<u8", what)

    def _blocks(self, name: str, kind: GGMLQuantizationType, shape: tuple[int, ...], start: int) -> NDArray[np.uint8]:
        """A tensor's blocks as bytes, in the shape of its rows."""
        elements, size = GGML_QUANT_SIZES[kind]
        columns, *rows = shape
        if columns % elements:
            raise _damaged(f"tensor {name!r} has rows of {columns} elements, {kind.name} has blocks of {elements}")
        row = columns // elements * size
        count = row
        for dimension in rows:
            count *= dimension
        self._at = start
        return self._array("u1", count, f"tensor {name!r}").reshape(*reversed(rows), row).view(np.uint8)


def _damaged(why: str) -> GgufError:
    return GgufError(f"is damaged: {why}; get the file again")


def _aligned(offset: int, alignment: Value) -> int:
    """Where tensors begin: the next multiple."""
    if not isinstance(alignment, int) or alignment <= 0:
        raise _damaged(f"its general.alignment is {alignment}, not a number of bytes")
    return -(-offset // alignment) * alignment
