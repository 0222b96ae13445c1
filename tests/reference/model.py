"""Seeded Llama models and their forward pass: as served (docs/arithmetic.md) and in float64. Imports nothing of ours.

The generator uses integers and single exact float32 operations only, so a model is the same on every host.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tests.reference import arithmetic
from tests.reference.arithmetic import Activation, Floats, Integers, Quantised

F = np.float32
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model, in elements; ``tied``: the head is the embedding."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    tied: bool
    context: int = 64
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_width


def normal(seed: int, stream: int, shape: tuple[int, ...]) -> Floats:
    """About N(0, 1): the sum of twelve uniform 16-bit integers, centred; bits from SplitMix64 by counter."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.arange(1, 3 * count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(arithmetic.random_bits(seed, stream))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    parts = np.stack([(z >> np.uint64(16 * k)) & np.uint64(0xFFFF) for k in range(4)]).astype(np.int64)
    centred = parts.reshape(12, count).sum(axis=0) - 6 * 65535
    result: Floats = (centred.astype(np.float32) / F(65536)).reshape(shape)
    return result


@dataclass(frozen=True)
class Weights:
    """A model's float32 tensors, by the object names of docs/arithmetic.md; ``layers[i]`` for layer i."""

    sizes: Sizes
    shared: dict[str, Floats]
    layers: tuple[dict[str, Floats], ...]

    @classmethod
    def random(cls, sizes: Sizes, seed: int) -> Weights:
        """Matrices N(0, 1 / fan_in), gains near one."""
        streams = iter(range(1000))

        def matrix(rows: int, columns: int) -> Floats:
            values: Floats = normal(seed, next(streams), (rows, columns)) / np.sqrt(F(columns))
            return values

        def gain() -> Floats:
            return F(1) + normal(seed, next(streams), (sizes.width,)) / F(16)

        shared = {"embedding": matrix(sizes.vocabulary, sizes.width), "output_norm": gain()}
        if not sizes.tied:
            shared["head"] = matrix(sizes.vocabulary, sizes.width)
        layers = tuple(
            {
                "attention_norm": gain(),
                "query": matrix(sizes.width, sizes.width),
                "key": matrix(sizes.kv_width, sizes.width),
                "value": matrix(sizes.kv_width, sizes.width),
                "attention_output": matrix(sizes.width, sizes.width),
                "feed_forward_norm": gain(),
                "gate": matrix(sizes.feed_forward, sizes.width),
                "up": matrix(sizes.feed_forward, sizes.width),
                "down": matrix(sizes.width, sizes.feed_forward),
            }
            for _ in range(sizes.layers)
        )
        return cls(sizes, shared, layers)


@dataclass
class ServedModel:
    """The model as served: quantised weights, a float32 cache, one token at a time."""

    sizes: Sizes
    shared: dict[str, Quantised | Floats]
    layers: tuple[dict[str, Quantised | Floats], ...]
    keys: list[list[Floats]] = field(default_factory=list)
    values: list[list[Floats]] = field(default_factory=list)
    integers: list[Integers] = field(default_factory=list)  # every linear layer's, in order of execution

    @classmethod
    def pack(cls, weights: Weights) -> ServedModel:
        """Quantise the matrices; gains stay as they are."""

        def packed(tensors: dict[str, Floats]) -> dict[str, Quantised | Floats]:
            return {name: arithmetic.quantise(t) if t.ndim == 2 else t for name, t in tensors.items()}

        model = cls(weights.sizes, packed(weights.shared), tuple(packed(layer) for layer in weights.layers))
        model.forget()
        return model

    def forget(self) -> None:
        """Empty the cache."""
        self.keys = [[] for _ in self.layers]
        self.values = [[] for _ in self.layers]

    def matrix(self, tensors: dict[str, Quantised | Floats], name: str) -> Quantised:
        tensor = tensors[name]
        assert isinstance(tensor, Quantised)
        return tensor

    def gain(self, tensors: dict[str, Quantised | Floats], name: str) -> Floats:
        tensor = tensors[name]
        assert not isinstance(tensor, Quantised)
        return tensor

    def linear(self, tensors: dict[str, Quantised | Floats], name: str, vector: Activation) -> Floats:
        matrix = self.matrix(tensors, name)
        self.integers.append(arithmetic.accumulate(matrix, vector))
        return arithmetic.linear(matrix, vector)

    def normalised(self, tensors: dict[str, Quantised | Floats], name: str, x: Floats) -> Activation:
        return arithmetic.quantise_activation(arithmetic.normalise(x, self.gain(tensors, name), F(self.sizes.epsilon)))

    def step(self, token: int) -> Floats:
        """Logits after ``token`` at the next position."""
        sizes = self.sizes
        position = len(self.keys[0])
        table = arithmetic.rotation_table(sizes.head_width, F(sizes.rope_base))
        embedding = self.matrix(self.shared, "embedding")
        x = embedding.values[token].astype(np.float32) * embedding.scales[token]
        for index, layer in enumerate(self.layers):
            h = self.normalised(layer, "attention_norm", x)
            query = self.linear(layer, "query", h).reshape(sizes.heads, -1)
            key = self.linear(layer, "key", h).reshape(sizes.kv_heads, -1)
            value = self.linear(layer, "value", h).reshape(sizes.kv_heads, -1)
            self.keys[index].append(arithmetic.rotate(key, table, position))
            self.values[index].append(value)
            mixed = arithmetic.attend(
                arithmetic.rotate(query, table, position), np.stack(self.keys[index]), np.stack(self.values[index])
            )
            x = x + self.linear(layer, "attention_output", arithmetic.quantise_activation(mixed.reshape(-1)))
            h = self.normalised(layer, "feed_forward_norm", x)
            gated = arithmetic.swiglu(self.linear(layer, "gate", h), self.linear(layer, "up", h))
            x = x + self.linear(layer, "down", arithmetic.quantise_activation(gated))
        h = self.normalised(self.shared, "output_norm", x)
        return self.linear(self.shared, "embedding" if sizes.tied else "head", h)


def float64_logits(weights: Weights, tokens: list[int]) -> Doubles:
    """Logits (position, vocabulary) of the unquantised model in float64."""
    sizes = weights.sizes
    shared = {name: tensor.astype(np.float64) for name, tensor in weights.shared.items()}
    x = shared["embedding"][tokens]
    positions = np.arange(len(tokens))
    angles = positions[:, None] * sizes.rope_base ** (-np.arange(0, sizes.head_width, 2) / sizes.head_width)
    turn = np.exp(1j * angles)[:, None, :]
    causal = np.where(positions[None, :] > positions[:, None], -np.inf, 0.0)

    def norm(x: Doubles, gain: Doubles) -> Doubles:
        scaled: Doubles = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + sizes.epsilon) * gain
        return scaled

    def turned(x: Doubles) -> Doubles:
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape)

    for layer32 in weights.layers:
        layer = {name: tensor.astype(np.float64) for name, tensor in layer32.items()}
        h = norm(x, layer["attention_norm"])
        query = turned((h @ layer["query"].T).reshape(len(x), sizes.heads, -1))
        key = turned((h @ layer["key"].T).reshape(len(x), sizes.kv_heads, -1))
        value = (h @ layer["value"].T).reshape(len(x), sizes.kv_heads, -1)
        group = sizes.heads // sizes.kv_heads
        key, value = key.repeat(group, axis=1), value.repeat(group, axis=1)
        scores = np.einsum("thd,shd->hts", query, key) / np.sqrt(sizes.head_width) + causal
        share = np.exp(scores - scores.max(axis=2, keepdims=True))
        share /= share.sum(axis=2, keepdims=True)
        x = x + np.einsum("hts,shd->thd", share, value).reshape(len(x), -1) @ layer["attention_output"].T
        h = norm(x, layer["feed_forward_norm"])
        gate, up = h @ layer["gate"].T, h @ layer["up"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ layer["down"].T
    logits: Doubles = norm(x, shared["output_norm"]) @ shared["embedding" if sizes.tied else "head"].T
    return logits
