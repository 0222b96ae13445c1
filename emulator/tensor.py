"""The arithmetic of the served model as declared computations: each native operation with its cost in guest time.

docs/arithmetic.md defines what the operations compute, `native/tensor_api.h` their arguments: sizes in elements, places
as virtual addresses of the port's world, f32 parameters as their bits (``float_bits``). An operation returns a value
>= 0 or a ``Refusal``; a refused memory access raises PortAbort, as any access through the port does.
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Callable
from typing import TypeAlias

from . import costs
from .gate.operations import Operation, Operations
from .native import lib
from .world_port import WorldPort

PORTABLE_VARIABLE = "FLEXSERVE_PORTABLE"  # set to anything: no vector dispatch; the results are the same
lib.tensor_force_portable(bool(os.environ.get(PORTABLE_VARIABLE)))
lib.int8_force_portable(bool(os.environ.get(PORTABLE_VARIABLE)))
lib.fp16_force_portable(bool(os.environ.get(PORTABLE_VARIABLE)))

MAX_WIDTH = lib.TENSOR_MAX_WIDTH
MAX_VOCABULARY = lib.TENSOR_MAX_ROWS
MAX_CONTEXT = lib.TENSOR_MAX_TOKENS
MAX_HEAD_WIDTH = lib.TENSOR_MAX_HEAD_WIDTH
MAX_COUNT = lib.TENSOR_MAX_COUNT  # tokens of one operation
BLOCK_SIZE = lib.TENSOR_BLOCK  # bytes of a block of weights: matrices and activations begin at a multiple of it


class Refusal(enum.IntEnum):
    """What an operation returns when it refuses its input."""

    INVALID = lib.TENSOR_INVALID
    NOT_FINITE = lib.TENSOR_NOT_FINITE
    NO_MEMORY = lib.TENSOR_NO_MEMORY


PLANES = 2  # an activation is a coarse and a fine int8 vector
ELEMENTS_PER_INSTRUCTION = 4  # f32 in a vector register
PASSES_OF_NORMALISE = 4
PASSES_OF_QUANTISE = 3
PASSES_OF_SAMPLE = 6

# Instructions of one token's arithmetic: one table, by operation.


def embed_cost(columns: int) -> int:
    return _elements(columns)


def angles_cost(head_width: int) -> int:
    return costs.PORT_ACCESS + costs.INSTRUCTIONS_PER_TRANSCENDENTAL * head_width // 2


def normalise_cost(count: int) -> int:
    return PASSES_OF_NORMALISE * _elements(count) + quantise_cost(count)


def quantise_cost(count: int) -> int:
    return PLANES * PASSES_OF_QUANTISE * _elements(count)


def products_cost(rows: int, columns: int, feature_rows: int) -> int:
    """Of all feature rows, of which a token has two."""
    return costs.PORT_ACCESS + rows * -(-columns * feature_rows // costs.MACS_PER_INSTRUCTION)


def linear_cost(rows: int) -> int:
    """The sums of both planes as one vector."""
    return PLANES * _elements(rows)


def rotate_cost(heads: int, kv_heads: int, head_width: int) -> int:
    query, key = heads * head_width, kv_heads * head_width
    return linear_cost(query) + 2 * linear_cost(key) + _elements(query) + _elements(key)


def attend_cost(tokens: int, heads: int, head_width: int) -> int:
    """One token's attention over ``tokens``."""
    per_token = 2 * _elements(head_width) + costs.INSTRUCTIONS_PER_TRANSCENDENTAL
    return costs.PORT_ACCESS + heads * tokens * per_token


def attend_all_cost(position: int, count: int, heads: int, head_width: int) -> int:
    """``count`` tokens from ``position`` on, each over all up to itself."""
    reached = count * position + count * (count + 1) // 2
    each = attend_cost(0, heads, head_width) + quantise_cost(heads * head_width)
    return count * each + attend_cost(reached, heads, head_width) - attend_cost(0, heads, head_width)


def swiglu_cost(count: int) -> int:
    return 2 * linear_cost(count) + costs.INSTRUCTIONS_PER_TRANSCENDENTAL * count + quantise_cost(count)


def add_cost(count: int) -> int:
    return linear_cost(count) + _elements(count)


def argmax_cost(count: int) -> int:
    return _elements(count)


def sample_cost(count: int) -> int:
    return (costs.INSTRUCTIONS_PER_TRANSCENDENTAL + PASSES_OF_SAMPLE) * count


def _elements(count: int) -> int:
    return costs.PORT_ACCESS + -(-count // ELEMENTS_PER_INSTRUCTION)


def float_bits(value: float) -> int:
    """``value`` rounded to f32, as its 32 bits."""
    return int.from_bytes(struct.pack("<f", value), "little")


Native: TypeAlias = Callable[..., int]


def _run(native: Native) -> Callable[..., int]:
    def run(port: WorldPort, *arguments: int) -> int:
        result = port.call(native, *arguments)
        if result == lib.TENSOR_ABORT:
            port.check_native()
        return result

    return run


TENSOR_OPERATIONS: Operations = {
    "tensor_embed": Operation(
        _run(lib.tensor_embed),
        lambda matrix, rows, columns, tokens, count, vectors: count * embed_cost(columns),
    ),
    "tensor_angles": Operation(
        _run(lib.tensor_angles),
        lambda table, head_width, position, count, angles: count * angles_cost(head_width),
    ),
    "tensor_normalise": Operation(
        _run(lib.tensor_normalise),
        lambda vectors, gain, columns, epsilon_bits, count, activation: count * normalise_cost(columns),
    ),
    "tensor_products": Operation(
        _run(lib.tensor_products),
        lambda matrix, rows, columns, features, feature_rows, sums: products_cost(rows, columns, feature_rows),
    ),
    "tensor_rotate": Operation(
        _run(lib.tensor_rotate),
        lambda query, key, value, activation, sums, angles, heads, kv_heads, head_width, count, queries, cache: (
            count * rotate_cost(heads, kv_heads, head_width)
        ),
    ),
    "tensor_attend": Operation(
        _run(lib.tensor_attend),
        lambda queries, cache, position, count, heads, kv_heads, head_width, output: attend_all_cost(
            position, count, heads, head_width
        ),
    ),
    "tensor_add": Operation(
        _run(lib.tensor_add),
        lambda matrix, activation, sums, rows, count, vectors: count * add_cost(rows),
    ),
    "tensor_swiglu": Operation(
        _run(lib.tensor_swiglu),
        lambda gate, up, activation, sums, rows, count, output: count * swiglu_cost(rows),
    ),
    "tensor_linear": Operation(
        _run(lib.tensor_linear),
        lambda matrix, activation, sums, rows, count, vectors: count * linear_cost(rows),
    ),
    "tensor_argmax": Operation(
        _run(lib.tensor_argmax),
        lambda logits, count: argmax_cost(count),
    ),
    "tensor_sample": Operation(
        _run(lib.tensor_sample),
        lambda logits, count, temperature_bits, top_p, random: sample_cost(count),
    ),
}
