"""The KV cache: keys and values of each token in each layer, in the pool, grown as positions are needed.

Layers have regions of their own; a token's keys and values are neighbours, so a cache of n tokens needs the first pages
of each region only. A layer that loses a page makes the whole cache worthless, because every position needs all layers:
it is then computed again from the token ids.
"""

from __future__ import annotations

from emulator.gate import Flow
from emulator.memory_map import PAGE_SIZE

from .flexmem import Pool
from .region import Kind
from .shape import ModelShape
from .workspace import cache_stride

GROWTH = 16  # positions: what every layer's region grows by, so that not every token needs pages


class KvCache:
    """Cache of a model of ``shape``, up to its context."""

    def __init__(self, pool: Pool, shape: ModelShape) -> None:
        self._pool = pool
        self._stride = cache_stride(shape)
        self._context = shape.context
        self._layers = [
            pool.reserve(Kind.KV, f"kv of layer {layer}", shape.context * self._stride) for layer in range(shape.layers)
        ]
        self._tokens = 0

    @property
    def tokens(self) -> int:
        """The first so many positions are intact in every layer."""
        return self._tokens if all(region.ready for region in self._layers) else 0

    def hold(self, tokens: int) -> None:
        """The first ``tokens`` positions have just been written in every layer."""
        self._tokens = tokens
        for region in self._layers:
            region.ready = True

    def place(self, layer: int) -> int:
        """Where the layer's position 0 is."""
        return self._layers[layer].va

    def pages(self, tokens: int) -> int:
        """Pages of one layer for ``tokens`` positions, and for those that come next."""
        ahead = min(-(-tokens // GROWTH) * GROWTH, self._context)
        return -(-ahead * self._stride // PAGE_SIZE)

    def backed(self, tokens: int) -> bool:
        return all(len(region.frames) >= self.pages(tokens) for region in self._layers)

    def back(self, tokens: int) -> Flow[None]:
        """Memory for ``tokens`` positions in every layer; a recall in between may take some of it again."""
        for region in self._layers:
            yield from self._pool.back(region, self.pages(tokens))

    def drop(self) -> Flow[None]:
        """Forget all positions; the pages are free."""
        for region in self._layers:
            yield from self._pool.drop(region)
