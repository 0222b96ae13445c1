"""A rig whose NPU runs programs of `program`, and plain references for its products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from emulator.devices.npu import NpuControl, NpuCore, Problem
from emulator.events import EventKind, NpuWhat
from emulator.memory_map import DRAM_BASE, MIB
from tests.emulator.devices.rig import CODE, Rig

from .program import (
    ATOM,
    BANK,
    BANKS,
    FP16,
    FP32,
    INT8,
    INT32,
    Matrix,
    Product,
    amount,
    ceil,
    chain,
    features_of,
    result_bytes,
    result_of,
    weights_of,
)

PROGRAM = DRAM_BASE + 16 * MIB
FEATURES, WEIGHTS, OUTPUT = DRAM_BASE + 17 * MIB, DRAM_BASE + 20 * MIB, DRAM_BASE + 54 * MIB
FEATURE_ROOM, OUTPUT_ROOM = WEIGHTS - FEATURES, 10 * MIB
MAX_HEIGHT = 2047  # of an image: its field has 11 bits
RESULTS = {"<i4": INT32, "<i1": INT8, "<f4": FP32, "<f2": FP16}
DONE, FAILED = 0x300, 0x7000
ALL = DONE | FAILED


class Bench(Rig):
    """The SMMU is bypassed, DRAM is open, every core has power and clock."""

    def __init__(self) -> None:
        super().__init__()
        self.bypass_smmu()
        self.open_dram()
        self.control(NpuControl.POWER.offset, 7)
        self.control(NpuControl.CLOCK.offset, 7)

    def control(self, offset: int, value: int | None = None) -> int:
        window = self.board.npu.control
        if value is None:
            return window.read(offset, 4, False)
        window.write(offset, 4, value, False)
        return value

    def get(self, offset: int, core: int = 0) -> int:
        return self.board.npu.cores[core].read(offset, 4, False)

    def put(self, offset: int, value: int, core: int = 0) -> None:
        self.board.npu.cores[core].write(offset, 4, value, False)

    def submit(self, base: int, first_amount: int, tasks: int = 1, core: int = 0) -> None:
        """As Linux does it (drivers/accel/rocket/rocket_job.c)."""
        self.put(NpuCore.PC_BASE_ADDRESS.offset, 1, core)
        self.put(NpuCore.CNA_S_POINTER.offset, 0xE | core << 28, core)
        self.put(NpuCore.CORE_S_POINTER.offset, 0xE | core << 28, core)
        self.put(NpuCore.PC_BASE_ADDRESS.offset, base, core)
        self.put(NpuCore.PC_REGISTER_AMOUNTS.offset, first_amount, core)
        self.put(NpuCore.PC_INTERRUPT_MASK.offset, ALL, core)
        self.put(NpuCore.PC_INTERRUPT_CLEAR.offset, 0x1FFFF, core)
        self.put(NpuCore.PC_TASK_CON.offset, 0x7000 | tasks, core)
        self.put(NpuCore.PC_TASK_DMA_BASE_ADDR.offset, 0, core)
        self.put(NpuCore.PC_OPERATION_ENABLE.offset, 1, core)

    def step(self) -> bool:
        """To the next event of a device. False: there is none."""
        if not self.machine.advance_to_next_event():
            return False
        self.machine.core.pc = CODE + 4
        self.machine.run()
        return True

    def wait(self, core: int = 0) -> int:
        """Raw status when the core is idle again; what ended is acknowledged."""
        while self.control(NpuControl.STATUS.offset) >> core & 1:
            assert self.step(), "a job in flight has a next step"
        status = self.get(NpuCore.PC_INTERRUPT_RAW_STATUS.offset, core)
        self.put(NpuCore.PC_INTERRUPT_CLEAR.offset, 0x1FFFF, core)
        return status

    def launch(self, *products: Product, core: int = 0, program: int = PROGRAM) -> None:
        self.machine.write_physical(program, chain(list(products), program))
        self.submit(program, amount(products[0]), len(products), core)

    def run(self, *products: Product, core: int = 0) -> int:
        self.launch(*products, core=core)
        return self.wait(core)

    def multiply(self, features: Matrix, weights: Matrix, kind: str = "<i4", **how: int) -> Matrix:
        """features x weights^T, by as many tasks as the convolution buffer asks for, and jobs as this memory does."""
        rows, kernels = len(features), len(weights)
        self.machine.write_physical(WEIGHTS, weights_of(weights))
        room = min(FEATURE_ROOM // len(features_of(features[:1])), OUTPUT_ROOM // result_bytes(1, kernels, kind))
        slabs = [self._multiply_slab(features[at : at + room], weights, kind, how) for at in range(0, rows, room)]
        return np.concatenate(slabs)

    def _multiply_slab(self, features: Matrix, weights: Matrix, kind: str, how: dict[str, int]) -> Matrix:
        (rows, channels), kernels = features.shape, len(weights)
        precision = FP16 if features.dtype == np.float16 else INT8
        tile = min((BANKS - 1) * BANK // (ceil(channels * features.itemsize, ATOM) * ATOM), MAX_HEIGHT)
        tasks = [
            Product(
                min(tile, rows - at), channels, kernels, FEATURES + ATOM * at, WEIGHTS, OUTPUT + ATOM * at, precision,
                RESULTS[kind], feature_rows=rows, output_rows=rows, **how,  # type: ignore[arg-type]
            )
            for at in range(0, rows, tile)
        ]  # fmt: skip
        self.machine.write_physical(FEATURES, features_of(features))
        status = self.run(*tasks)
        assert status & DONE and not status & FAILED, self.fault()
        return result_of(self.machine.read_physical(OUTPUT, result_bytes(rows, kernels, kind)), rows, kernels, kind)

    def fault(self, core: int = 0) -> tuple[Problem, int]:
        word = self.control(NpuControl.FAULT.at(core))
        return Problem(word >> 16), word & 0xFFFF

    def told(self, what: NpuWhat) -> list[tuple[int, ...]]:
        return [args for args in self.seen(EventKind.NPU) if args[1] == what]


@contextmanager
def bench() -> Iterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        made.machine.close()


def exact(features: Matrix, weights: Matrix) -> Matrix:
    """int8 x int8 as int32; float64 holds every sum of up to 2^38 products."""
    return (features.astype(np.float64) @ weights.astype(np.float64).T).astype(np.int64).astype(np.int32)


def in_order(features: Matrix, weights: Matrix) -> Matrix:
    """fp16 x fp16: one float32 a result, channel after channel; every NaN is the same."""
    sums = np.zeros((len(features), len(weights)), np.float32)
    products = np.empty_like(sums)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(features.shape[1]):
            sums += np.multiply.outer(features[:, k].astype(np.float32), weights[:, k].astype(np.float32), out=products)
    sums[np.isnan(sums)] = np.uint32(0x7FC0_0000).view(np.float32)
    return sums


def same_bits(one: Matrix, other: Matrix) -> bool:
    """Also of zeros' signs and NaNs."""
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def requantised(sums: Matrix, scale: int, shift: int, offset: int) -> Matrix:
    """int32 to int8: nearest, halves away from zero; offset; saturated."""
    product = sums.astype(np.int64) * scale
    size = (np.abs(product) + ((1 << shift) >> 1)) >> shift
    clipped: Matrix = np.clip(np.sign(product) * size + offset, -128, 127).astype(np.int8)
    return clipped
