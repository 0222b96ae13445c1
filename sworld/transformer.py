"""The layer sequence of a Llama model (docs/arithmetic.md, section 7) as a flow of single native computations.

Nothing but virtual addresses passes through here: weights, cache and activations stay in guest memory. Weights are
asked for before each step, so they may be recalled between any two steps and come back from storage. When cache or
workspace pages are lost, the flow begins again at the first position that is no longer intact; the arithmetic is
defined per token, so the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emulator.costs import MAX_CHARGE
from emulator.gate import Flow, compute
from emulator.tensor import PLANES, Refusal, attend_cost, float_bits, linear_cost

from .sampler import Sampling, choose
from .shape import SHARED, ModelShape

F32 = 4
PREFILL_CHUNK = 16  # tokens taken through a layer before the next layer's weights are needed


class StateLost(Exception):
    """Cache or workspace pages went away under a computation."""


class ArithmeticRefused(Exception):
    """An operation refused its input; the message names the operation, the layer and why."""


@dataclass(frozen=True)
class CachePlace:
    """Where a layer's cache is: token t's keys and values begin at keys + t * stride and values + t * stride."""

    keys: int
    values: int
    stride: int


class ModelMemory(Protocol):
    """Where the secure kernel keeps a model. Flows may load, map and wait; a recall may be served meanwhile."""

    @property
    def losses(self) -> int:
        """Counts up whenever cache or workspace pages are given up or revoked."""

    @property
    def cached_tokens(self) -> int:
        """The first so many positions have intact keys and values in every layer."""

    def set_cached_tokens(self, count: int) -> None:
        """All layers hold keys and values of the first ``count`` positions."""

    def prepare(self, tokens: int) -> Flow[None]:
        """Workspace, and cache for so many positions, are in memory from here on (until lost)."""

    def weights(self, layer: int, name: str) -> Flow[int]:
        """Address of an object of ``layer`` (or ``SHARED``), loaded; valid until the flow yields again."""

    def cache(self, layer: int) -> CachePlace:
        """Where ``layer``'s keys and values are."""

    @property
    def workspace(self) -> int:
        """Address of ``Workspace.size`` bytes."""


class Workspace:
    """Activation buffers of ``size`` bytes in all, as offsets: f32 vectors, and one quantised vector."""

    def __init__(self, shape: ModelShape) -> None:
        self.size = 0
        self.residuals = self._take(F32 * shape.width * PREFILL_CHUNK)
        self.query = self._take(F32 * shape.width)
        self.mixed = self._take(F32 * shape.width)
        self.delta = self._take(F32 * shape.width)
        self.gate = self._take(F32 * shape.feed_forward)
        self.up = self._take(F32 * shape.feed_forward)
        self.quantised = self._take(PLANES * (F32 + max(shape.width, shape.feed_forward)))
        self.logits = self._take(F32 * shape.vocabulary)

    def _take(self, size: int) -> int:
        offset = self.size
        self.size += -(-size // 64) * 64
        return offset


class Transformer:
    """Runs a model of ``shape`` that ``memory`` keeps."""

    def __init__(self, shape: ModelShape, memory: ModelMemory) -> None:
        self.shape = shape
        self._memory = memory
        self._at = Workspace(shape)
        self._losses = 0

    def next_token(self, tokens: Sequence[int], sampling: Sampling, index: int) -> Flow[int]:
        """Generated token number ``index`` (from 0) after ``tokens``; what is cached is not computed again.

        The positions that are cached must be those of ``tokens``. Raises ArithmeticRefused.
        """
        while True:
            try:
                yield from self.compute_logits(tokens)
                return (yield from self._choose(sampling, index))
            except StateLost:
                continue

    def compute_logits(self, tokens: Sequence[int]) -> Flow[None]:
        """Leave the f32 logits after the last of ``tokens`` in the workspace. Raises StateLost, ArithmeticRefused."""
        yield from self._memory.prepare(len(tokens))
        self._losses = self._memory.losses
        start = min(self._memory.cached_tokens, len(tokens) - 1)
        for first in range(start, len(tokens), PREFILL_CHUNK):
            chunk = tokens[first : first + PREFILL_CHUNK]
            yield from self._forward(chunk, first)
            self._check_state()
            self._memory.set_cached_tokens(first + len(chunk))
        yield from self._head((len(tokens) - 1 - start) % PREFILL_CHUNK)

    def _choose(self, sampling: Sampling, index: int) -> Flow[int]:
        self._check_state()
        token = yield from choose(self._memory.workspace + self._at.logits, self.shape.vocabulary, sampling, index)
        return self._accepted(token, "the choice of a token", SHARED)

    def _forward(self, chunk: Sequence[int], first: int) -> Flow[None]:
        for index, token in enumerate(chunk):
            yield from self._embed(token, index)
        for layer in range(self.shape.layers):
            for index in range(len(chunk)):
                yield from self._attention(layer, index, first + index)
                yield from self._feed_forward(layer, index)

    def _embed(self, token: int, index: int) -> Flow[None]:
        matrix = yield from self._memory.weights(SHARED, "embedding")
        yield from self._step(
            "tensor_embed", SHARED, matrix, self.shape.vocabulary, self.shape.width, token, self._residual(index)
        )

    def _attention(self, layer: int, index: int, position: int) -> Flow[None]:
        shape, at, base = self.shape, self._at, self._memory.workspace
        cache = self._memory.cache(layer)
        key, value = cache.keys + position * cache.stride, cache.values + position * cache.stride
        yield from self._normalise(layer, "attention_norm", index)
        yield from self._linear(layer, "query", shape.width, shape.width, base + at.query)
        yield from self._linear(layer, "key", shape.kv_width, shape.width, key)
        yield from self._linear(layer, "value", shape.kv_width, shape.width, value)
        yield from self._rotate(layer, base + at.query, shape.heads, position)
        yield from self._rotate(layer, key, shape.kv_heads, position)
        yield from self._attend(layer, cache, position + 1)
        yield from self._step("tensor_quantise", layer, base + at.mixed, shape.width, base + at.quantised)
        yield from self._linear(layer, "attention_output", shape.width, shape.width, base + at.delta)
        yield from self._step("tensor_add", layer, self._residual(index), base + at.delta, shape.width)

    def _feed_forward(self, layer: int, index: int) -> Flow[None]:
        shape, at, base = self.shape, self._at, self._memory.workspace
        yield from self._normalise(layer, "feed_forward_norm", index)
        yield from self._linear(layer, "gate", shape.feed_forward, shape.width, base + at.gate)
        yield from self._linear(layer, "up", shape.feed_forward, shape.width, base + at.up)
        yield from self._step(
            "tensor_swiglu", layer, base + at.gate, base + at.up, shape.feed_forward, base + at.quantised
        )
        yield from self._linear(layer, "down", shape.width, shape.feed_forward, base + at.delta)
        yield from self._step("tensor_add", layer, self._residual(index), base + at.delta, shape.width)

    def _head(self, index: int) -> Flow[None]:
        shape = self.shape
        yield from self._normalise(SHARED, "output_norm", index)
        logits = self._memory.workspace + self._at.logits
        yield from self._linear(SHARED, shape.head_object, shape.vocabulary, shape.width, logits)

    def _normalise(self, layer: int, gain: str, index: int) -> Flow[None]:
        address = yield from self._memory.weights(layer, gain)
        yield from self._step(
            "tensor_normalise",
            layer,
            self._residual(index),
            address,
            self.shape.width,
            float_bits(self.shape.norm_epsilon),
            self._memory.workspace + self._at.quantised,
        )

    def _linear(self, layer: int, name: str, rows: int, columns: int, output: int) -> Flow[None]:
        """The matrix times the quantised vector of the workspace, as many rows a step as one charge pays for."""
        count = max(1, MAX_CHARGE // linear_cost(columns, 1))
        vector = self._memory.workspace + self._at.quantised
        for first in range(0, rows, count):
            part = min(count, rows - first)
            matrix = yield from self._memory.weights(layer, name)
            yield from self._step("tensor_linear", layer, matrix, rows, columns, first, part, vector, output)

    def _rotate(self, layer: int, vector: int, heads: int, position: int) -> Flow[None]:
        table = yield from self._memory.weights(SHARED, "rotation")
        yield from self._step("tensor_rotate", layer, table, vector, heads, self.shape.head_width, position)

    def _attend(self, layer: int, cache: CachePlace, tokens: int) -> Flow[None]:
        shape, base = self.shape, self._memory.workspace
        count = max(1, MAX_CHARGE // attend_cost(tokens, 1, shape.head_width))
        for first in range(0, shape.heads, count):
            yield from self._step(
                "tensor_attend",
                layer,
                base + self._at.query,
                cache.keys,
                cache.values,
                cache.stride,
                tokens,
                first,
                min(count, shape.heads - first),
                shape.group,
                shape.head_width,
                base + self._at.mixed,
            )

    def _residual(self, index: int) -> int:
        return self._memory.workspace + self._at.residuals + index * F32 * self.shape.width

    def _step(self, operation: str, layer: int, *arguments: int) -> Flow[None]:
        """One computation, unless what it would work on is gone (a recall may have been served at any yield)."""
        self._check_state()
        self._accepted((yield from compute(operation, *arguments)), operation, layer)

    def _check_state(self) -> None:
        if self._memory.losses != self._losses:
            raise StateLost

    @staticmethod
    def _accepted(result: int, operation: str, layer: int) -> int:
        if result < 0:
            where = "the shared objects" if layer == SHARED else f"layer {layer}"
            raise ArithmeticRefused(f"{operation} with {where}: {Refusal(result).name.lower().replace('_', ' ')}")
        return result
