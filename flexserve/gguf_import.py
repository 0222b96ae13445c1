"""Reads a Llama-architecture GGUF and quantises it as docs/arithmetic.md says: int8 rows, one f32 scale a row.

Everything that the served arithmetic cannot honour is refused by name, never ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, dequantize
from numpy.typing import NDArray

from flexserve.errors import UserError
from sworld.package import SHARED, Contents
from sworld.rope import rotation_steps
from sworld.shape import Kind, ModelObject, ModelShape, ShapeError, layer_objects, shared_objects
from sworld.tokenizer import PieceType, Tokenizer, TokenizerError

ARCHITECTURE = "llama"
TYPES = {
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_0,
}
PEAK = np.float32(127)

_SHARED_NAMES = {"output_norm": "output_norm.weight", "embedding": "token_embd.weight", "head": "output.weight"}
_LAYER_NAMES = {
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "attention_output": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


class BadModel(UserError):
    """A GGUF that cannot be served; the message says of which file and why."""


@dataclass(frozen=True)
class Model:
    """A model as a package holds it."""

    title: str
    shape: ModelShape
    contents: Contents
    tokenizer: Tokenizer


def read_gguf(path: Path) -> Model:
    """Read and quantise the model in ``path``. Raises BadModel."""
    try:
        size = path.stat().st_size
        if not size:
            raise BadModel(f"{path} is empty: name a GGUF file")
        return _Importer(path, _open(path)).model()
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror or error}") from error
    except (ShapeError, TokenizerError) as error:
        raise BadModel(f"{path} cannot be served: {error}") from error


def _open(path: Path) -> GGUFReader:
    """The reader of the gguf package checks little: a damaged file makes it fail in many ways."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise BadModel(f"{path} is not a GGUF file: convert the model to GGUF first")
    try:
        return GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, MemoryError, struct.error) as error:
        raise BadModel(f"{path} is truncated or damaged: {error}; get the file again") from error


class _Importer:
    def __init__(self, path: Path, reader: GGUFReader) -> None:
        self._path = path
        self._reader = reader
        self._tensors: Mapping[str, ReaderTensor] = {tensor.name: tensor for tensor in reader.tensors}
        self._used: set[str] = set()

    def model(self) -> Model:
        architecture = self._text("general.architecture")
        if architecture != ARCHITECTURE:
            raise self._refuse(f"its architecture is {architecture!r}, only {ARCHITECTURE!r} is served")
        shape = self._shape()
        contents = {(SHARED, thing.name): self._object(thing, SHARED, shape) for thing in shared_objects(shape)}
        for layer in range(shape.layers):
            contents |= {(layer, thing.name): self._object(thing, layer, shape) for thing in layer_objects(shape)}
        unused = sorted(set(self._tensors) - self._used - {"rope_freqs.weight"})
        if unused or "rope_freqs.weight" in self._tensors:
            name = unused[0] if unused else "rope_freqs.weight"
            raise self._refuse(f"tensor {name} has no place in the served architecture")
        return Model(self._text("general.name", self._path.stem), shape, contents, self._tokenizer(shape))

    def _refuse(self, why: str) -> BadModel:
        return BadModel(f"{self._path} cannot be served: {why}")

    def _value(self, key: str) -> object:
        field = self._reader.fields.get(key)
        if field is None:
            return None
        try:
            return field.contents()
        except (ValueError, IndexError, TypeError, UnicodeDecodeError) as error:
            raise self._refuse(f"its key {key} is damaged") from error

    def _text(self, key: str, default: str | None = None) -> str:
        value = self._value(key)
        value = default if value is None else value
        if not isinstance(value, str):
            raise self._refuse(f"its key {key} is missing or no text")
        return value

    def _number(self, key: str, default: float | None = None) -> float:
        value = self._value(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(f"its key {key} is missing or no number")
        return value

    def _count(self, key: str, default: int | None = None) -> int:
        value = self._number(key, default)
        if not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise self._refuse(f"its key {key} is {value}, not a count")
        return value

    def _flag(self, key: str, default: bool) -> bool:
        value = self._value(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise self._refuse(f"its key {key} is neither true nor false")
        return value

    def _shape(self) -> ModelShape:
        width, heads = self._count("llama.embedding_length"), self._count("llama.attention.head_count")
        embedding = self._tensor("token_embd.weight")
        shape = ModelShape(
            vocabulary=int(embedding.shape[1]) if len(embedding.shape) == 2 else 0,
            width=width,
            layers=self._count("llama.block_count"),
            heads=heads,
            kv_heads=self._count("llama.attention.head_count_kv", heads),
            feed_forward=self._count("llama.feed_forward_length"),
            context=self._count("llama.context_length"),
            rope_base=float(np.float32(self._number("llama.rope.freq_base", 10000.0))),
            norm_epsilon=float(np.float32(self._number("llama.attention.layer_norm_rms_epsilon"))),
            tied="output.weight" not in self._tensors,
        )
        for key in ("llama.rope.dimension_count", "llama.attention.key_length", "llama.attention.value_length"):
            if self._count(key, shape.head_width) != shape.head_width:
                raise self._refuse(f"its {key} is not the head width {shape.head_width}")
        if self._text("llama.rope.scaling.type", "none") != "none":
            raise self._refuse("its rotary positions are scaled")
        return shape

    def _tensor(self, name: str) -> ReaderTensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise self._refuse(f"tensor {name} is missing")
        if tensor.tensor_type not in TYPES:
            served = ", ".join(kind.name for kind in sorted(TYPES))
            raise self._refuse(f"tensor {name} is {tensor.tensor_type.name}, served are {served}: quantise it anew")
        self._used.add(name)
        return tensor

    def _object(self, thing: ModelObject, layer: int, shape: ModelShape) -> bytes:
        if thing.kind is Kind.TABLE:
            return np.array(rotation_steps(shape.head_width, shape.rope_base), dtype="<u8").tobytes()
        name = _SHARED_NAMES[thing.name] if layer == SHARED else f"blk.{layer}.{_LAYER_NAMES[thing.name]}.weight"
        tensor = self._tensor(name)
        wanted = [thing.columns] if thing.kind is Kind.VECTOR else [thing.columns, thing.rows]
        if tensor.shape.tolist() != wanted:
            raise self._refuse(f"tensor {name} has the shape {tensor.shape.tolist()}, its keys want {wanted}")
        values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if not np.all(np.isfinite(values)):
            raise self._refuse(f"tensor {name} holds infinities or NaNs")
        return values.astype("<f4").tobytes() if thing.kind is Kind.VECTOR else quantise_rows(values)

    def _vocabulary(self, name: str, size: int) -> list[str | int | float]:
        values = self._value(f"tokenizer.ggml.{name}")
        if not isinstance(values, list) or len(values) != size:
            raise self._refuse(f"its tokenizer.ggml.{name} has no {size} values, one for each row of the embedding")
        return values

    def _tokenizer(self, shape: ModelShape) -> Tokenizer:
        kind = self._text("tokenizer.ggml.model")
        if kind != "llama":
            raise self._refuse(f"its tokenizer is {kind!r}, only 'llama' (SentencePiece) is served")
        tokens, scores, types = (
            self._vocabulary(name, shape.vocabulary) for name in ("tokens", "scores", "token_type")
        )
        try:
            kinds = tuple(PieceType(int(value)) for value in types)
        except ValueError as error:
            raise self._refuse(f"its vocabulary has an unknown token type: {error}") from error
        return Tokenizer(
            tuple(map(str, tokens)),
            tuple(map(float, scores)),
            kinds,
            begin=self._count("tokenizer.ggml.bos_token_id", 1),
            end=self._count("tokenizer.ggml.eos_token_id", 2),
            unknown=self._count("tokenizer.ggml.unknown_token_id", 0),
            add_begin=self._flag("tokenizer.ggml.add_bos_token", default=True),
            add_space=self._flag("tokenizer.ggml.add_space_prefix", default=True),
            squeeze_spaces=self._flag("tokenizer.ggml.remove_extra_whitespaces", default=False),
        )


def quantise_rows(values: NDArray[np.float32]) -> bytes:
    """A matrix as a package holds it: the scales of all rows, then the int8 rows (docs/arithmetic.md, section 1)."""
    scales = np.max(np.abs(values), axis=1) / PEAK
    divisors = np.where(scales == 0, np.float32(1), scales)
    rows = np.clip(np.rint(values / divisors[:, np.newaxis]), -PEAK, PEAK)
    rows[scales == 0] = 0
    return bytes(scales.astype("<f4").tobytes() + rows.astype(np.int8).tobytes())



