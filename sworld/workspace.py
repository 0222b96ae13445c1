"""The transformer's working memory: where the activations of a chunk of tokens are.

A chunk is taken through a layer in two halves, so that the products of one can be computed while the processor works on
the other; each half has buffers of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.memory_map import PAGE_SIZE
from emulator.tensor import PLANES

from .matrix_layout import F32, activation_size, sums_size
from .shape import ModelShape

PREFILL_CHUNK = 128  # tokens taken through a layer before the next layer's weights are needed
SMALLEST_HALF = 16  # tokens; a chunk of fewer than two of these is not divided
CACHE_LINE = 64


def cache_stride(shape: ModelShape) -> int:
    """Bytes of one token in one layer's key-value cache: its keys, then its values, f32."""
    return 2 * F32 * shape.kv_width


@dataclass(frozen=True)
class Buffers:
    """Offsets of the buffers of one half: token ids, f32 vectors, two activations, and the sums of products."""

    tokens: int
    residuals: int
    angles: int
    queries: int
    activation: int
    hidden: int
    sums: int


class Workspace:
    """For a chunk of ``tokens``: ``size`` bytes in all; places are offsets from a page's beginning."""

    logits = 0  # of whatever chunk

    def __init__(self, shape: ModelShape, tokens: int) -> None:
        self.size = 0
        self._shape = shape
        self._take(F32 * shape.vocabulary)
        self.halves = tuple(self._buffers(count) for count in divide(tokens))

    def _buffers(self, count: int) -> Buffers:
        shape = self._shape
        matrices = (
            (shape.width, shape.kv_width, shape.kv_width),
            (shape.width,),
            (shape.feed_forward, shape.feed_forward),
        )
        largest = max(sum(sums_size(rows, PLANES * count) for rows in group) for group in matrices)
        return Buffers(
            tokens=self._take(F32 * count),
            residuals=self._take(F32 * shape.width * count),
            angles=self._take(F32 * shape.head_width * count),
            queries=self._take(F32 * shape.width * count),
            activation=self._take(activation_size(shape.width, count), PAGE_SIZE),
            hidden=self._take(activation_size(shape.feed_forward, count), PAGE_SIZE),
            sums=self._take(max(largest, sums_size(shape.vocabulary, PLANES)), PAGE_SIZE),
        )

    def _take(self, size: int, alignment: int = CACHE_LINE) -> int:
        """What a product reads and writes begins at a page, which an engine may map for itself."""
        offset = -(-self.size // alignment) * alignment
        self.size = offset + size
        return offset


def divide(count: int) -> tuple[int, ...]:
    """The tokens of each half of a chunk."""
    if count < 2 * SMALLEST_HALF:
        return (count,)
    return (count - count // 2, count // 2)
