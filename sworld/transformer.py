"""The layer sequence of a Llama model (docs/arithmetic.md, section 7) as a flow of native computations.

Nothing but virtual addresses passes through here: weights, cache and activations stay in guest memory. The matrix
products are an engine's; between them the processor works in segments, one computation or two over all tokens of half a
chunk. While the engine multiplies for one half, the processor works on the other.

Weights are asked for before each computation, so they may be recalled between any two and come back from storage. When
cache or workspace pages are lost, the flow begins again at the first position that is no longer intact; the arithmetic
is defined per token, so the numbers are the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from emulator.gate import Flow, compute, write
from emulator.tensor import PLANES, Refusal, float_bits

from .matrix_layout import F32, features_offset, sums_size
from .products import CpuEngine, EngineFailed, Product, ProductEngine
from .sampler import Sampling, choose
from .shape import SHARED, ModelShape
from .workspace import PREFILL_CHUNK, Buffers, Workspace, cache_stride, divide


class StateLost(Exception):
    """Cache or workspace pages went away under a computation."""


class ArithmeticRefused(Exception):
    """An operation refused its input; the message names the operation, the layer and why."""


class ModelMemory(Protocol):
    """Where the secure kernel keeps a model. Flows may load, map and wait; a recall may be served meanwhile."""

    @property
    def losses(self) -> int:
        """Counts up whenever cache or workspace pages are given up or revoked."""

    @property
    def moves(self) -> int:
        """Counts up whenever any pages are given up or revoked, weights as well."""

    @property
    def cached_tokens(self) -> int:
        """The first so many positions have intact keys and values in every layer."""

    def set_cached_tokens(self, count: int) -> None:
        """All layers hold keys and values of the first ``count`` positions."""

    def prepare(self, tokens: int, chunk: int) -> Flow[None]:
        """Cache for ``tokens`` positions, and workspace for a chunk, are in memory from here on (until lost)."""

    def weights(self, layer: int, *names: str) -> Flow[list[int]]:
        """Addresses of objects of ``layer`` (or ``SHARED``), loaded; valid until the flow yields again."""

    def cache(self, layer: int) -> int:
        """Where ``layer``'s cache begins: of each position its keys, then its values, f32."""

    @property
    def workspace(self) -> int:
        """Address of the workspace, a page's beginning."""


@dataclass
class Half:
    """Tokens of a chunk that go through the layers together: ``count`` from position ``first`` on."""

    at: Buffers
    first: int
    count: int
    last: bool  # the last of them is the one whose logits are wanted
    skipped: int = 0  # tokens at the beginning of the buffers that are done

    def narrow(self) -> None:
        """Only the last token still matters, or none."""
        done = self.count - 1
        self.first, self.skipped, self.count = self.first + done, self.skipped + done, int(self.last)


@dataclass(frozen=True)
class Work:
    """Products of one half: matrices of ``layer``, their rows by their names, and what they are multiplied with."""

    layer: int
    rows: Mapping[str, int]
    columns: int
    count: int
    activation: int
    sums: int

    def products(self, matrices: Sequence[int]) -> tuple[Product, ...]:
        """Their sums follow one another."""
        products, sums, feature_rows = list[Product](), self.sums, PLANES * self.count
        features = self.activation + features_offset(self.count)
        for matrix, rows in zip(matrices, self.rows.values(), strict=True):
            products.append(Product(matrix, rows, self.columns, features, feature_rows, sums))
            sums += sums_size(rows, feature_rows)
        return tuple(products)


class Transformer:
    """Runs a model of ``shape`` that ``memory`` keeps; ``engine`` computes the matrix products."""

    def __init__(self, shape: ModelShape, memory: ModelMemory, engine: ProductEngine | None = None) -> None:
        self.shape = shape
        self._memory = memory
        self._cpu = CpuEngine()
        self._engine = engine or self._cpu
        self._epsilon = float_bits(shape.norm_epsilon)
        self._losses = 0
        self._moves = 0
        self._under_way: Work | None = None

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
        start = yield from self._prepare(len(tokens))
        try:
            for first in range(start, len(tokens), PREFILL_CHUNK):
                chunk = tokens[first : first + PREFILL_CHUNK]
                last = first + len(chunk) == len(tokens)
                halves = self._halves(first, len(chunk), last)
                yield from self._forward(halves, chunk)
                self._check_state()
                self._memory.set_cached_tokens(first + len(chunk))
                if last:
                    yield from self._head(halves[-1])
        except Exception:
            yield from self._abandon()
            raise

    def _prepare(self, tokens: int) -> Flow[int]:
        """Memory is there; returns the first position to compute. Recalls meanwhile may lose what was cached."""
        chunk = 0
        while chunk < (needed := min(PREFILL_CHUNK, max(1, tokens - self._memory.cached_tokens))):
            chunk = needed
            yield from self._memory.prepare(tokens, chunk)
        self._losses = self._memory.losses
        return min(self._memory.cached_tokens, tokens - 1)

    def _halves(self, first: int, count: int, last: bool) -> list[Half]:
        parts, buffers = divide(count), Workspace(self.shape, count).halves
        ends = [sum(parts[: index + 1]) for index in range(len(parts))]
        return [
            Half(at, first + end - part, part, last and end == count)
            for at, part, end in zip(buffers, parts, ends, strict=True)
        ]

    def _choose(self, sampling: Sampling, index: int) -> Flow[int]:
        self._check_state()
        token = yield from choose(self._memory.workspace + Workspace.logits, self.shape.vocabulary, sampling, index)
        return self._accepted(token, "the choice of a token", SHARED)

    def _forward(self, halves: Sequence[Half], chunk: Sequence[int]) -> Flow[None]:
        for half in halves:
            start = half.first - halves[0].first
            yield from self._embed(half, chunk[start : start + half.count])
        for layer in range(self.shape.layers):
            for segment in (self._project, self._attend, self._expand, self._contract):
                yield from self._alternate(segment, layer, halves)
        yield from self._settle()

    def _alternate(
        self, segment: Callable[[int, Half], Flow[Work | None]], layer: int, halves: Sequence[Half]
    ) -> Flow[None]:
        """A segment of each half: its products begin when those of the other half are done."""
        for half in halves:
            if len(halves) == 1:
                yield from self._settle()
            work = (yield from segment(layer, half)) if half.count else None
            yield from self._settle()
            if work:
                yield from self._begin(work)

    # The segments: each takes the sums of the products before it, and returns the products that follow it

    def _embed(self, half: Half, tokens: Sequence[int]) -> Flow[None]:
        shape, at, base = self.shape, half.at, self._memory.workspace
        (table,) = yield from self._memory.weights(SHARED, "rotation")
        place = (half.first, half.count, base + at.angles)
        yield from self._step("tensor_angles", SHARED, table, shape.head_width, *place)
        self._check_state()
        yield from write(base + at.tokens, struct.pack(f"<{len(tokens)}I", *tokens))
        (matrix,) = yield from self._memory.weights(SHARED, "embedding")
        place = (base + at.tokens, half.count, base + at.residuals)
        yield from self._step("tensor_embed", SHARED, matrix, shape.vocabulary, shape.width, *place)

    def _project(self, layer: int, half: Half) -> Flow[Work]:
        shape = self.shape
        if layer:
            yield from self._add(layer - 1, "down", half, half.at.hidden)
        yield from self._normalise(layer, "attention_norm", half)
        rows = {"query": shape.width, "key": shape.kv_width, "value": shape.kv_width}
        return self._work(layer, rows, shape.width, half, half.at.activation)

    def _attend(self, layer: int, half: Half) -> Flow[Work | None]:
        shape, at, base, cache = self.shape, half.at, self._memory.workspace, self._memory.cache(layer)
        heads = (shape.heads, shape.kv_heads, shape.head_width)
        matrices = yield from self._memory.weights(layer, "query", "key", "value")
        yield from self._step(
            "tensor_rotate", layer, *matrices, base + at.activation, base + at.sums, base + at.angles, *heads,
            half.count, base + at.queries, cache + half.first * cache_stride(shape),
        )  # fmt: skip
        if layer == shape.layers - 1:  # of the other tokens nothing more is needed than what is in the cache
            half.narrow()
        if not half.count:
            return None
        queries = base + at.queries + half.skipped * F32 * shape.width
        place = (half.first, half.count, *heads, base + at.activation)
        yield from self._step("tensor_attend", layer, queries, cache, *place)
        return self._work(layer, {"attention_output": shape.width}, shape.width, half, at.activation)

    def _expand(self, layer: int, half: Half) -> Flow[Work]:
        shape = self.shape
        yield from self._add(layer, "attention_output", half, half.at.activation)
        yield from self._normalise(layer, "feed_forward_norm", half)
        rows = {"gate": shape.feed_forward, "up": shape.feed_forward}
        return self._work(layer, rows, shape.width, half, half.at.activation)

    def _contract(self, layer: int, half: Half) -> Flow[Work]:
        shape, at, base = self.shape, half.at, self._memory.workspace
        matrices = yield from self._memory.weights(layer, "gate", "up")
        inputs = (*matrices, base + at.activation, base + at.sums, shape.feed_forward, half.count)
        yield from self._step("tensor_swiglu", layer, *inputs, base + at.hidden)
        return self._work(layer, {"down": shape.width}, shape.feed_forward, half, at.hidden)

    def _head(self, half: Half) -> Flow[None]:
        """The logits of the last token, which is the only one left of ``half``."""
        shape, at, base = self.shape, half.at, self._memory.workspace
        name = shape.head_object
        yield from self._add(shape.layers - 1, "down", half, at.hidden)
        yield from self._normalise(SHARED, "output_norm", half)
        yield from self._begin(self._work(SHARED, {name: shape.vocabulary}, shape.width, half, at.activation))
        yield from self._settle()
        (matrix,) = yield from self._memory.weights(SHARED, name)
        inputs = (matrix, base + at.activation, base + at.sums, shape.vocabulary, half.count)
        yield from self._step("tensor_linear", SHARED, *inputs, base + Workspace.logits)

    # Parts of segments

    def _normalise(self, layer: int, gain: str, half: Half) -> Flow[None]:
        (address,) = yield from self._memory.weights(layer, gain)
        output = self._memory.workspace + half.at.activation
        residuals = self._residuals(half)
        yield from self._step(
            "tensor_normalise", layer, residuals, address, self.shape.width, self._epsilon, half.count, output
        )

    def _add(self, layer: int, name: str, half: Half, activation: int) -> Flow[None]:
        """The product of the matrix with ``activation`` is added to the residual."""
        (matrix,) = yield from self._memory.weights(layer, name)
        base, width = self._memory.workspace, self.shape.width
        inputs = (matrix, base + activation, base + half.at.sums, width, half.count)
        yield from self._step("tensor_add", layer, *inputs, self._residuals(half))

    def _residuals(self, half: Half) -> int:
        return self._memory.workspace + half.at.residuals + half.skipped * F32 * self.shape.width

    def _work(self, layer: int, rows: Mapping[str, int], columns: int, half: Half, activation: int) -> Work:
        base = self._memory.workspace
        return Work(layer, rows, columns, half.count, base + activation, base + half.at.sums)

    # Products

    def _begin(self, work: Work) -> Flow[None]:
        matrices = yield from self._memory.weights(work.layer, *work.rows)
        self._check_state()
        self._moves = self._memory.moves
        self._under_way = work
        try:
            yield from self._engine.start(work.products(matrices))
        except EngineFailed:
            self._under_way = None
            yield from self._multiply(work)

    def _settle(self) -> Flow[None]:
        """What is under way, if anything, is done. Its sums are good only if no page of it has gone meanwhile."""
        work, self._under_way = self._under_way, None
        if work is None:
            return
        try:
            yield from self._engine.finish()
        except EngineFailed:
            self._moves = -1
        self._check_state()
        if self._memory.moves != self._moves:
            yield from self._multiply(work)

    def _abandon(self) -> Flow[None]:
        """Nothing is under way any more; what was is not wanted."""
        work, self._under_way = self._under_way, None
        if work:
            with suppress(EngineFailed):
                yield from self._engine.finish()

    def _multiply(self, work: Work) -> Flow[None]:
        """Products that the engine did not give us: one by one, for weights are certain for one step only."""
        for index, name in enumerate(work.rows):
            (matrix,) = yield from self._memory.weights(work.layer, name)
            self._check_state()
            product = work.products([matrix] * len(work.rows))[index]
            try:
                yield from self._cpu.start((product,))
            except EngineFailed as failed:
                raise ArithmeticRefused(f"{name} of layer {work.layer}: {failed}") from None

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
