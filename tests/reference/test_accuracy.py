"""The served arithmetic against float64 on the same values (docs/arithmetic.md, section 9)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import models
from tests.reference.model import ServedModel, float64_logits

POSITIONS = 24
BOUND = 0.25  # of the standard deviation of the position's logits


@pytest.mark.parametrize("index", range(len(models.SIZES)))
def test_logits_stay_close_to_float64(index: int) -> None:
    weights, tokens = models.weights(index), models.prompt(index, POSITIONS)
    served = ServedModel.pack(weights)
    logits = np.stack([served.step(token) for token in tokens])
    exact = float64_logits(weights, tokens)
    error = np.abs(logits - exact).max(axis=1) / exact.std(axis=1)
    assert error.max() <= BOUND
