"""An app of the normal world that uses the NPU: a stream of int8 matrix products, each compared with its own sums."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from emulator import costs
from emulator.devices import npu_program
from emulator.devices.npu_program import Task
from emulator.gate import charge, read, write
from nworld.background import PAUSE, BackgroundFlow
from nworld.npu import Job
from nworld.npu_share import NpuShare, Outcome

COUNT, COLUMNS, ROWS = 4, 64, 32  # feature rows; columns and rows of the matrix
FEATURE_ATOM, SUM_ATOM, BLOCK = 16, 4, 32

WEIGHTS_OFFSET = 0  # within the app's page
FEATURES_OFFSET = WEIGHTS_OFFSET + ROWS * COLUMNS
SUMS_OFFSET = FEATURES_OFFSET + COUNT * COLUMNS
PROGRAM_OFFSET = SUMS_OFFSET + 4 * COUNT * ROWS
SIZE = PROGRAM_OFFSET + npu_program.TASK_BYTES

Matrix = list[list[int]]


class WrongProduct(Exception):
    """The NPU's sums are not those of the app's matrices."""


@dataclass
class MatmulState:
    """``done``: products that were right; ``repeated``: jobs begun again because the NPU was taken from them."""

    done: int = 0
    repeated: int = 0


class MatmulApp:
    """Works in `SIZE` bytes of physical memory at ``place``, a page's beginning below 4 GiB."""

    def __init__(self, share: NpuShare, place: int) -> None:
        self.state = MatmulState()
        self._share = share
        self._place = place

    def run(self) -> BackgroundFlow[None]:
        """Products without end. Raises WrongProduct."""
        weights = numbers(0, ROWS, COLUMNS)
        task = Task(
            self._place + FEATURES_OFFSET, self._place + WEIGHTS_OFFSET, self._place + SUMS_OFFSET, COUNT, COLUMNS, ROWS
        )
        program = self._place + PROGRAM_OFFSET
        yield from write(program, npu_program.program([task], program))
        yield from write(self._place + WEIGHTS_OFFSET, blocked(weights))
        number = 0
        while True:
            number += 1
            features = numbers(number, COUNT, COLUMNS)
            yield from write(self._place + FEATURES_OFFSET, atoms(features))
            yield from charge(COUNT * COLUMNS * ROWS // costs.MACS_PER_INSTRUCTION)
            yield from self._multiply(Job(program, npu_program.TASK_COMMANDS, 1), expected(features, weights))
            self.state.done += 1
            yield PAUSE

    def _multiply(self, job: Job, sums: bytes) -> BackgroundFlow[None]:
        """Until the product is there; while the NPU works, others run."""
        while True:
            while not (yield from self._share.start(job)):
                yield PAUSE
            outcome = yield from self._share.finish()
            if (yield from read(self._place + SUMS_OFFSET, len(sums))) == sums:
                return
            if outcome is not Outcome.TAKEN:
                raise WrongProduct(f"product {self.state.done + 1} of the app is {outcome.value}, and wrong")
            self.state.repeated += 1


def numbers(seed: int, rows: int, columns: int) -> Matrix:
    """int8 values that differ from seed to seed (a linear congruential generator, Knuth's constants)."""
    state, found = seed, []
    for _ in range(rows):
        row = []
        for _ in range(columns):
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            row.append((state >> 56) - 128)
        found.append(row)
    return found


def blocked(matrix: Matrix) -> bytes:
    """int8 [rows/32][columns/32][32 rows][32 columns]."""
    values = (
        value
        for row in range(0, ROWS, BLOCK)
        for column in range(0, COLUMNS, BLOCK)
        for line in matrix[row : row + BLOCK]
        for value in line[column : column + BLOCK]
    )
    return struct.pack(f"{ROWS * COLUMNS}b", *values)


def atoms(features: Matrix) -> bytes:
    """int8 [columns/16][rows][16]."""
    values = (
        value
        for column in range(0, COLUMNS, FEATURE_ATOM)
        for row in features
        for value in row[column : column + FEATURE_ATOM]
    )
    return struct.pack(f"{COUNT * COLUMNS}b", *values)


def expected(features: Matrix, weights: Matrix) -> bytes:
    """int32 [rows/4][feature rows][4]."""
    sums = [[sum(x * w for x, w in zip(row, line, strict=True)) for line in weights] for row in features]
    values = (value for first in range(0, ROWS, SUM_ATOM) for row in sums for value in row[first : first + SUM_ATOM])
    return struct.pack(f"<{COUNT * ROWS}i", *values)
