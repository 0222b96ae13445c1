"""Each tensor operation against the plain reference, bit for bit, on memory whose pages are scattered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from emulator.memory_map import PAGE_SIZE
from emulator.native import ffi, lib
from emulator.tensor import TENSOR_OPERATIONS, Refusal, float_bits
from emulator.world_port import PortAbort
from tests.emulator.guest import Guest
from tests.reference import arithmetic
from tests.reference.arithmetic import Activation, Floats, Quantised
from tests.reference.model import normal

F = np.float32
WIDTHS = (1, 7, 8, 33, 72, 1000, 4100)


@pytest.fixture(name="guest")
def _guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.machine.close()


@pytest.fixture(name="portable", params=[False, True], ids=["widest", "portable"])
def _portable(request: pytest.FixtureRequest) -> Iterator[None]:
    lib.tensor_force_portable(request.param)
    yield
    lib.tensor_force_portable(False)


def run(guest: Guest, name: str, *arguments: int) -> int:
    return TENSOR_OPERATIONS[name].run(guest.port, *arguments)


def read_activation(guest: Guest, address: int, count: int) -> Activation:
    values = np.frombuffer(guest.port.read(address + 8, 2 * count), np.int8).reshape(2, count)
    return Activation(Quantised(guest.floats(address, 2), values))


def assert_same_activation(got: Activation, expected: Activation) -> None:
    np.testing.assert_array_equal(got.planes.values, expected.planes.values)
    assert got.planes.scales.tobytes() == expected.planes.scales.tobytes()


def assert_same_bits(got: Floats, expected: Floats) -> None:
    assert got.tobytes() == expected.astype(np.float32).tobytes()


def vector_room(guest: Guest, count: int) -> int:
    return guest.skip(2 * (4 + count))


@pytest.mark.parametrize("count", WIDTHS)
def test_quantise(guest: Guest, count: int) -> None:
    vector = normal(1, count, (count,))
    output = vector_room(guest, count)
    assert run(guest, "tensor_quantise", guest.put(vector), count, output) == 0
    assert_same_activation(read_activation(guest, output, count), arithmetic.quantise_activation(vector))


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(9, np.float32),
        np.array([1e-45, -3e-45, 0, 0.5e-38], np.float32),  # the scale is subnormal
        np.array([1e-44, 1e-45], np.float32),  # and here it rounds to zero
        np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32),  # ties go to even
        np.array([3.4e38, -3.4e38, 1], np.float32),
        np.array([-0.0, 0.0], np.float32),
    ],
    ids=["zero", "subnormal", "vanishing", "ties", "huge", "signed-zero"],
)
def test_quantise_at_the_edges(guest: Guest, vector: Floats) -> None:
    output = vector_room(guest, len(vector))
    assert run(guest, "tensor_quantise", guest.put(vector), len(vector), output) == 0
    assert_same_activation(read_activation(guest, output, len(vector)), arithmetic.quantise_activation(vector))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_refused(guest: Guest, bad: float) -> None:
    vector = normal(2, 0, (40,))
    vector[17] = bad
    address, output = guest.put(vector), vector_room(guest, 40)
    assert run(guest, "tensor_quantise", address, 40, output) == Refusal.NOT_FINITE
    assert run(guest, "tensor_normalise", address, address, 40, 0, output) == Refusal.NOT_FINITE
    assert run(guest, "tensor_swiglu", address, address, 40, output) == Refusal.NOT_FINITE
    assert run(guest, "tensor_argmax", address, 40) == Refusal.NOT_FINITE
    assert run(guest, "tensor_sample", address, 40, float_bits(1.0), 65536, 0) == Refusal.NOT_FINITE
    assert run(guest, "tensor_attend", address, address, address, 0, 1, 0, 1, 1, 40, output) == Refusal.NOT_FINITE


@pytest.mark.parametrize("count", WIDTHS)
def test_normalise(guest: Guest, count: int) -> None:
    vector, gain = normal(3, count, (count,)), normal(4, count, (count,))
    output = vector_room(guest, count)
    run(guest, "tensor_normalise", guest.put(vector), guest.put(gain), count, float_bits(1e-5), output)
    expected = arithmetic.quantise_activation(arithmetic.normalise(vector, gain, F(1e-5)))
    assert_same_activation(read_activation(guest, output, count), expected)


@pytest.mark.parametrize("count", WIDTHS)
def test_swiglu(guest: Guest, count: int) -> None:
    gate, up = normal(5, count, (count,)) * F(30), normal(6, count, (count,))
    output = vector_room(guest, count)
    run(guest, "tensor_swiglu", guest.put(gate), guest.put(up), count, output)
    expected = arithmetic.quantise_activation(arithmetic.swiglu(gate, up))
    assert_same_activation(read_activation(guest, output, count), expected)


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("columns", WIDTHS)
def test_linear(guest: Guest, columns: int) -> None:
    rows = 37
    matrix = arithmetic.quantise(normal(7, columns, (rows, columns)))
    vector = arithmetic.quantise_activation(normal(8, columns, (columns,)))
    address, source, output = guest.put(matrix.encode()), guest.put(vector.encode()), guest.skip(4 * rows)
    for first, count in ((0, 5), (5, 0), (5, 32)):
        assert run(guest, "tensor_linear", address, rows, columns, first, count, source, output) == 0
    assert_same_bits(guest.floats(output, rows), arithmetic.linear(matrix, vector))


@pytest.mark.usefixtures("portable")
def test_linear_integers_are_exact(guest: Guest) -> None:
    """Scales of one and no fine plane show the integers themselves; a damaged row may even hold -128."""
    columns = 1000
    values = (np.arange(3 * columns).reshape(3, columns) * 37 % 256 - 128).astype(np.int8)
    values[2] = -128
    planes = np.stack([(np.arange(columns) * 11 % 255 - 127).astype(np.int8), np.zeros(columns, np.int8)])
    matrix = Quantised(np.ones(3, np.float32), values)
    vector = Activation(Quantised(np.array([1, 0], np.float32), planes))
    output = guest.skip(12)
    run(guest, "tensor_linear", guest.put(matrix.encode()), 3, columns, 0, 3, guest.put(vector.encode()), output)
    np.testing.assert_array_equal(guest.floats(output, 3), arithmetic.accumulate(matrix, vector)[0])


def test_the_widest_sum_does_not_overflow(guest: Guest) -> None:
    columns = 16384
    matrix = Quantised(np.ones(1, np.float32), np.full((1, columns), -128, np.int8))
    vector = Activation(Quantised(np.array([1, 0], np.float32), np.full((2, columns), -127, np.int8)))
    output = guest.skip(4)
    run(guest, "tensor_linear", guest.put(matrix.encode()), 1, columns, 0, 1, guest.put(vector.encode()), output)
    assert guest.floats(output, 1)[0] == 127 * 128 * columns


def test_embed(guest: Guest) -> None:
    matrix = arithmetic.quantise(normal(9, 0, (50, 333)))
    address, output = guest.put(matrix.encode()), guest.skip(4 * 333)
    for row in (0, 31, 49):
        run(guest, "tensor_embed", address, 50, 333, row, output)
        assert_same_bits(guest.floats(output, 333), matrix.values[row].astype(np.float32) * matrix.scales[row])


@pytest.mark.parametrize("position", [0, 1, 2, 1000, 4095, 32767])
def test_rotate(guest: Guest, position: int) -> None:
    heads = normal(10, position, (30, 90))
    table = arithmetic.rotation_table(90, F(10000))
    address = guest.put(heads)
    run(guest, "tensor_rotate", guest.put(table), address, 30, 90, position)
    assert_same_bits(guest.floats(address, 2700), arithmetic.rotate(heads, table, position))


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


@pytest.mark.parametrize(("tokens", "group", "head_width"), [(1, 1, 18), (5, 3, 20), (70, 2, 64), (300, 1, 10)])
def test_attend(guest: Guest, tokens: int, group: int, head_width: int) -> None:
    kv_heads = 2
    heads = kv_heads * group
    query = normal(11, tokens, (heads, head_width)) * F(3)
    keys, values = (normal(seed, tokens, (tokens, kv_heads, head_width)) for seed in (12, 13))
    cache = guest.put(np.stack([keys, values], axis=1))  # of each token its keys, then its values
    size = 4 * kv_heads * head_width
    source, output = guest.put(query), guest.skip(4 * heads * head_width)
    for head in range(heads):
        run(guest, "tensor_attend", source, cache, cache + size, 2 * size, tokens, head, 1, group, head_width, output)
    assert_same_bits(guest.floats(output, heads * head_width), arithmetic.attend(query, keys, values).reshape(-1))


def test_add(guest: Guest) -> None:
    x, y = normal(14, 0, (3000,)), normal(14, 1, (3000,))
    address = guest.put(x)
    run(guest, "tensor_add", address, guest.put(y), 3000)
    assert_same_bits(guest.floats(address, 3000), x + y)


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
        run(guest, "tensor_add", inside, inside, PAGE_SIZE // 4 + 1)
    assert abort.value.address == guest.end


BAD_ARGUMENTS = [
    ("tensor_embed", (0, 0, 1, 0, 0)),
    ("tensor_embed", (0, 4, 16385, 0, 0)),
    ("tensor_embed", (0, 4, 4, 4, 0)),
    ("tensor_embed", (2, 4, 4, 0, 0)),
    ("tensor_normalise", (0, 0, 16385, 0, 0)),
    ("tensor_quantise", (0, 0, 0)),
    ("tensor_linear", (0, 8, 8, 4, 5, 0, 0)),
    ("tensor_linear", (0, 8, 8, 2**64 - 1, 2, 0, 0)),
    ("tensor_linear", (0, 8, 8, 0, 8, 0, 2)),
    ("tensor_rotate", (0, 0, 1, 7, 0)),
    ("tensor_rotate", (4, 0, 1, 8, 0)),
    ("tensor_rotate", (0, 0, 2**62, 8, 0)),
    ("tensor_attend", (0, 0, 0, 0, 0, 0, 1, 1, 8, 0)),
    ("tensor_attend", (0, 0, 0, 0, 32769, 0, 1, 1, 8, 0)),
    ("tensor_attend", (0, 0, 0, 0, 1, 0, 1, 0, 8, 0)),
    ("tensor_swiglu", (0, 1, 8, 0)),
    ("tensor_add", (0, 0, 2**32)),
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
    assert ffi.string(lib.tensor_dot_name()) == b"portable"
    lib.tensor_force_portable(False)
