"""Products handed over and taken back: what the check passes is right in any layout, and wrong sums never pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from emulator.product_check import PRODUCT_CHECK_OPERATIONS, CheckRefused, Verdict
from tests.emulator.guest import Guest

Bytes = npt.NDArray[np.int8]
KEY = 0x0123_4567_89AB_CDEF
SHAPES = [(1, 1, 1, 1), (32, 32, 2, 2), (33, 17, 5, 2), (70, 300, 12, 5), (320, 96, 64, 64), (40, 64, 130, 33)]


@pytest.fixture(name="guest")
def _guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.machine.close()


def run(guest: Guest, name: str, *arguments: object) -> int:
    return PRODUCT_CHECK_OPERATIONS[name].run(guest.port, *arguments)


def padded(size: int) -> int:
    return -(-size // 32) * 32


def block(matrix: Bytes) -> Bytes:
    rows, columns = (padded(size) for size in matrix.shape)
    whole = np.zeros((rows, columns), np.int8)
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    return whole.reshape(rows // 32, 32, columns // 32, 32).transpose(0, 2, 1, 3).copy()


def atoms(rows: npt.NDArray[np.generic], atom: int) -> npt.NDArray[np.generic]:
    """[M][C] as [C/atom][M][atom], padded to 32 columns."""
    whole = np.zeros((len(rows), padded(rows.shape[1])), rows.dtype)
    whole[:, : rows.shape[1]] = rows
    return whole.reshape(len(rows), -1, atom).transpose(1, 0, 2).copy()


def tiles(rows: npt.NDArray[np.generic], tile: int, atom: int) -> bytes:
    return b"".join(atoms(rows[first : first + tile], atom).tobytes() for first in range(0, len(rows), tile))


@dataclass
class Case:
    """One set of two matrices, handed over; their right sums lie in staging."""

    guest: Guest
    rows: int
    columns: int
    count: int
    tile: int

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.rows)
        self.matrices = [random.integers(-128, 128, (self.rows, self.columns)).astype(np.int8) for _ in range(2)]
        self.features = random.integers(-128, 128, (self.count, self.columns)).astype(np.int8)
        guest = self.guest
        self.busy = guest.put(np.zeros(1, np.uint32))
        projection = guest.skip(8 * padded(self.columns))
        for index, matrix in enumerate(self.matrices):
            weights = guest.put(block(matrix))
            first = index * padded(self.rows)
            run(guest, "check_project", weights, self.rows, self.columns, KEY, first, index > 0, projection)
        self.staged = guest.skip(padded(self.columns) * self.count)
        self.expected = guest.skip(8 * self.count)
        features = guest.put(atoms(self.features, 16))
        run(guest, "check_offer", features, self.columns, self.count, self.tile, projection, self.staged, self.expected)
        size = 4 * padded(self.rows) * self.count
        self.results = [(guest.skip(size), self.rows, guest.skip(size)) for _ in self.matrices]
        for matrix, (staging, _, _) in zip(self.matrices, self.results, strict=True):
            guest.port.write(staging, tiles(self.sums(matrix), self.tile, 4))

    def sums(self, matrix: Bytes) -> npt.NDArray[np.int32]:
        return self.features.astype(np.int32) @ matrix.astype(np.int32).T

    def accept(self) -> int:
        return run(
            self.guest, "check_accept", self.busy, sum(self.results, ()), self.count, self.tile, KEY, self.expected
        )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_right_sums_pass_and_arrive(guest: Guest, shape: tuple[int, int, int, int]) -> None:
    case = Case(guest, *shape)
    assert guest.port.read(case.staged, padded(case.columns) * case.count) == tiles(case.features, case.tile, 16)
    assert case.accept() == Verdict.RIGHT
    for matrix, (_, _, sums) in zip(case.matrices, case.results, strict=True):
        wanted = atoms(case.sums(matrix), 4).tobytes()
        assert guest.port.read(sums, len(wanted)) == wanted


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", [1, -1, 1 << 31, -(1 << 31), 0x10000])
def test_one_wrong_sum_fails(guest: Guest, shape: tuple[int, int, int, int], change: int) -> None:
    case = Case(guest, *shape)
    place = case.results[1][0] + 4 * (padded(case.rows) * case.count // 2)
    value = int.from_bytes(guest.port.read(place, 4), "little")
    guest.port.write(place, ((value + change) % (1 << 32)).to_bytes(4, "little"))
    assert case.accept() == Verdict.WRONG


def test_sums_that_belong_to_the_other_matrix_fail(guest: Guest) -> None:
    case = Case(guest, 33, 17, 5, 2)
    case.results.reverse()
    assert case.accept() == Verdict.WRONG


def test_sums_of_other_features_fail(guest: Guest) -> None:
    case = Case(guest, 40, 64, 130, 33)
    case.features[77, 3] ^= 1
    for matrix, (staging, _, _) in zip(case.matrices, case.results, strict=True):
        guest.port.write(staging, tiles(case.sums(matrix), case.tile, 4))
    assert case.accept() == Verdict.WRONG


def test_nothing_is_looked_at_while_the_device_is_at_work(guest: Guest) -> None:
    case = Case(guest, 32, 32, 2, 2)
    guest.port.write(case.busy, b"\x02\0\0\0")
    assert case.accept() == Verdict.BUSY


@pytest.mark.parametrize("sizes", [(0, 1, 1), (16385, 1, 1), (1, 0, 1), (1, 65537, 1), (16384, 65536, 1), (1, 4, 5)])
def test_sizes_out_of_range_are_refused(guest: Guest, sizes: tuple[int, int, int]) -> None:
    columns, count, tile = sizes
    with pytest.raises(CheckRefused):
        run(guest, "check_offer", 0x1000, columns, count, tile, 0x1000, 0x1000, 0x1000)
