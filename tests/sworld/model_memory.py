"""A model in a guest's memory, and a driver for its flows; pages are lost when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from emulator.gate import Action, Compute, Flow, Write
from emulator.memory_map import PAGE_SIZE
from emulator.tensor import BLOCK_SIZE, TENSOR_OPERATIONS
from sworld.rope import rotation_steps
from sworld.shape import SHARED, Kind, ModelObject, ModelShape, layer_objects, shared_objects
from sworld.workspace import PREFILL_CHUNK, Workspace, cache_stride
from tests.emulator.guest import Guest
from tests.reference.arithmetic import Floats, Quantised
from tests.reference.model import ServedModel, Sizes

T = TypeVar("T")


def shape_of(sizes: Sizes) -> ModelShape:
    return ModelShape(
        vocabulary=sizes.vocabulary,
        width=sizes.width,
        layers=sizes.layers,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        feed_forward=sizes.feed_forward,
        context=sizes.context,
        rope_base=sizes.rope_base,
        norm_epsilon=sizes.epsilon,
        tied=sizes.tied,
    )


class GuestModel:
    """A packed model in guest memory: the transformer's ModelMemory, without storage behind it."""

    def __init__(self, model: ServedModel) -> None:
        self.shape = shape_of(model.sizes)
        self.guest = Guest(pages=1536, dram_bytes=128 << 20)
        self.losses = 0
        self.moves = 0
        self.cached_tokens = 0
        self.addresses: dict[tuple[int, str], int] = {}
        self._put(SHARED, shared_objects(self.shape), model.shared)
        for layer, tensors in enumerate(model.layers):
            self._put(layer, layer_objects(self.shape), tensors)
        self._token_size = cache_stride(self.shape)
        self.caches = [self.guest.skip(self._token_size * self.shape.context) for _ in range(self.shape.layers)]
        self._workspace_size = Workspace(self.shape, min(PREFILL_CHUNK, self.shape.context)).size
        self.workspace = self.guest.skip(self._workspace_size, PAGE_SIZE)

    def _put(self, layer: int, objects: tuple[ModelObject, ...], tensors: dict[str, Quantised | Floats]) -> None:
        for item in objects:
            if item.kind is Kind.TABLE:
                data = np.array(rotation_steps(self.shape.head_width, self.shape.rope_base), "<u8").tobytes()
            else:
                tensor = tensors[item.name]
                data = tensor.encode() if isinstance(tensor, Quantised) else tensor.tobytes()
            assert len(data) == item.size
            self.addresses[layer, item.name] = self.guest.put(data, BLOCK_SIZE)

    def set_cached_tokens(self, count: int) -> None:
        self.cached_tokens = count

    def prepare(self, tokens: int, chunk: int) -> Flow[None]:
        assert tokens <= self.shape.context
        assert Workspace(self.shape, chunk).size <= self._workspace_size
        yield from ()

    def weights(self, layer: int, *names: str) -> Flow[list[int]]:
        yield from ()
        return [self.addresses[layer, name] for name in names]

    def cache(self, layer: int) -> int:
        return self.caches[layer]

    def lose_state(self, keep_tokens: int) -> None:
        """Overwrite the cache from position ``keep_tokens`` on, and the workspace, as recalled pages would be."""
        self.losses += 1
        self.moves += 1
        self.cached_tokens = min(self.cached_tokens, keep_tokens)
        kept = keep_tokens * self._token_size
        for cache in self.caches:
            self.guest.port.write(cache + kept, b"\xff" * (self._token_size * self.shape.context - kept))
        self.guest.port.write(self.workspace, b"\xff" * self._workspace_size)

    def logits(self) -> Floats:
        return self.guest.floats(self.workspace + Workspace.logits, self.shape.vocabulary)

    def run(self, flow: Flow[T], watch: Callable[[Compute], None] = lambda action: None) -> T:
        """Perform a flow's computations; ``watch`` sees each one when it is done."""
        reply: int | None = None
        while True:
            try:
                action: Action = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(action, Write):
                self.guest.port.write(action.va, action.data)
                reply = None
                continue
            assert isinstance(action, Compute)
            operation = TENSOR_OPERATIONS[action.name]
            assert operation.cost(*action.arguments) > 0
            reply = operation.run(self.guest.port, *action.arguments)
            watch(action)
