"""Very many products and bad programs: minutes, so not part of the suite (scripts/acceptance/npu_products.sh)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emulator.native import lib

from .bench import Bench, bench
from .ordeal import Ordeal
from .shapes import MOST, check, every_residue, of_residues, small

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def rig() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.mark.parametrize("kind", ["<i4", "<f4"])
def test_every_shape_up_to_40(rig: Bench, kind: str) -> None:
    random = np.random.default_rng(40)
    for shape in small(40, 40):
        check(rig, random, shape, kind)


@pytest.mark.parametrize("kind", ["<i4", "<i1", "<f4", "<f2"])
def test_every_remainder_of_all_three_sizes_at_once(rig: Bench, kind: str) -> None:
    random = np.random.default_rng(32)
    for shape in of_residues(random, every_residue(), 1 << 22):
        check(rig, random, shape, kind)


@pytest.mark.parametrize("kernel", range(3))
@pytest.mark.parametrize("kind", ["<i4", "<f4"])
def test_large_shapes_by_each_kernel(rig: Bench, kind: str, kernel: int) -> None:
    random = np.random.default_rng(kernel)
    found = [lib.int8_use(kernel), lib.fp16_use(kernel)]
    if not any(found):
        pytest.skip("this processor has no more kernels")
    for shape in random.integers(1, MOST + 1, (60, 3)).tolist():
        if np.prod(shape) < 1 << 33:
            check(rig, random, tuple(shape), kind)
    lib.int8_use(0)
    lib.fp16_use(0)


@pytest.mark.parametrize("kind", ["<i4", "<f4"])
@pytest.mark.parametrize("size", [MOST - 1, MOST])
def test_the_largest_product(rig: Bench, kind: str, size: int) -> None:
    check(rig, np.random.default_rng(size), (size, size, size), kind)


def test_bad_programs_and_accesses_at_random(rig: Bench) -> None:
    ordeal = Ordeal(rig)
    for seed in range(100_000, 200_000):
        ordeal.run(seed)
    for seed in range(100_000, 110_000):
        ordeal.poke_everywhere(seed)
    ordeal.judge_everything()
