"""Where an open model is, as the transformer asks for it: weights by the loader, cache and workspace in the pool."""

from __future__ import annotations

from emulator.gate import Flow
from emulator.memory_map import PAGE_SIZE

from .flexmem import Pool
from .kvcache import KvCache
from .loader import Loader
from .region import Kind
from .shape import ModelShape
from .workspace import PREFILL_CHUNK, Workspace


class PoolMemory:
    """Memory of one open model."""

    def __init__(self, pool: Pool, loader: Loader, shape: ModelShape) -> None:
        self._pool = pool
        self._loader = loader
        self._cache = KvCache(pool, shape)
        self._shape = shape
        largest = Workspace(shape, min(PREFILL_CHUNK, shape.context)).size
        self._workspace = pool.reserve(Kind.ACTIVATIONS, "workspace", largest)

    @property
    def losses(self) -> int:
        return self._pool.state.losses

    @property
    def moves(self) -> int:
        return self._pool.state.moves

    @property
    def cached_tokens(self) -> int:
        return self._cache.tokens

    def set_cached_tokens(self, count: int) -> None:
        self._cache.hold(count)

    def prepare(self, tokens: int, chunk: int) -> Flow[None]:
        pages = -(-Workspace(self._shape, chunk).size // PAGE_SIZE)
        while len(self._workspace.frames) < pages or not self._cache.backed(tokens):
            yield from self._pool.back(self._workspace, pages)
            yield from self._cache.back(tokens)

    def weights(self, layer: int, *names: str) -> Flow[list[int]]:
        return self._loader.addresses(layer, names)

    def cache(self, layer: int) -> int:
        return self._cache.place(layer)

    @property
    def workspace(self) -> int:
        return self._workspace.va

    def clear(self) -> Flow[None]:
        """End of a request: cache and activations are dropped, the weights stay."""
        yield from self._cache.drop()
        yield from self._pool.drop(self._workspace)
