"""The eight seeded models that tests compare on: GQA and MHA, tied and untied, widths that are no multiple of 64."""

from __future__ import annotations

from tests.reference.arithmetic import random_bits
from tests.reference.model import Sizes, Weights

SIZES = (
    Sizes(vocabulary=288, width=64, layers=2, heads=4, kv_heads=2, feed_forward=192, tied=True),
    Sizes(vocabulary=300, width=72, layers=2, heads=4, kv_heads=4, feed_forward=200, tied=False),
    Sizes(vocabulary=512, width=96, layers=3, heads=6, kv_heads=2, feed_forward=256, tied=True),
    Sizes(vocabulary=320, width=80, layers=4, heads=5, kv_heads=1, feed_forward=216, tied=False),
    Sizes(vocabulary=401, width=128, layers=4, heads=8, kv_heads=4, feed_forward=344, tied=True, rope_base=500000.0),
    Sizes(vocabulary=400, width=100, layers=5, heads=10, kv_heads=2, feed_forward=270, tied=False),
    Sizes(vocabulary=1024, width=192, layers=5, heads=6, kv_heads=2, feed_forward=512, tied=True),
    Sizes(vocabulary=600, width=144, layers=6, heads=9, kv_heads=3, feed_forward=400, tied=False, epsilon=1e-6),
)
FIRST_SEED = 100


def weights(index: int) -> Weights:
    """Model ``index`` in float32."""
    return Weights.random(SIZES[index], FIRST_SEED + index)


def prompt(index: int, count: int) -> list[int]:
    """Token ids for model ``index``."""
    return [random_bits(index, place) % SIZES[index].vocabulary for place in range(count)]
