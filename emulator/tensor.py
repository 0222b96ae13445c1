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

MAX_WIDTH = lib.TENSOR_MAX_WIDTH
MAX_VOCABULARY = lib.TENSOR_MAX_ROWS
MAX_CONTEXT = lib.TENSOR_MAX_TOKENS
MAX_HEAD_WIDTH = lib.TENSOR_MAX_HEAD_WIDTH


class Refusal(enum.IntEnum):
    """What an operation returns when it refuses its input."""

    INVALID = lib.TENSOR_INVALID
    NOT_FINITE = lib.TENSOR_NOT_FINITE


PLANES = 2  # an activation is a coarse and a fine int8 vector
ELEMENTS_PER_INSTRUCTION = 4  # f32 in a vector register
PASSES_OF_NORMALISE = 4
PASSES_OF_QUANTISE = 3
PASSES_OF_SAMPLE = 6

# Instructions of a token's arithmetic: one table, by operation.


def embed_cost(columns: int) -> int:
    return _elements(columns)


def normalise_cost(count: int) -> int:
    return PASSES_OF_NORMALISE * _elements(count) + quantise_cost(count)


def quantise_cost(count: int) -> int:
    return PLANES * PASSES_OF_QUANTISE * _elements(count)


def linear_cost(columns: int, rows: int) -> int:
    return costs.PORT_ACCESS + rows * -(-PLANES * columns // costs.MACS_PER_INSTRUCTION)


def rotate_cost(heads: int, head_width: int) -> int:
    return costs.INSTRUCTIONS_PER_TRANSCENDENTAL * head_width // 2 + _elements(heads * head_width)


def attend_cost(tokens: int, heads: int, head_width: int) -> int:
    per_token = 2 * _elements(head_width) + costs.INSTRUCTIONS_PER_TRANSCENDENTAL
    return costs.PORT_ACCESS + heads * tokens * per_token


def swiglu_cost(count: int) -> int:
    return costs.INSTRUCTIONS_PER_TRANSCENDENTAL * count + quantise_cost(count)


def add_cost(count: int) -> int:
    return _elements(count)


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
        lambda matrix, rows, columns, row, output: embed_cost(columns),
    ),
    "tensor_normalise": Operation(
        _run(lib.tensor_normalise),
        lambda vector, gain, count, epsilon_bits, output: normalise_cost(count),
    ),
    "tensor_quantise": Operation(
        _run(lib.tensor_quantise),
        lambda vector, count, output: quantise_cost(count),
    ),
    "tensor_linear": Operation(
        _run(lib.tensor_linear),
        lambda matrix, rows, columns, first, count, vector, output: linear_cost(columns, count),
    ),
    "tensor_rotate": Operation(
        _run(lib.tensor_rotate),
        lambda table, vector, heads, head_width, position: rotate_cost(heads, head_width),
    ),
    "tensor_attend": Operation(
        _run(lib.tensor_attend),
        lambda query, keys, values, stride, tokens, first, count, group, head_width, output: attend_cost(
            tokens, count, head_width
        ),
    ),
    "tensor_swiglu": Operation(
        _run(lib.tensor_swiglu),
        lambda gate, up, count, output: swiglu_cost(count),
    ),
    "tensor_add": Operation(
        _run(lib.tensor_add),
        lambda vector, addend, count: add_cost(count),
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
