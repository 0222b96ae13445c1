"""How matrices, features and sums lie in memory: in the blocking of the RK3588's NPU, which the CPU reads as well.

Sizes that are no multiple of the blocking are padded with zeros. A matrix product of R rows and C columns with M
feature rows (docs/arithmetic.md, section 2):

    weights   int8  [R/32][C/32][32 rows][32 columns]
    features  int8  [C/16][M][16]
    sums      int32 [R/4][M][4]

Matrices and features begin at multiples of a block's bytes, so that no block of weights crosses a page.
"""

from __future__ import annotations

from emulator.tensor import BLOCK_SIZE, PLANES

BLOCK = 32  # rows and columns of a block of weights; all sizes are padded to it
F32 = 4
INT32 = 4


def padded(count: int) -> int:
    """``count`` rows or columns with their padding."""
    return -(-count // BLOCK) * BLOCK


def scales_size(count: int) -> int:
    """Bytes of ``count`` f32 scales with their padding."""
    return -(-F32 * count // BLOCK_SIZE) * BLOCK_SIZE


def weights_size(rows: int, columns: int) -> int:
    """Bytes of the weights of a matrix."""
    return padded(rows) * padded(columns)


def matrix_size(rows: int, columns: int) -> int:
    """Bytes of a matrix: the scales of its rows, then its weights."""
    return scales_size(rows) + weights_size(rows, columns)


def features_size(columns: int, count: int) -> int:
    """Bytes of ``count`` feature rows."""
    return padded(columns) * count


def sums_size(rows: int, count: int) -> int:
    """Bytes of the sums of ``count`` feature rows."""
    return INT32 * padded(rows) * count


def activation_size(columns: int, tokens: int) -> int:
    """Bytes of the quantised vectors of ``tokens``: the scales of their planes, then their features."""
    return scales_size(PLANES * tokens) + features_size(columns, PLANES * tokens)


def features_offset(tokens: int) -> int:
    """Where the features of an activation begin."""
    return scales_size(PLANES * tokens)
