"""Products of any shape beside their references: operands, and which shapes a sweep goes through."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .bench import Bench, exact, in_order, requantised, same_bits
from .program import Matrix

Shape = tuple[int, int, int]  # rows of features, channels, kernels

MOST = 4096
BLOCKING = 32  # of kernels (fp16: 16) and channels; atoms of features are 16 (fp16: 8) channels
ROWS_TOGETHER = 16  # no kernel of ours takes more rows at once
FINITE = np.float16(65504)
SPECIAL = np.array([np.inf, -np.inf, np.nan, FINITE, -FINITE, 6e-8, -6e-8, 0.0, -0.0], np.float16)


def int8(random: np.random.Generator, rows: int, columns: int) -> Matrix:
    """Every value, the extreme ones more often."""
    values = random.integers(-130, 130, (rows, columns))
    return np.clip(values, -128, 127).astype(np.int8)


def fp16(random: np.random.Generator, rows: int, columns: int) -> Matrix:
    """Of all magnitudes, subnormal ones too: sums in another order, or rounded otherwise, have other bits."""
    magnitude = np.exp2(random.integers(-22, 12, (rows, columns)))
    values: Matrix = (random.standard_normal((rows, columns)) * magnitude).astype(np.float16)
    return values


def sprinkled(random: np.random.Generator, values: Matrix) -> Matrix:
    """With infinities, NaNs and such in some rows, about one to a row."""
    places = random.random(values.shape) < 1 / values.shape[1]
    places &= random.random((len(values), 1)) < 0.5
    return np.where(places, random.choice(SPECIAL, values.shape), values)


def check(rig: Bench, random: np.random.Generator, shape: Shape, kind: str) -> None:
    """One product, to the last bit, with results of this ``kind``: "<i4", "<i1", "<f4" or "<f2"."""
    rows, channels, kernels = shape
    how: dict[str, int] = {}
    if kind in {"<i4", "<i1"}:
        features, weights = int8(random, rows, channels), int8(random, kernels, channels)
        wanted = exact(features, weights)
        if kind == "<i1":
            how = {"scale": int(random.integers(-1 << 15, 1 << 15)), "shift": 22, "offset": 3}
            wanted = requantised(wanted, **how)
    else:
        features, weights = fp16(random, rows, channels), fp16(random, kernels, channels)
        if random.integers(0, 2):
            features, weights = sprinkled(random, features), sprinkled(random, weights)
        with np.errstate(over="ignore"):
            wanted = in_order(features, weights).astype(kind)
    assert same_bits(rig.multiply(features, weights, kind, **how), wanted), (shape, kind)
    rig.forget()


def small(most_rows: int, most: int) -> Iterator[Shape]:
    """All shapes up to these sizes."""
    return product(range(1, most_rows + 1), range(1, most + 1), range(1, most + 1))


def of_residues(random: np.random.Generator, residues: Iterator[Shape], most_macs: int) -> Iterator[Shape]:
    """A shape with each of these remainders by the blocking, of any size up to 4096 and so many products."""
    for residue in residues:
        while True:
            blocks = np.exp2(random.uniform(0, 7.01, 3)).astype(int) - 1
            rows, channels, kernels = (
                min(int(block) * step + rest + 1, MOST)
                for block, step, rest in zip(blocks, (ROWS_TOGETHER, BLOCKING, BLOCKING), residue, strict=True)
            )
            if rows * channels * kernels <= most_macs:
                yield rows, channels, kernels
                break


def every_residue() -> Iterator[Shape]:
    return product(range(ROWS_TOGETHER), range(BLOCKING), range(BLOCKING))


def every_pair_of_residues() -> Iterator[Shape]:
    """Each remainder of one size with each of another, but not with each of the third."""
    return (((k + n) % ROWS_TOGETHER, k, n) for k in range(BLOCKING) for n in range(BLOCKING))
