"""Products that another computes, as declared computations: handed over, taken back, checked by a secret projection.

`native/product_check_api.h` has the mathematics and the layouts. What is used afterwards is the copy that was checked.
"""

from __future__ import annotations

import enum

from . import costs
from .gate.operations import Operation, Operations
from .native import lib
from .world_port import WorldPort

MACS_PER_INSTRUCTION = 2  # 64-bit multiply-accumulates

WORDS_OF_A_RESULT = 3  # where the sums of one matrix are staged, its rows, where they belong


class Verdict(enum.IntEnum):
    """What `check_accept` finds."""

    WRONG = 0
    RIGHT = 1
    BUSY = 2  # the device is still at work


class CheckRefused(Exception):
    """Sizes out of range, or the host has no memory."""


def _result(port: WorldPort, status: int) -> int:
    if status == lib.TENSOR_ABORT:
        port.check_native()
    if status < 0:
        raise CheckRefused(f"a check of products was refused with {status}")
    return status


def _project(
    port: WorldPort, weights: int, rows: int, columns: int, key: int, first: int, add: int, projection: int
) -> int:
    return _result(port, port.call(lib.check_project, weights, rows, columns, key, first, add, projection))


def _offer(
    port: WorldPort,
    features: int,
    columns: int,
    count: int,
    tile: int,
    projection: int,
    staging: int,
    expected: int,
) -> int:
    return _result(port, port.call(lib.check_offer, features, columns, count, tile, projection, staging, expected))


def _accept(
    port: WorldPort, busy: int, results: tuple[int, ...], count: int, tile: int, key: int, expected: int
) -> int:
    """``busy``: address of a 4-byte register that is zero once the device has nothing under way."""
    if port.load(busy, 4):
        return Verdict.BUSY
    products = len(results) // WORDS_OF_A_RESULT
    return _result(port, port.call(lib.check_accept, results, products, count, tile, key, expected))


def _padded(size: int) -> int:
    return -(-size // 32) * 32


def _project_cost(rows: int, columns: int) -> int:
    return costs.PORT_ACCESS + _padded(rows) * _padded(columns) // MACS_PER_INSTRUCTION


def _offer_cost(columns: int, count: int) -> int:
    size = _padded(columns) * count
    return costs.copy(size) + size // MACS_PER_INSTRUCTION


def _accept_cost(results: tuple[int, ...], count: int) -> int:
    rows = sum(_padded(rows) for rows in results[1::WORDS_OF_A_RESULT])
    return costs.MMIO_ACCESS + costs.copy(4 * rows * count) + rows * count // MACS_PER_INSTRUCTION


PRODUCT_CHECK_OPERATIONS: Operations = {
    "check_project": Operation(
        _project, lambda weights, rows, columns, key, first, add, projection: _project_cost(rows, columns)
    ),
    "check_offer": Operation(
        _offer, lambda features, columns, count, tile, projection, staging, expected: _offer_cost(columns, count)
    ),
    # (busy register, staging, rows and sums of each matrix, count, tile, key, expected): a Verdict
    "check_accept": Operation(_accept, lambda busy, results, count, tile, key, expected: _accept_cost(results, count)),
}
