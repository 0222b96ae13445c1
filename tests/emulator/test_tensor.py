"""Each tensor operation against the plain reference, bit for bit, on memory whose pages are scattered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from emulator.memory_map import PAGE_SIZE
from emulator.native import ffi, lib
from emulator.tensor import BLOCK_SIZE, TENSOR_OPERATIONS, Refusal, float_bits
from emulator.world_port import PortAbort
from tests.emulator.guest import Guest
from tests.reference import arithmetic
from tests.reference.arithmetic import Activation, Floats, Quantised
from tests.reference.model import normal

F = np.float32
WIDTHS = (1, 7, 8, 33, 72, 1000, 4100)


@pytest.fixture(name="guest")
def _guest() -> Iterator[Guest]:
    guest = Guest(pages=1024)
    yield guest
    guest.machine.close()


@pytest.fixture(name="portable", params=[False, True], ids=["widest", "portable"])
def _portable(request: pytest.FixtureRequest) -> Iterator[None]:
    lib.tensor_force_portable(request.param)
    yield
    lib.tensor_force_portable(False)


def run(guest: Guest, name: str, *arguments: int) -> int:
    return TENSOR_OPERATIONS[name].run(guest.port, *arguments)


def activation_size(count: int, tokens: int) -> int:
    return -(-8 * tokens // BLOCK_SIZE) * BLOCK_SIZE + -(-count // 32) * 64 * tokens


def room(guest: Guest, count: int, tokens: int = 1) -> int:
    """For an activation; not zero before."""
    address = guest.skip(activation_size(count, tokens), BLOCK_SIZE)
    guest.port.write(address, b"\x55" * activation_size(count, tokens))
    return address


def read_activations(guest: Guest, address: int, count: int, tokens: int = 1) -> list[Activation]:
    return arithmetic.decode_activations(guest.port.read(address, activation_size(count, tokens)), count, tokens)


class Multiplied:
    """A random matrix, activations of some tokens, and their exact sums, in guest memory."""

    def __init__(self, guest: Guest, seed: int, rows: int, columns: int, tokens: int) -> None:
        self.matrix = arithmetic.quantise(normal(seed, columns, (rows, columns)))
        vectors = normal(seed + 100, tokens, (tokens, columns))
        self.vectors = [arithmetic.quantise_activation(vector) for vector in vectors]
        self.address = guest.put(self.matrix.encode(), BLOCK_SIZE)
        self.activation = guest.put(arithmetic.encode_activations(self.vectors), BLOCK_SIZE)
        self.encoded_sums = arithmetic.encode_sums(self.matrix, self.vectors)

    def linear(self) -> Floats:
        """(tokens, rows)"""
        return np.stack([arithmetic.linear(self.matrix, vector) for vector in self.vectors])


def assert_same_activation(got: Activation, expected: Activation) -> None:
    np.testing.assert_array_equal(got.planes.values, expected.planes.values)
    assert got.planes.scales.tobytes() == expected.planes.scales.tobytes()


def assert_same_bits(got: Floats, expected: Floats) -> None:
    assert got.tobytes() == expected.astype(np.float32).tobytes()


def normalise(guest: Guest, vectors: Floats, gain: Floats, epsilon: float = 1e-5) -> tuple[int, list[Activation]]:
    """Of (tokens, width): what the operation returns, and what it leaves."""
    tokens, count = vectors.shape
    output = room(guest, count, tokens)
    source, scale = guest.put(vectors), guest.put(gain)
    result = run(guest, "tensor_normalise", source, scale, count, float_bits(epsilon), tokens, output)
    return result, read_activations(guest, output, count, tokens) if result == 0 else []


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("tokens", [1, 8, 13])
@pytest.mark.parametrize("count", WIDTHS)
def test_normalise(guest: Guest, count: int, tokens: int) -> None:
    vectors, gain = normal(3, count, (tokens, count)), normal(4, count, (count,))
    result, activations = normalise(guest, vectors, gain)
    assert result == 0
    for got, vector in zip(activations, vectors, strict=True):
        assert_same_activation(got, arithmetic.quantise_activation(arithmetic.normalise(vector, gain, F(1e-5))))


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize(
    "gain",
    [
        np.zeros(9, np.float32),
        np.array([1e-45, -3e-45, 0, 0.5e-38], np.float32),  # the scale is subnormal
        np.array([1e-44, 1e-45], np.float32),  # and here it rounds to zero
        np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 1], np.float32),  # ties go to even
        np.array([3.4e38, -3.4e38, 1], np.float32),
        np.array([-0.0, 0.0], np.float32),
    ],
    ids=["zero", "subnormal", "vanishing", "ties", "huge", "signed-zero"],
)
def test_quantisation_at_the_edges(guest: Guest, gain: Floats) -> None:
    """RMSNorm of ones without epsilon is one: the gain itself is quantised."""
    result, (got,) = normalise(guest, np.ones((1, len(gain)), np.float32), gain, 0.0)
    assert result == 0
    assert_same_activation(got, arithmetic.quantise_activation(gain))


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_refused(guest: Guest, bad: float) -> None:
    vectors = normal(2, 0, (3, 40))
    vectors[1, 17] = bad
    address, output = guest.put(vectors), room(guest, 40, 3)
    assert normalise(guest, vectors, np.ones(40, np.float32))[0] == Refusal.NOT_FINITE
    assert run(guest, "tensor_argmax", address, 80) == Refusal.NOT_FINITE
    assert run(guest, "tensor_sample", address, 80, float_bits(1.0), 65536, 0) == Refusal.NOT_FINITE
    assert run(guest, "tensor_attend", address, address, 0, 3, 1, 1, 40, output) == Refusal.NOT_FINITE
    infinite = Quantised(np.full(40, bad, np.float32), np.ones((40, 40), np.int8))
    matrix = guest.put(infinite.encode(), BLOCK_SIZE)
    source = guest.put(arithmetic.encode_activations([arithmetic.quantise_activation(normal(2, 1, (40,)))]), BLOCK_SIZE)
    sums = guest.put(np.ones((2, 64, 2), np.int32))
    assert run(guest, "tensor_swiglu", matrix, matrix, source, sums, 40, 1, output) == Refusal.NOT_FINITE


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("tokens", [1, 11])
@pytest.mark.parametrize("rows", WIDTHS)
def test_swiglu(guest: Guest, rows: int, tokens: int) -> None:
    gate, up = (Multiplied(guest, seed, rows, 24, tokens) for seed in (5, 5))
    gate.matrix = Quantised(gate.matrix.scales * F(30), gate.matrix.values)
    address = guest.put(gate.matrix.encode(), BLOCK_SIZE)
    sums, output = guest.put(gate.encoded_sums + up.encoded_sums), room(guest, rows, tokens)
    assert run(guest, "tensor_swiglu", address, up.address, up.activation, sums, rows, tokens, output) == 0
    for got, g, u in zip(read_activations(guest, output, rows, tokens), gate.linear(), up.linear(), strict=True):
        assert_same_activation(got, arithmetic.quantise_activation(arithmetic.swiglu(g, u)))


@pytest.fixture(name="kernel", params=range(3))
def _kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    if not lib.int8_use(request.param):
        pytest.skip("this processor has no more kernels")
    yield
    lib.int8_use(0)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("tokens", [1, 4, 9])
@pytest.mark.parametrize("rows", [1, 31, 32, 70])
@pytest.mark.parametrize("columns", WIDTHS)
def test_products(guest: Guest, columns: int, rows: int, tokens: int) -> None:
    product = Multiplied(guest, 7, rows, columns, tokens)
    features = product.activation + BLOCK_SIZE
    sums = guest.skip(len(product.encoded_sums))
    assert run(guest, "tensor_products", product.address, rows, columns, features, 2 * tokens, sums) == 0
    assert guest.port.read(sums, len(product.encoded_sums)) == product.encoded_sums


@pytest.mark.usefixtures("kernel")
def test_the_widest_sum_does_not_overflow(guest: Guest) -> None:
    """A damaged row may even hold -128."""
    columns = 16384
    matrix = Quantised(np.ones(1, np.float32), np.full((1, columns), -128, np.int8))
    features = arithmetic.encode_features([np.full((2, columns), -127, np.int8)])
    sums = guest.skip(256)
    place = (guest.put(matrix.encode(), BLOCK_SIZE), 1, columns, guest.put(features, BLOCK_SIZE), 2, sums)
    assert run(guest, "tensor_products", *place) == 0
    assert np.frombuffer(guest.port.read(sums, 4), "<i4")[0] == 127 * 128 * columns


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("tokens", [1, 8, 19])
@pytest.mark.parametrize("rows", WIDTHS)
def test_linear_and_add(guest: Guest, rows: int, tokens: int) -> None:
    product = Multiplied(guest, 8, rows, 30, tokens)
    before = normal(14, rows, (tokens, rows))
    sums, output = guest.put(product.encoded_sums), guest.put(before)
    place = (product.address, product.activation, sums, rows, tokens, output)
    assert run(guest, "tensor_add", *place) == 0
    assert_same_bits(guest.floats(output, tokens * rows), (before + product.linear()).reshape(-1))
    assert run(guest, "tensor_linear", *place) == 0
    assert_same_bits(guest.floats(output, tokens * rows), product.linear().reshape(-1))


def test_embed(guest: Guest) -> None:
    matrix = arithmetic.quantise(normal(9, 0, (50, 333)))
    tokens = [0, 49, 31, 32, 0]
    address, output = guest.put(matrix.encode(), BLOCK_SIZE), guest.skip(4 * 333 * len(tokens))
    assert run(guest, "tensor_embed", address, 50, 333, guest.put(np.array(tokens, "<u4")), len(tokens), output) == 0
    expected = matrix.values[tokens].astype(np.float32) * matrix.scales[tokens, None]
    assert_same_bits(guest.floats(output, 333 * len(tokens)), expected.reshape(-1))
    assert run(guest, "tensor_embed", address, 50, 333, guest.put(np.array([50], "<u4")), 1, output) == Refusal.INVALID


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize(("heads", "kv_heads", "head_width"), [(30, 6, 90), (4, 4, 64), (5, 1, 2)])
@pytest.mark.parametrize("position", [0, 1, 1000, 32758])
def test_rotate(guest: Guest, position: int, heads: int, kv_heads: int, head_width: int) -> None:
    tokens, kv_width = 10, kv_heads * head_width
    table = arithmetic.rotation_table(head_width, F(10000))
    angles = guest.skip(4 * head_width * tokens)
    assert run(guest, "tensor_angles", guest.put(table), head_width, position, tokens, angles) == 0
    query, key, value = (Multiplied(guest, 10, rows, 40, tokens) for rows in (heads * head_width, kv_width, kv_width))
    sums = guest.put(query.encoded_sums + key.encoded_sums + value.encoded_sums)
    queries, cache = guest.skip(4 * heads * head_width * tokens), guest.skip(8 * kv_width * tokens)
    inputs = (query.address, key.address, value.address, query.activation, sums, angles)
    assert run(guest, "tensor_rotate", *inputs, heads, kv_heads, head_width, tokens, queries, cache) == 0
    turned = [
        [
            arithmetic.rotate(vector.reshape(-1, head_width), table, position + t).reshape(-1)
            for t, vector in enumerate(p)
        ]
        for p in (query.linear(), key.linear())
    ]
    assert_same_bits(guest.floats(queries, heads * head_width * tokens), np.concatenate(turned[0]))
    expected = np.concatenate([np.stack(turned[1]), value.linear()], axis=1)
    assert_same_bits(guest.floats(cache, 2 * kv_width * tokens), expected.reshape(-1))


def test_sine_and_cosine_are_those_of_the_angle() -> None:
    """The reference itself, against float64 at every octant and around its bounds."""
    steps = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
    angles = np.concatenate([steps, steps + np.uint64(1), steps - np.uint64(1)])
    sine, cosine = arithmetic.sine_cosine(angles)
    radians = angles.astype(np.float64) / 2**64 * 2 * np.pi
    assert np.abs(sine - np.sin(radians)).max() < 2e-7
    assert np.abs(cosine - np.cos(radians)).max() < 2e-7


def test_exp_is_that_of_its_argument() -> None:
    x = np.linspace(-87, 0, 100_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(arithmetic.exponential(x) / exact - 1).max() < 3e-7
    assert arithmetic.exponential(np.array([-88, -np.inf], np.float32)).tolist() == [0, 0]


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize(
    ("position", "count", "group", "head_width"),
    [(0, 1, 1, 18), (4, 1, 3, 20), (0, 70, 2, 64), (299, 1, 1, 10), (250, 9, 1, 72), (600, 2, 1, 6)],
)
def test_attend(guest: Guest, position: int, count: int, group: int, head_width: int) -> None:
    kv_heads, tokens = 2, position + count
    width = kv_heads * group * head_width
    queries = normal(11, tokens, (count, kv_heads * group, head_width)) * F(3)
    keys, values = (normal(seed, tokens, (tokens, kv_heads, head_width)) for seed in (12, 13))
    cache = guest.put(np.stack([keys, values], axis=1))  # of each token its keys, then its values
    output = room(guest, width, count)
    place = (guest.put(queries), cache, position, count, kv_heads * group, kv_heads, head_width, output)
    assert run(guest, "tensor_attend", *place) == 0
    for t, got in enumerate(read_activations(guest, output, width, count)):
        reach = position + t + 1
        mixed = arithmetic.attend(queries[t], keys[:reach], values[:reach]).reshape(-1)
        assert_same_activation(got, arithmetic.quantise_activation(mixed))


def test_argmax_takes_the_lowest_index(guest: Guest) -> None:
    logits = normal(15, 0, (5000,))
    logits[[4321, 77, 4999]] = 9
    assert run(guest, "tensor_argmax", guest.put(logits), 5000) == 77
    assert run(guest, "tensor_argmax", guest.put(np.full(3, -5, np.float32)), 3) == 0


@pytest.mark.parametrize("top_p", [1, 30000, 62259, 65536])
@pytest.mark.parametrize("temperature", [0.01, 0.7, 1.0, 5.0])
def test_sample(guest: Guest, temperature: float, top_p: int) -> None:
    logits = normal(16, top_p, (700,)) * F(4)
    logits[100:200] = logits[99]  # equal ones, cut by the nucleus in order of index
    logits[[5, 6]] = logits.max()
    address = guest.put(logits)
    for draw in range(12):
        random = arithmetic.random_bits(draw, top_p) if draw else 2**64 - 1
        guest.port.write(address, logits.tobytes())
        got = run(guest, "tensor_sample", address, 700, float_bits(temperature), top_p, random)
        assert got == arithmetic.sample(logits, F(temperature), top_p, random)


def test_sample_follows_the_distribution(guest: Guest) -> None:
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    address = guest.put(logits)
    counts: npt.NDArray[np.int64] = np.zeros(4, np.int64)
    for draw in range(4000):
        guest.port.write(address, logits.tobytes())
        counts[run(guest, "tensor_sample", address, 4, float_bits(1.0), 65536, arithmetic.random_bits(1, draw))] += 1
    np.testing.assert_allclose(counts / 4000, [0.5, 0.25, 0.125, 0.125], atol=0.03)


def test_a_refused_page_is_an_abort_at_its_address(guest: Guest) -> None:
    inside = guest.end - PAGE_SIZE
    with pytest.raises(PortAbort) as abort:
        run(guest, "tensor_normalise", inside, inside, PAGE_SIZE // 4 + 1, 0, 1, inside)
    assert abort.value.address == guest.end


BAD_ARGUMENTS = [
    ("tensor_embed", (0, 0, 1, 0, 1, 0)),
    ("tensor_embed", (0, 4, 16385, 0, 1, 0)),
    ("tensor_embed", (512, 4, 4, 0, 1, 0)),
    ("tensor_embed", (0, 4, 4, 0, 257, 0)),
    ("tensor_angles", (0, 7, 0, 1, 0)),
    ("tensor_angles", (4, 8, 0, 1, 0)),
    ("tensor_angles", (0, 8, 32767, 2, 0)),
    ("tensor_normalise", (0, 0, 16385, 0, 1, 0)),
    ("tensor_normalise", (0, 0, 8, 0, 0, 0)),
    ("tensor_normalise", (0, 0, 8, 0, 1, 512)),
    ("tensor_products", (0, 8, 0, 0, 2, 0)),
    ("tensor_products", (0, 8, 8, 64, 2, 0)),
    ("tensor_products", (0, 8, 8, 0, 513, 0)),
    ("tensor_products", (0, 2**64 - 1, 8, 0, 2, 0)),
    ("tensor_rotate", (0, 0, 0, 0, 0, 0, 1, 1, 7, 1, 0, 0)),
    ("tensor_rotate", (0, 0, 0, 0, 0, 0, 2**62, 1, 8, 1, 0, 0)),
    ("tensor_rotate", (0, 0, 0, 0, 0, 0, 3, 2, 8, 1, 0, 0)),
    ("tensor_attend", (0, 0, 0, 0, 1, 1, 8, 0)),
    ("tensor_attend", (0, 0, 32768, 1, 1, 1, 8, 0)),
    ("tensor_attend", (0, 0, 32767, 2, 1, 1, 8, 0)),
    ("tensor_attend", (0, 0, 0, 1, 1, 0, 8, 0)),
    ("tensor_swiglu", (0, 1, 0, 0, 8, 1, 0)),
    ("tensor_add", (0, 0, 0, 2**32, 1, 0)),
    ("tensor_linear", (0, 0, 2, 8, 1, 0)),
    ("tensor_argmax", (0, 0)),
    ("tensor_sample", (0, 8, float_bits(0.0), 65536, 0)),
    ("tensor_sample", (0, 8, float_bits(float("nan")), 65536, 0)),
    ("tensor_sample", (0, 8, float_bits(1.0), 0, 0)),
    ("tensor_sample", (0, 8, float_bits(1.0), 65537, 0)),
]


@pytest.mark.parametrize(("name", "arguments"), BAD_ARGUMENTS)
def test_arguments_outside_the_limits_are_refused(guest: Guest, name: str, arguments: tuple[int, ...]) -> None:
    assert run(guest, name, *arguments) == Refusal.INVALID


def test_a_forced_portable_path_says_so() -> None:
    lib.tensor_force_portable(True)
    assert ffi.string(lib.tensor_lanes_name()) == b"portable"
    lib.tensor_force_portable(False)
