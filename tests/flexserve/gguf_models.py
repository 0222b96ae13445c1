"""Small GGUF files made on the spot, with one thing wrong where a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from numpy.typing import NDArray

Floats = NDArray[np.float32]
F32 = GGMLQuantizationType.F32


@dataclass
class Recipe:
    """Sizes, the matrices' type, and changes: ``keys`` and ``tensors`` replace the usual ones, None leaves one out."""

    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    layers: int = 2
    feed_forward: int = 96
    vocabulary: int = 300
    context: int = 128
    kind: GGMLQuantizationType = GGMLQuantizationType.Q8_0
    tied: bool = True
    architecture: str = "llama"
    keys: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Floats | None] = field(default_factory=dict)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        kv_width = self.width // self.heads * self.kv_heads
        shapes: dict[str, tuple[int, ...]] = {
            "token_embd.weight": (self.vocabulary, self.width),
            "output_norm.weight": (self.width,),
        }
        if not self.tied:
            shapes["output.weight"] = (self.vocabulary, self.width)
        for layer in range(self.layers):
            for name, shape in {
                "attn_norm": (self.width,),
                "attn_q": (self.width, self.width),
                "attn_k": (kv_width, self.width),
                "attn_v": (kv_width, self.width),
                "attn_output": (self.width, self.width),
                "ffn_norm": (self.width,),
                "ffn_gate": (self.feed_forward, self.width),
                "ffn_up": (self.feed_forward, self.width),
                "ffn_down": (self.width, self.feed_forward),
            }.items():
                shapes[f"blk.{layer}.{name}.weight"] = shape
        return shapes

    def values(self) -> dict[str, Floats]:
        """Seeded by the tensor's name, N(0, 1/fan-in)."""
        made = {}
        for name, shape in self.shapes().items():
            noise = np.random.default_rng(list(name.encode())).standard_normal(shape)
            made[name] = (noise / np.sqrt(shape[-1]) if len(shape) == 2 else 1 + noise / 8).astype(np.float32)
        return made

    def write(self, path: Path) -> Path:
        """Write the file."""
        writer = GGUFWriter(path, self.architecture)
        keys: dict[str, Any] = {
            "general.name": "a test",
            "llama.embedding_length": self.width,
            "llama.attention.head_count": self.heads,
            "llama.attention.head_count_kv": self.kv_heads,
            "llama.block_count": self.layers,
            "llama.feed_forward_length": self.feed_forward,
            "llama.context_length": self.context,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *_pieces(self)],
            "tokenizer.ggml.scores": [float(-token) for token in range(self.vocabulary)],
            "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * (self.vocabulary - 259)],
        }
        for key, value in {**keys, **self.keys}.items():
            if value is not None:
                _adder(writer, value)(key, value)
        for name, value in {**self.values(), **self.tensors}.items():
            if value is not None:
                kind = self.kind if value.ndim == 2 else F32
                data = value.astype(np.float16) if kind == GGMLQuantizationType.F16 else quantize(value, kind)
                writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


def _pieces(recipe: Recipe) -> list[str]:
    return [f"piece{token}" for token in range(recipe.vocabulary - 259)]


def _adder(writer: GGUFWriter, value: object) -> Callable[[str, Any], None]:
    match value:
        case bool():
            return writer.add_bool
        case int():
            return writer.add_uint32
        case float():
            return writer.add_float32
        case str():
            return writer.add_string
        case _:
            return writer.add_array
