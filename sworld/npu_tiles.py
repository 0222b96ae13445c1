"""How a matrix product is cut into tasks of the NPU, each of which fits its convolution buffer (CBUF).

A task multiplies all columns of some feature rows with some rows of the matrix; weights of a task lie in one piece of
memory, because a matrix is blocked by 32 rows first. Features and sums lie in staging areas cut into the same tiles
(native/product_check_api.h).
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.devices.npu import CBUF_BANK_BYTES, CBUF_BANKS
from emulator.devices.npu_program import MAX_COUNT, MAX_ROWS, Task

from .matrix_layout import BLOCK, INT32, padded

MAX_COLUMNS = 1 << 14  # of a task: the width of its fields


@dataclass(frozen=True)
class Tiling:
    """Feature rows and matrix rows of a task, the last ones of a product have fewer."""

    count: int
    rows: int


def choose(columns: int, count: int) -> Tiling | None:
    """The tiling with the least traffic that fits; None: not even the smallest does.

    Features are read once for each tile of matrix rows, weights once for each tile of feature rows.
    """
    width = padded(columns)
    if width > MAX_COLUMNS:
        return None
    best: tuple[float, Tiling] | None = None
    for banks in range(1, CBUF_BANKS):
        tile = min(banks * CBUF_BANK_BYTES // width, count, MAX_COUNT)
        rows = min((CBUF_BANKS - banks) * CBUF_BANK_BYTES // width // BLOCK * BLOCK, MAX_ROWS)
        if not tile or not rows:
            continue
        cost = 1 / rows + 1 / tile
        if best is None or cost < best[0]:
            best = cost, Tiling(tile, rows)
    return best[1] if best else None


def tasks(tiling: Tiling, rows: int, columns: int, count: int, features: int, weights: int, sums: int) -> list[Task]:
    """Tasks of one product; ``features``, ``weights`` and ``sums`` are DMA addresses."""
    width, height = padded(columns), padded(rows)
    return [
        Task(
            features=features + first * width,
            weights=weights + row * width,
            sums=sums + INT32 * (first * height + row * min(tiling.count, count - first)),
            count=min(tiling.count, count - first),
            columns=width,
            rows=min(tiling.rows, height - row),
        )
        for first in range(0, count, tiling.count)
        for row in range(0, height, tiling.rows)
    ]
