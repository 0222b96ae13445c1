"""Tasks of a product: each fits the convolution buffer, and together they are the product, once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.devices.npu import CBUF_BANK_BYTES, CBUF_BANKS
from sworld.matrix_layout import padded
from sworld.npu_tiles import MAX_COLUMNS, tasks, tile_rows

FEATURES, WEIGHTS, SUMS = 0x1000_0000, 0x2000_0000, 0x4000_0000


@settings(deadline=None)
@given(st.integers(1, 20000), st.integers(1, 9000), st.integers(1, 300))
def test_tasks_fit_and_cover_every_sum_once(rows: int, columns: int, count: int) -> None:
    tile = tile_rows(columns, count)
    assert tile
    height, width = padded(rows), padded(columns)
    seen = np.zeros(height * count, np.int8)
    for task in tasks(tile, rows, columns, count, FEATURES, WEIGHTS, SUMS):
        data_banks = -(-task.count * width // CBUF_BANK_BYTES)
        assert width <= (CBUF_BANKS - data_banks) * CBUF_BANK_BYTES
        first, row = (task.features - FEATURES) // width, (task.weights - WEIGHTS) // width
        assert (task.features - FEATURES) % width == 0 and (task.weights - WEIGHTS) % (32 * width) == 0
        assert task.columns == width and row + task.rows <= height and first + task.count <= count
        place = (task.sums - SUMS) // 4
        assert place == first * height + row * task.count
        seen[place : place + task.rows * task.count] += 1
    assert (seen == 1).all()


def test_what_cannot_fit_has_no_tile() -> None:
    assert tile_rows(MAX_COLUMNS, 1) == 1
    assert tile_rows(MAX_COLUMNS + 1, 1) is None
