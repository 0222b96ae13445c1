"""Reads a Llama-architecture GGUF and quantises it as docs/arithmetic.md says: int8 rows, one f32 scale a row.

Everything that the served arithmetic cannot honour is refused by name, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from flexserve.errors import UserError
from flexserve.gguf_file import Gguf, GgufError, Scalar, Tensor, Value
from flexserve.packed_matrix import pack_matrix
from sworld.package import Contents
from sworld.rope import rotation_steps
from sworld.shape import SHARED, Kind, ModelObject, ModelShape, ShapeError, layer_objects, shared_objects
from sworld.tokenizer import PieceType, Tokenizer, TokenizerError

ARCHITECTURE = "llama"
TYPES = {
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_0,
}
PEAK = np.float32(127)

# What llama.cpp would compute otherwise than we do, and the values with which it does not; the first is the usual one.
_NEUTRAL: Mapping[str, tuple[Scalar, ...]] = {
    "llama.rope.scaling.type":          ("none",),
    "llama.rope.scaling.factor":        (1.0, 0.0),
    "llama.rope.scale_linear":          (1.0, 0.0),
    "llama.expert_count":               (0,),
    "llama.use_parallel_residual":      (False,),
    "llama.attention.causal":           (True,),
    "llama.attention.sliding_window":   (0,),
    "llama.attention.clamp_kqv":        (0.0,),
    "llama.attention.max_alibi_bias":   (0.0,),
    "llama.attention.scale":            (0.0,),
    "llama.embedding_scale":            (1.0, 0.0),
    "llama.residual_scale":             (1.0, 0.0),
    "llama.logit_scale":                (1.0, 0.0),
    "tokenizer.ggml.add_eos_token":     (False,),
}  # fmt: skip

_T = TypeVar("_T", str, int, float)

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
        return _Importer(path, Gguf.read(path)).model()
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror or error}; name a GGUF file") from error
    except GgufError as error:
        raise BadModel(f"{path} {error}") from error
    except (ShapeError, TokenizerError) as error:
        raise BadModel(f"{path} cannot be served: {error}") from error


class _Importer:
    def __init__(self, path: Path, file: Gguf) -> None:
        self._path = path
        self._keys: Mapping[str, Value] = file.keys
        self._tensors: Mapping[str, Tensor] = file.tensors
        self._used: set[str] = set()

    def model(self) -> Model:
        architecture = self._text("general.architecture")
        if architecture != ARCHITECTURE:
            raise self._refuse(f"its architecture is {architecture!r}, only {ARCHITECTURE!r} is served")
        for key, neutral in _NEUTRAL.items():
            if self._keys.get(key, neutral[0]) not in neutral:
                raise self._refuse(f"its {key} is {self._keys[key]}, only {neutral[0]} is served")
        shape = self._shape()
        contents = {(SHARED, thing.name): self._object(thing, SHARED, shape) for thing in shared_objects(shape)}
        for layer in range(shape.layers):
            contents |= {(layer, thing.name): self._object(thing, layer, shape) for thing in layer_objects(shape)}
        unused = sorted(set(self._tensors) - self._used)
        if unused:
            raise self._refuse(f"tensor {unused[0]} has no place in the served architecture")
        return Model(self._text("general.name", self._path.stem), shape, contents, self._tokenizer(shape))

    def _refuse(self, why: str) -> BadModel:
        return BadModel(f"{self._path} cannot be served: {why}")

    def _text(self, key: str, default: str | None = None) -> str:
        value = self._keys.get(key, default)
        if not isinstance(value, str):
            raise self._refuse(f"its key {key} is missing or no text")
        return value

    def _number(self, key: str, default: float | None = None) -> float:
        value = self._keys.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(f"its key {key} is missing or no number")
        return value

    def _count(self, key: str, default: int | None = None) -> int:
        value = self._number(key, default)
        if not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise self._refuse(f"its key {key} is {value}, not a count")
        return value

    def _flag(self, key: str, default: bool) -> bool:
        value = self._keys.get(key, default)
        if not isinstance(value, bool):
            raise self._refuse(f"its key {key} is neither true nor false")
        return value

    def _shape(self) -> ModelShape:
        width, heads = self._count("llama.embedding_length"), self._count("llama.attention.head_count")
        embedding = self._tensor("token_embd.weight")
        shape = ModelShape(
            vocabulary=embedding.shape[1] if len(embedding.shape) == 2 else 0,
            width=width,
            layers=self._count("llama.block_count"),
            heads=heads,
            kv_heads=self._count("llama.attention.head_count_kv", heads),
            feed_forward=self._count("llama.feed_forward_length"),
            context=self._count("llama.context_length"),
            rope_base=_single(self._number("llama.rope.freq_base", 10000.0)),
            norm_epsilon=_single(self._number("llama.attention.layer_norm_rms_epsilon")),
            tied="output.weight" not in self._tensors,
        )
        for key in ("llama.rope.dimension_count", "llama.attention.key_length", "llama.attention.value_length"):
            if self._count(key, shape.head_width) != shape.head_width:
                raise self._refuse(f"its {key} is not the head width {shape.head_width}")
        return shape

    def _tensor(self, name: str) -> Tensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise self._refuse(f"tensor {name} is missing")
        if tensor.kind not in TYPES:
            served = ", ".join(kind.name for kind in sorted(TYPES))
            raise self._refuse(f"tensor {name} is {tensor.kind.name}, served are {served}: quantise it anew")
        self._used.add(name)
        return tensor

    def _object(self, thing: ModelObject, layer: int, shape: ModelShape) -> bytes:
        if thing.kind is Kind.TABLE:
            return np.array(rotation_steps(shape.head_width, shape.rope_base), dtype="<u8").tobytes()
        name = _SHARED_NAMES[thing.name] if layer == SHARED else f"blk.{layer}.{_LAYER_NAMES[thing.name]}.weight"
        tensor = self._tensor(name)
        wanted = (thing.columns,) if thing.kind is Kind.VECTOR else (thing.columns, thing.rows)
        if tensor.shape != wanted:
            raise self._refuse(f"tensor {name} has the shape {list(tensor.shape)}, its keys want {list(wanted)}")
        values = tensor.values()
        if not np.all(np.isfinite(values)):
            raise self._refuse(f"tensor {name} holds infinities or NaNs")
        return values.astype("<f4").tobytes() if thing.kind is Kind.VECTOR else quantise_rows(values)

    def _vocabulary(self, name: str, size: int, kind: type[_T]) -> list[_T]:
        values = self._keys.get(f"tokenizer.ggml.{name}")
        if not isinstance(values, list) or len(values) != size:
            raise self._refuse(f"its tokenizer.ggml.{name} has no {size} values, one for each row of the embedding")
        found = [value for value in values if isinstance(value, kind)]
        if len(found) != size:
            raise self._refuse(f"its tokenizer.ggml.{name} holds values that are no {kind.__name__}")
        return found

    def _tokenizer(self, shape: ModelShape) -> Tokenizer:
        kind = self._text("tokenizer.ggml.model")
        if kind != "llama":
            raise self._refuse(f"its tokenizer is {kind!r}, only 'llama' (SentencePiece) is served")
        try:
            kinds = tuple(map(PieceType, self._vocabulary("token_type", shape.vocabulary, int)))
        except ValueError as error:
            raise self._refuse(f"its vocabulary has an unknown token type: {error}") from error
        return Tokenizer(
            tuple(self._vocabulary("tokens", shape.vocabulary, str)),
            tuple(map(_single, self._vocabulary("scores", shape.vocabulary, float))),
            kinds,
            begin=self._count("tokenizer.ggml.bos_token_id", 1),
            end=self._count("tokenizer.ggml.eos_token_id", 2),
            unknown=self._count("tokenizer.ggml.unknown_token_id", 0),
            add_begin=self._flag("tokenizer.ggml.add_bos_token", default=True),
            add_space=self._flag("tokenizer.ggml.add_space_prefix", default=True),
            squeeze_spaces=self._flag("tokenizer.ggml.remove_extra_whitespaces", default=False),
        )


def _single(value: float) -> float:
    """The nearest f32, an infinity if it is out of range."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def quantise_rows(values: NDArray[np.float32]) -> bytes:
    """A matrix as a package holds it, quantised row by row (docs/arithmetic.md, sections 1 and 2)."""
    scales = np.max(np.abs(values), axis=1) / PEAK
    divisors = np.where(scales == 0, np.float32(1), scales)
    rows = np.clip(np.rint(values / divisors[:, np.newaxis]), -PEAK, PEAK)
    rows[scales == 0] = 0
    return pack_matrix(scales, rows.astype(np.int8))
