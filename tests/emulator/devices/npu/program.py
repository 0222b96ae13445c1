"""Programs and buffers for the NPU as open userland for the RK3588 prepares them, written independently of the model.

Facts from Mesa's rocket driver (registers.xml, rkt_regcmd.c) and mtx512/rk3588-npu (npu_matmul.c): the order of the
commands, what each field holds, and how operands lie in memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CNA, CORE, DPU, PC = 0x0201, 0x0801, 0x1001, 0x0101
MARKER, ENABLE, NOTHING = 0x0041, 0x0081, 0
BANK, BANKS, ATOM = 32 * 1024, 12, 16
INT8, FP16, INT32, FP32 = 0, 2, 4, 5
BYTES = {INT8: 1, FP16: 2, INT32: 4, FP32: 4}

Matrix = NDArray[np.generic]


def ceil(value: int, step: int) -> int:
    return -(-value // step)


def command(target: int, value: int, register: int) -> int:
    return target << 48 | (value & 0xFFFFFFFF) << 16 | register


@dataclass
class Product:
    """``rows`` x ``channels`` features times ``kernels`` x ``channels`` weights, and where they lie for the DMA."""

    rows: int
    channels: int
    kernels: int
    features: int
    weights: int
    output: int
    precision: int = INT8
    result: int = INT32
    feature_rows: int = 0  # of the matrix that these rows are part of
    output_rows: int = 0
    real_channels: int = 0
    scale: int = 1
    shift: int = 0
    offset: int = 0
    reuse: bool = False
    changed: dict[tuple[int, int], int] = field(default_factory=dict)  # commands that are given another value

    @property
    def group(self) -> int:
        return 16 if self.precision == FP16 else 32

    def commands(self) -> list[int]:
        """Everything up to the last four words."""
        return [command(target, self.changed.get((target, register), value), register)
                for target, register, value in self._registers()]  # fmt: skip

    def _registers(self) -> list[tuple[int, int, int]]:
        size, p, r = BYTES[self.precision], self.precision, self.result
        m, k, n = self.rows, self.channels, self.kernels
        feature_rows, output_rows = self.feature_rows or m, self.output_rows or m
        data_banks = max(1, ceil(ceil(k * size, ATOM) * ATOM * m, BANK))
        atoms = self.group // (ATOM // BYTES[r])
        edge = atoms - 1
        last = (m - 1) << 16
        half = int(r == FP16) << 16
        cna = [
            (0x100C, p << 7 | p << 4), (0x1010, (m + 1 & 0x3FF) << 4), (0x1014, 1 << 3 | 1), (0x1020, 1 << 16 | m),
            (0x1024, ((self.real_channels or k) - 1) << 16 | k), (0x1028, 1), (0x102C, m),
            (0x1030, k * size * n), (0x1034, k * size), (0x1038, 1 << 24 | 1 << 16 | n),
            (0x1040, int(self.reuse) << 12 | (BANKS - data_banks) << 4 | data_banks),
            (0x1044, ceil(k * size, 64)), (0x104C, 1 << 3 | 1 << 1 | 1),
            *((0x1050 + 4 * i, 1 << 16) for i in range(4)),
            (0x1060, 0), (0x1064, 0), (0x1068, 0), (0x1070, self.features), (0x1074, 0), (0x1078, 15 << 16 | 15),
            (0x107C, 4), (0x1080, feature_rows - 4 & 0xFFFFFFF), (0x1084, 1 << 16 | m), (0x1088, k),
            (0x1100, 0), (0x1104, 0), (0x1110, self.weights), *((0x1140 + 4 * i, 0) for i in range(16)),
            (0x1180, 0), (0x1184, 0),
        ]  # fmt: skip
        core = [(0x3010, p << 8 | 1), (0x3014, last), (0x3018, n - 1), (0x301C, 0), (0x3030, 0)]
        dpu = [
            (0x400C, 15 << 5 | 2 << 1), (0x4010, r << 29 | p << 26 | p), (0x4014, 0), (0x4020, self.output),
            (0x4024, output_rows << 4), (0x4030, 0), (0x4034, m - 1), (0x4038, 0), (0x403C, n - 1 << 16 | n - 1),
            (0x4040, 0x53), (0x4044, 0), (0x4048, 0), (0x404C, 0), (0x4050, edge << 8 | edge << 5 | edge << 2 | 2),
            (0x4054, 0), (0x4058, n - 1), (0x405C, last), (0x4060, 0x53), (0x4064, 0), (0x4068, 0), (0x406C, 0),
            (0x4070, 0x383), (0x4074, 0), (0x4078, 1), (0x407C, 0), (0x4080, self.offset),
            (0x4084, half | self.scale & 0xFFFF), (0x4088, self.shift), *((0x4090 + 4 * i, 0) for i in range(8)),
            (0x40C0, output_rows * atoms << 4), (0x40C4, 0), *((0x4100 + 4 * i, 0) for i in range(12)),
        ]  # fmt: skip
        return [(DPU, 0x4004, 0xE), *((CNA, *one) for one in cna), *((CORE, *one) for one in core),
                *((DPU, *one) for one in dpu)]  # fmt: skip


def packed(words: list[int]) -> bytes:
    return struct.pack(f"<{len(words)}Q", *words)


def chain(products: list[Product], base: int) -> bytes:
    """The programs of a job, each at a multiple of 64 bytes from ``base``, each naming the next."""
    bodies = [product.commands() for product in products]
    places = [base]
    for body in bodies:
        places.append(places[-1] + ceil(8 * (len(body) + 4), 64) * 64)
    image = b""
    for i, body in enumerate(bodies):
        more = i + 1 < len(bodies)
        following = ceil(len(bodies[i + 1]) // 2, 2) * 2 if more else 0
        end = [
            command(PC, places[i + 1], 0x10) if more else 0,
            command(PC, following, 0x14),
            command(MARKER, 0, 0),
            command(ENABLE, 0x1D, 0x08),
        ]
        image += packed(body + end).ljust(places[i + 1] - places[i], b"\0")
    return image


def amount(product: Product) -> int:
    """REGISTER_AMOUNTS for its program."""
    return (len(product.commands()) + 4 + 1) // 2 - 1


# --- operands, by their definition -----------------------------------------------------------------------------


def filled(matrix: Matrix, rows: int, columns: int) -> Matrix:
    """With zeros, to a multiple of so many rows and columns."""
    height, width = matrix.shape
    return np.pad(matrix, ((0, -height % rows), (0, -width % columns)))


def features_of(matrix: Matrix) -> bytes:
    """[rows][channels] as [channels / C2][rows][C2], C2 to an atom of 16 bytes."""
    c2 = ATOM // matrix.itemsize
    return filled(matrix, 1, c2).reshape(len(matrix), -1, c2).transpose(1, 0, 2).tobytes()


def weights_of(matrix: Matrix) -> bytes:
    """[kernels][channels] as [kernels / G][channels / 32][G][32], G 32 for int8 and 16 for fp16; filled with zeros."""
    group = 32 // matrix.itemsize
    kernels, channels = matrix.shape
    blocks = filled(matrix, group, 32).reshape(ceil(kernels, group), group, ceil(channels, 32), 32)
    return blocks.transpose(0, 2, 1, 3).tobytes()


def result_of(data: bytes, rows: int, kernels: int, kind: str) -> Matrix:
    """[kernels / C2][rows][C2] as [rows][kernels]."""
    c2 = ATOM // np.dtype(kind).itemsize
    cube = np.frombuffer(data, kind).reshape(ceil(kernels, c2), rows, c2)
    return cube.transpose(1, 0, 2).reshape(rows, -1)[:, :kernels]


def result_bytes(rows: int, kernels: int, kind: str) -> int:
    return ceil(kernels, ATOM // np.dtype(kind).itemsize) * rows * ATOM
