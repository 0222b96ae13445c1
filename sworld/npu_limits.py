"""How much room the NPU's staging areas need for a model."""

from __future__ import annotations

from emulator.tensor import PLANES

from .matrix_layout import BLOCK, INT32, padded, sums_size
from .npu_jobs import NUMBER, Limits
from .shape import ModelShape
from .workspace import PREFILL_CHUNK, SMALLEST_HALF, divide


def npu_limits(shape: ModelShape) -> Limits:
    """Of the sets of products that the transformer asks for."""
    chunk = min(PREFILL_CHUNK, shape.context)
    count = PLANES * max(divide(chunk)[0], min(chunk, 2 * SMALLEST_HALF - 1))
    rows = max(shape.width + 2 * shape.kv_width, 2 * shape.feed_forward) + 3 * BLOCK
    of_a_layer = 3 * padded(shape.width) + padded(shape.feed_forward)
    return Limits(
        features=max(padded(shape.width), padded(shape.feed_forward)) * count,
        sums=max(INT32 * rows * count, sums_size(shape.vocabulary, PLANES)),
        projections=NUMBER * (shape.layers * of_a_layer + padded(shape.width)),
    )
