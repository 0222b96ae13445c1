"""Products of every kind and shape equal plain references: int8 exactly, fp16 to the last bit of the stated order.

sweep.py goes through many more shapes, which takes minutes (scripts/acceptance/npu_products.sh).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emulator.devices.npu import NpuCore
from emulator.events import EventKind
from emulator.memory_map import StreamId
from emulator.native import lib

from .bench import (
    DONE,
    FEATURES,
    OUTPUT,
    WEIGHTS,
    Bench,
    bench,
    exact,
    in_order,
    requantised,
    same_bits,
)
from .program import FP16, FP32, Product, features_of, result_bytes, result_of, weights_of
from .shapes import MOST, Shape, check, every_pair_of_residues, fp16, int8, of_residues, small

CORNERS = [
    (m, k, n) for m in (1, MOST) for k in (1, MOST) for n in (1, MOST) if (m, k, n) != (MOST, MOST, MOST)
] + [(MOST - 1, 33, MOST - 1), (33, MOST - 1, MOST - 1), (MOST - 1, MOST - 1, 33)]  # fmt: skip


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture(params=range(3), ids=["widest", "narrower", "narrowest"])
def rig(request: pytest.FixtureRequest, shared: Bench) -> Iterator[Bench]:
    """With each kernel that the processor can run."""
    found = [lib.int8_use(request.param), lib.fp16_use(request.param)]
    if not any(found):
        pytest.skip("this processor has no more kernels")
    yield shared
    lib.int8_use(0)
    lib.fp16_use(0)


@pytest.mark.parametrize(("kind", "most_rows"), [("<i4", 17), ("<f4", 9)])
def test_every_small_shape(shared: Bench, kind: str, most_rows: int) -> None:
    random = np.random.default_rng(17)
    for shape in small(most_rows, 33):
        check(shared, random, shape, kind)


@pytest.mark.parametrize("kind", ["<i4", "<f4"])
def test_every_remainder_by_the_blocking(rig: Bench, kind: str) -> None:
    random = np.random.default_rng(32)
    for shape in of_residues(random, every_pair_of_residues(), 1 << 18):
        check(rig, random, shape, kind)


@pytest.mark.parametrize("kind", ["<i1", "<f2"])
def test_every_remainder_with_converted_results(shared: Bench, kind: str) -> None:
    random = np.random.default_rng(33)
    for shape in of_residues(random, every_pair_of_residues(), 1 << 18):
        check(shared, random, shape, kind)


@pytest.mark.parametrize(("kind", "most_macs"), [("<i4", 1 << 29), ("<f4", 1 << 28)])
def test_large_shapes(shared: Bench, kind: str, most_macs: int) -> None:
    random = np.random.default_rng(588)
    sizes = random.integers(1, MOST + 1, (400, 3)).tolist()
    shapes = [(m, k, n) for m, k, n in sizes if m * k * n < most_macs]
    assert len(shapes) > 10
    for shape in shapes:
        check(shared, random, shape, kind)


@pytest.mark.parametrize("shape", CORNERS, ids=str)
@pytest.mark.parametrize("kind", ["<i4", "<f4"])
def test_the_largest_sizes(shared: Bench, shape: Shape, kind: str) -> None:
    check(shared, np.random.default_rng(16), shape, kind)


def test_infinities_nans_and_subnormals_of_fp16(rig: Bench) -> None:
    features = np.array([[np.inf, 1, 6e-8, 65504, -0.0], [np.inf, -np.inf, 0, 0, 0]], np.float16)
    weights = np.array([[1, 2, 6e-8, 65504, 1], [0, 1, 1, 1, 1], [-1, -1, 0, 0, 0], [0.5, 1, 1, 1, 1]], np.float16)
    wanted = in_order(features, weights)
    assert np.isnan(wanted).any() and np.isinf(wanted).any()
    assert same_bits(rig.multiply(features, weights, "<f4"), wanted)


def test_fp32_results_round_to_fp16(shared: Bench) -> None:
    random = np.random.default_rng(5)
    features, weights = fp16(random, 9, 70), fp16(random, 45, 70)
    features[1] = 0
    features[1, 3] = 3e-6
    with np.errstate(over="ignore"):
        wanted = in_order(features, weights).astype(np.float16)
    assert np.isinf(wanted).any() and (np.abs(wanted) < 2.0**-14).any()
    assert same_bits(shared.multiply(features, weights, "<f2"), wanted)


@pytest.mark.parametrize(
    ("scale", "shift", "offset"),
    [(1, 0, 0), (16384, 20, 3), (-300, 12, -7), (1, 1, 0), (5, 62, 1), (-32768, 0, 0), (32767, 63, -128),
     (-32768, 34, 2**31 - 1), (1, 10, -(2**31))],
)  # fmt: skip
def test_results_are_requantised_by_out_cvt(shared: Bench, scale: int, shift: int, offset: int) -> None:
    random = np.random.default_rng(shift)
    features, weights = int8(random, 6, 50), int8(random, 40, 50)
    found = shared.multiply(features, weights, "<i1", scale=scale, shift=shift, offset=offset)
    assert np.array_equal(found, requantised(exact(features, weights), scale, shift, offset))


def test_the_longest_sums(shared: Bench) -> None:
    features, weights = np.full((1, 16384), -128, np.int8), np.full((33, 16384), -128, np.int8)
    assert np.all(shared.multiply(features, weights) == 16384 << 14)


def test_channels_that_are_not_real_count_as_zeros(shared: Bench) -> None:
    random = np.random.default_rng(9)
    features, weights = int8(random, 5, 64), int8(random, 7, 64)
    assert np.array_equal(
        shared.multiply(features, weights, real_channels=41), exact(features[:, :41], weights[:, :41])
    )


def test_rows_of_a_larger_matrix_and_a_larger_output(shared: Bench) -> None:
    random = np.random.default_rng(3)
    features, weights = int8(random, 24, 80), int8(random, 40, 80)
    shared.machine.write_physical(FEATURES, features_of(features))
    shared.machine.write_physical(WEIGHTS, weights_of(weights))
    tiles = [
        Product(8, 80, 40, FEATURES + 16 * first, WEIGHTS, OUTPUT + 16 * first, feature_rows=24, output_rows=24)
        for first in (0, 8, 16)
    ]
    assert shared.run(*tiles) & DONE
    found = result_of(shared.machine.read_physical(OUTPUT, result_bytes(24, 40, "<i4")), 24, 40, "<i4")
    assert np.array_equal(found, exact(features, weights))


def test_4096_rows_in_tasks_that_chain(shared: Bench) -> None:
    random = np.random.default_rng(4096)
    features, weights = int8(random, 4096, 512), int8(random, 250, 512)
    shared.machine.write_physical(FEATURES, features_of(features))
    shared.machine.write_physical(WEIGHTS, weights_of(weights))
    tiles = [
        Product(
            min(700, 4096 - first), 512, 250, FEATURES + 16 * first, WEIGHTS, OUTPUT + 16 * first,
            feature_rows=4096, output_rows=4096,
        )
        for first in range(0, 4096, 700)
    ]  # fmt: skip
    assert shared.run(*tiles) & DONE
    found = result_of(shared.machine.read_physical(OUTPUT, result_bytes(4096, 250, "<i4")), 4096, 250, "<i4")
    assert np.array_equal(found, exact(features, weights))


def test_features_stay_for_the_next_task(shared: Bench) -> None:
    random = np.random.default_rng(4)
    features, weights = int8(random, 6, 90), int8(random, 64, 90)
    shared.machine.write_physical(FEATURES, features_of(features))
    shared.machine.write_physical(WEIGHTS, weights_of(weights))
    half = len(weights_of(weights[:32]))
    first = Product(6, 90, 32, FEATURES, WEIGHTS, OUTPUT)
    second = Product(6, 90, 32, 0, WEIGHTS + half, OUTPUT + result_bytes(6, 32, "<i4"), reuse=True)
    assert shared.run(first, second) & DONE
    found = result_of(shared.machine.read_physical(OUTPUT, result_bytes(6, 64, "<i4")), 6, 64, "<i4")
    assert np.array_equal(found, exact(features, weights))


@pytest.mark.parametrize("away", [16, 528, 1008, 4080])
def test_weights_need_not_lie_block_by_block_in_pages(shared: Bench, away: int) -> None:
    random = np.random.default_rng(away)
    features, weights = fp16(random, 3, 100), fp16(random, 70, 100)
    shared.machine.write_physical(FEATURES + away, features_of(features))
    shared.machine.write_physical(WEIGHTS + away, weights_of(weights))
    task = Product(3, 100, 70, FEATURES + away, WEIGHTS + away, OUTPUT + away, FP16, FP32)
    assert shared.run(task) & DONE
    found = result_of(shared.machine.read_physical(OUTPUT + away, result_bytes(3, 70, "<f4")), 3, 70, "<f4")
    assert same_bits(found, in_order(features, weights))


def test_every_core_has_a_stream_of_its_own(shared: Bench) -> None:
    random = np.random.default_rng(2)
    features, weights = int8(random, 4, 64), int8(random, 32, 64)
    shared.machine.write_physical(FEATURES, features_of(features))
    shared.machine.write_physical(WEIGHTS, weights_of(weights))
    places = [OUTPUT + 0x1_0000 * core for core in range(3)]
    shared.forget()
    for core, place in enumerate(places):
        program = FEATURES - 0x8_0000 + 0x1000 * core
        shared.launch(Product(4, 64, 32, FEATURES, WEIGHTS, place), core=core, program=program)
    for core, place in enumerate(places):
        assert shared.wait(core) & DONE
        found = result_of(shared.machine.read_physical(place, result_bytes(4, 32, "<i4")), 4, 32, "<i4")
        assert np.array_equal(found, exact(features, weights))
    assert {args[0] for args in shared.seen(EventKind.DMA)} == {StreamId.NPU0, StreamId.NPU1, StreamId.NPU2}


def test_register_groups_take_turns(shared: Bench) -> None:
    before = shared.get(NpuCore.DPU_S_POINTER.offset) >> 16 & 1
    shared.multiply(np.ones((1, 1), np.int8), np.ones((1, 1), np.int8))
    assert shared.get(NpuCore.DPU_S_POINTER.offset) >> 16 & 1 == 1 - before
