"""How a matrix product is cut into tasks of the NPU.

A task's features lie in the convolution buffer (CBUF) as a whole; its weights pass through what is left of it, kernel
by kernel, once. So a product is cut where its features do not fit, and where sizes exceed the registers' fields.
Weights of a task lie in one piece of memory, because a matrix is blocked by 32 rows first. Features and sums lie in
staging areas cut into the same tiles (native/product_check_api.h).
"""

from __future__ import annotations

from emulator.devices.npu import CBUF_BANK_BYTES, CBUF_BANKS
from emulator.devices.npu_program import MAX_COUNT, MAX_ROWS, Task

from .matrix_layout import INT32, padded

MAX_COLUMNS = 1 << 14  # of a task: the width of its fields; a bank holds two such kernels


def tile_rows(columns: int, count: int) -> int | None:
    """Feature rows of a task of a product of ``count``, the last one has fewer; None: no row fits."""
    width = padded(columns)
    if width > MAX_COLUMNS:
        return None
    return min(count, MAX_COUNT, (CBUF_BANKS - 1) * CBUF_BANK_BYTES // width)


def tasks(tile: int, rows: int, columns: int, count: int, features: int, weights: int, sums: int) -> list[Task]:
    """Tasks of one product; ``features``, ``weights`` and ``sums`` are DMA addresses."""
    width, height = padded(columns), padded(rows)
    return [
        Task(
            features=features + first * width,
            weights=weights + row * width,
            sums=sums + INT32 * (first * height + row * min(tile, count - first)),
            count=min(tile, count - first),
            columns=width,
            rows=min(MAX_ROWS, height - row),
        )
        for first in range(0, count, tile)
        for row in range(0, height, MAX_ROWS)
    ]
