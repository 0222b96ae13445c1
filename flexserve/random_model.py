"""Seeded random models, written as GGUF: for tests and for memory pressure of any size; nothing is downloaded.

Weights follow N(0, 1 / fan-in): the sum of twelve uniform bytes has the variance 2^16 - 1 and is close to normal out to
three deviations. The bytes come from SHAKE-128, and everything after them is exact or correctly rounded: the same model
on every host.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter, quantize
from numpy.typing import NDArray

from sworld.tokenizer import SPACE, PieceType

from .gguf_file import Value

Floats = NDArray[np.float32]

UNIFORMS = 12  # bytes that make up one weight
BLOCK = 1 << 18  # weights drawn at a time
Q8_BLOCK = 32
UNIFORM_DEVIATION = 73.9  # of int8 values that are all equally frequent
GAIN_SPREAD = np.float32(1 / 16)

_BYTES = [f"<0x{value:02X}>" for value in range(256)]
_FIXED = [
    ("<unk>", PieceType.UNKNOWN), ("<s>", PieceType.CONTROL), ("</s>", PieceType.CONTROL),
    *((piece, PieceType.BYTE) for piece in _BYTES), (SPACE, PieceType.NORMAL),
]  # fmt: skip
SMALLEST_VOCABULARY = len(_FIXED)


@dataclass(frozen=True)
class RandomModel:
    """Sizes in elements; ``kind``: the type of matrices (gains are F32); ``tied``: the embedding is the head."""

    vocabulary: int = 320
    width: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 192
    context: int = 128
    kind: GGMLQuantizationType = GGMLQuantizationType.Q8_0
    tied: bool = True
    rope_base: float = 10000.0
    norm_epsilon: float = 2.0**-17
    seed: int = 0
    uniform: bool = False  # matrices of uniform bytes, Q8_0 only: 100 million weights a second or so

    def __post_init__(self) -> None:
        if self.vocabulary < SMALLEST_VOCABULARY:
            raise ValueError(
                f"vocabulary is {self.vocabulary}, bytes and control pieces alone are {SMALLEST_VOCABULARY}"
            )
        if self.uniform and self.kind != GGMLQuantizationType.Q8_0:
            raise ValueError(f"uniform weights are stored as Q8_0, not as {self.kind.name}")
        block, _ = GGML_QUANT_SIZES[self.kind]
        if self.width % block or self.feed_forward % block:
            sizes = f"width {self.width} and feed-forward {self.feed_forward}"
            raise ValueError(f"{sizes} must be multiples of {block} in {self.kind.name}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Rows and columns of every tensor, by its name in GGUF."""
        width, kv_width = self.width, self.width // self.heads * self.kv_heads
        layer = {
            "attn_norm": (width,), "attn_q": (width, width), "attn_k": (kv_width, width), "attn_v": (kv_width, width),
            "attn_output": (width, width), "ffn_norm": (width,), "ffn_gate": (self.feed_forward, width),
            "ffn_up": (self.feed_forward, width), "ffn_down": (width, self.feed_forward),
        }  # fmt: skip
        shapes: dict[str, tuple[int, ...]] = {
            "token_embd.weight": (self.vocabulary, width), "output_norm.weight": (width,)
        }  # fmt: skip
        for index in range(self.layers):
            shapes |= {f"blk.{index}.{name}.weight": shape for name, shape in layer.items()}
        return shapes if self.tied else {**shapes, "output.weight": (self.vocabulary, width)}

    def tensor(self, name: str) -> Floats:
        """The values before they are stored as ``kind``: matrices N(0, 1 / columns), gains near one."""
        shape = self.shapes()[name]
        noise = _normal(f"{self.seed} {name}", math.prod(shape)).reshape(shape)
        values: Floats = 1 + GAIN_SPREAD * noise if len(shape) == 1 else noise / np.sqrt(np.float32(shape[1]))
        return values

    def blocks(self, name: str) -> NDArray[np.uint8]:
        """A matrix as Q8_0 blocks of one f16 scale and 32 bytes: uniform values of the variance 1 / columns."""
        rows, columns = self.shapes()[name]
        draws = hashlib.shake_128(f"{self.seed} {name}".encode()).digest(rows * columns)
        values = np.frombuffer(draws, np.int8).reshape(rows, -1, Q8_BLOCK)
        scale = np.array([1 / (UNIFORM_DEVIATION * math.sqrt(columns))], "<f2").view(np.uint8)
        stored = np.empty((*values.shape[:2], len(scale) + Q8_BLOCK), np.uint8)
        stored[..., : len(scale)] = scale
        stored[..., len(scale) :] = np.maximum(values, np.int8(-127)).view(np.uint8)
        return stored.reshape(rows, -1)

    def stored(self, name: str) -> Floats | NDArray[np.uint8]:
        """A tensor as `write_gguf` takes it."""
        return self.blocks(name) if self.uniform and len(self.shapes()[name]) == 2 else self.tensor(name)

    def metadata(self) -> dict[str, Value]:
        """Sizes and tokenizer: bytes, the space, and pieces of letters, the shorter the better their score."""
        pieces = [*_FIXED, *((piece, PieceType.NORMAL) for piece in itertools.islice(_words(), self.vocabulary))]
        del pieces[self.vocabulary :]
        return {
            "general.name": f"random {self.seed}",
            "llama.context_length": self.context,
            "llama.embedding_length": self.width,
            "llama.block_count": self.layers,
            "llama.feed_forward_length": self.feed_forward,
            "llama.attention.head_count": self.heads,
            "llama.attention.head_count_kv": self.kv_heads,
            "llama.attention.layer_norm_rms_epsilon": self.norm_epsilon,
            "llama.rope.freq_base": self.rope_base,
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": [piece for piece, _ in pieces],
            "tokenizer.ggml.scores": [float(-token) for token in range(self.vocabulary)],
            "tokenizer.ggml.token_type": [int(kind) for _, kind in pieces],
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
        }

    def write(self, path: Path) -> Path:
        """Write the model: its path. Raises OSError."""
        write_gguf(path, "llama", self.metadata(), ((name, self.stored(name)) for name in self.shapes()), self.kind)
        return path


def write_gguf(
    path: Path,
    architecture: str,
    keys: Mapping[str, Value],
    tensors: Iterator[tuple[str, Floats | NDArray[np.uint8]]],
    kind: GGMLQuantizationType,
) -> None:
    """Write a GGUF whose matrices are stored as ``kind`` and whose vectors are F32. Raises OSError.

    Bytes are blocks of ``kind`` already.
    """
    writer = GGUFWriter(path, architecture)
    for key, value in keys.items():
        writer.add_key_value(key, value, *_value_types(value))
    for name, values in tensors:
        if values.ndim == 1:
            writer.add_tensor(name, values)
        elif values.dtype == np.uint8:
            writer.add_tensor(name, values, raw_dtype=kind)
        else:
            stored = values.astype(np.float16) if kind == GGMLQuantizationType.F16 else quantize(values, kind)
            writer.add_tensor(name, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _value_types(value: Value) -> tuple[GGUFValueType, GGUFValueType | None]:
    """The type of a value and, of a list, of its elements: llama.cpp wants those signed."""
    if isinstance(value, list):
        signed = type(value[0]) is int
        return GGUFValueType.ARRAY, GGUFValueType.INT32 if signed else _value_types(value[0])[0]
    kinds = {bool: GGUFValueType.BOOL, int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32}
    return kinds.get(type(value), GGUFValueType.STRING), None


def _normal(name: str, count: int) -> Floats:
    """About N(0, 1): sums of bytes, centred; the division is by a power of two and so exact."""
    noise = np.empty(count, dtype=np.float32)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        draws = np.frombuffer(hashlib.shake_128(f"{name} {start}".encode()).digest(UNIFORMS * size), np.uint8)
        sums = draws.reshape(UNIFORMS, size).sum(axis=0, dtype=np.int32) - UNIFORMS * 0xFF // 2
        noise[start : start + size] = sums.astype(np.float32) / np.float32(1 << 8)
    return noise


def _words() -> Iterator[str]:
    """Letters, then pairs of letters, and so on."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))
