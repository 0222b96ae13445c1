"""What lies where in a model package: its chunks of weights, their objects, and their blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from emulator.memory_map import PAGE_SIZE
from emulator.tensor import BLOCK_SIZE

from .shape import SHARED, ModelObject, ModelShape, layer_objects, shared_objects

Group: TypeAlias = tuple[str, int, tuple[ModelObject, ...]]  # a chunk's name, its layer or SHARED, what it holds


def groups(shape: ModelShape) -> list[Group]:
    """The chunks in their order. An untied head is used last, so it comes last."""
    shared = shared_objects(shape)
    head = tuple(thing for thing in shared if thing.name == "head")
    first = tuple(thing for thing in shared if thing.name != "head")
    layers = [(f"layer {layer}", layer, layer_objects(shape)) for layer in range(shape.layers)]
    return [("shared", SHARED, first), *layers, *([("head", SHARED, head)] if head else [])]


def laid_out(objects: Sequence[ModelObject]) -> tuple[list[tuple[ModelObject, int]], int]:
    """Objects of one chunk with their offsets, multiples of a block of weights, and the bytes of them all."""
    places, offset = [], 0
    for thing in objects:
        offset = -(-offset // BLOCK_SIZE) * BLOCK_SIZE
        places.append((thing, offset))
        offset += thing.size
    return places, offset


def placed(chunks: Sequence[Group], metadata_size: int) -> Iterator[tuple[int, int]]:
    """First block and bytes of each chunk: one after the other, each from a new block."""
    block = blocks(metadata_size)
    for _, _, objects in chunks:
        _, size = laid_out(objects)
        yield block, size
        block += blocks(size)


def blocks(size: int) -> int:
    """Blocks of 4 KiB that hold ``size`` bytes."""
    return -(-size // PAGE_SIZE)
