"""Declared computations: what a ``Compute`` action may name, each with its cost in guest instructions.

An operation works on guest memory through the port of its own world, page by page, and returns one small integer; no
buffer of it outlives the action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from emulator import costs
from emulator.memory_map import PAGE_SIZE
from emulator.world_port import WorldPort


@dataclass(frozen=True)
class Operation:
    """``run(port, *arguments)`` does the work; ``cost(*arguments)`` is charged for it, in instructions."""

    run: Callable[..., int]
    cost: Callable[..., int]


Operations: TypeAlias = Mapping[str, Operation]

def _holds_only_zeros(port: WorldPort, va: int, size: int) -> int:
    return int(port.is_zero(va, size))


def _fill(port: WorldPort, va: int, size: int, byte: int) -> int:
    pattern = bytes([byte]) * PAGE_SIZE
    for page in range(va, va + size, PAGE_SIZE):
        port.write(page, pattern)
    return 0


MEMORY_OPERATIONS: Operations = {
    # (va, size): 1 if every byte is zero
    "holds_only_zeros": Operation(_holds_only_zeros, lambda va, size: costs.scan(size)),
    # (va, size, byte): writes whole pages of one byte
    "fill": Operation(_fill, lambda va, size, byte: costs.fill(size)),
}
