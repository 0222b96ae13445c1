"""A quantised matrix in the blocks in which a package holds it (sworld/matrix_layout.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sworld.matrix_layout import BLOCK, padded, scales_size


def pack_matrix(scales: NDArray[np.float32], values: NDArray[np.int8]) -> bytes:
    """The object of a package: one scale and one row of values for each row."""
    rows, columns = values.shape
    whole = np.zeros((padded(rows), padded(columns)), np.int8)
    whole[:rows, :columns] = values
    blocks = whole.reshape(padded(rows) // BLOCK, BLOCK, padded(columns) // BLOCK, BLOCK).swapaxes(1, 2)
    return scales.astype("<f4").tobytes().ljust(scales_size(rows), b"\0") + blocks.tobytes()
