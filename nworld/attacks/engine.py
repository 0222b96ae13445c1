"""The NPU in the normal world's hands: products whose operands, sums or program may be anybody's.

A product with the identity matrix moves bytes: each sum is a byte of the features, or of the weights.
"""

from __future__ import annotations

import struct

from emulator.devices.npu import NpuControl
from emulator.devices.npu_program import TASK_COMMANDS, Task, program
from emulator.gate import Flow, read, write
from emulator.memory_map import NPU_CONTROL
from monitor.abi import MINIMUM_DEADLINE, NPU_RECALL
from monitor.services.calls import succeed
from nworld.npu import ALL_CORES, Job, NpuDriver

from .hostile import Hostile
from .registry import Moment, Script, until
from .scene import Scene

SIDE = 32  # rows and columns of a block of weights
ATOM = 16  # bytes of int8 features that lie together
SECRET_BYTES = 8
READ_ERROR = 1 << 12  # of the raw interrupt status

# Where things are in a page of the attacker's own
WEIGHTS, FEATURES, SUMS, PROGRAM = 0x000, 0x400, 0x800, 0xC00

IDENTITY = bytes(row == column for row in range(SIDE) for column in range(SIDE))
ONE_HOT = bytes(  # feature row m has its one at column m
    atom + byte == row for atom in (0, ATOM) for row in range(SECRET_BYTES) for byte in range(ATOM)
)

LONG_COUNT, LONG_COLUMNS, LONG_ROWS = 256, 1024, 256  # of a product that takes more than 80,000 ticks
LONG_OPERAND_BYTES = 256 << 10  # each of features, weights and sums
LONG_ORDER = 8  # of the extent that has room for all of it and the program


def product(
    hostile: Hostile, count: int, *, features: int = 0, weights: int = 0, sums: int = 0
) -> Flow[tuple[int, tuple[int, ...]]]:
    """One product of ``count`` feature rows, each operand in a page of our own unless its address is given.

    The raw interrupt status, and what our page holds as sums, [row/4][feature row][4].
    """
    page = hostile.take_page()
    task = Task(features or page + FEATURES, weights or page + WEIGHTS, sums or page + SUMS, count, SIDE, SIDE)
    yield from write(page + WEIGHTS, IDENTITY)
    yield from write(page + FEATURES, ONE_HOT)
    yield from write(page + SUMS, bytes(4 * SIDE * count))
    yield from write(page + PROGRAM, program([task], page + PROGRAM))
    status = yield from run(Job(page + PROGRAM, TASK_COMMANDS, 1))
    found = yield from read(page + SUMS, 4 * SIDE * count)
    hostile.free_page(page)
    return status, struct.unpack(f"<{SIDE * count}i", found)


def run(job: Job) -> Flow[int]:
    """The raw interrupt status at its end."""
    driver = NpuDriver()
    yield from driver.power()
    return (yield from driver.run(job))


def works(hostile: Hostile) -> Flow[None]:
    """The NPU is ours: a product of our own operands is right."""
    _, sums = yield from product(hostile, 1)
    assert bytes(sums) == ONE_HOT[: 2 * ATOM], "the NPU does not work"


def take_npu(hostile: Hostile) -> Flow[None]:
    """Ask for the NPU; the secure world gives it when it leaves."""
    yield from succeed(NPU_RECALL, MINIMUM_DEADLINE)
    yield from hostile.kernel.secure.poll()


def until_secure(scene: Scene) -> Script[None]:
    """Let the serving go on until the NPU is the secure world's."""
    while not scene.npu.is_secure():
        yield from until(Moment.TOKEN)


class LongJob:
    """A product of zeros that keeps core 0 busy for long, in memory of our own."""

    def __init__(self, hostile: Hostile) -> None:
        self._hostile = hostile
        self._base = hostile.take_extent(LONG_ORDER)

    def start(self) -> Flow[None]:
        features, weights, sums, place = (self._base + index * LONG_OPERAND_BYTES for index in range(4))
        task = Task(features, weights, sums, LONG_COUNT, LONG_COLUMNS, LONG_ROWS)
        yield from write(place, program([task], place))
        driver = NpuDriver()
        yield from driver.power()
        yield from driver.start(Job(place, TASK_COMMANDS, 1))

    def stop(self) -> Flow[None]:
        """Abort it, if the NPU is still ours."""
        yield from self._hostile.store_register(NPU_CONTROL.base + NpuControl.RESET.offset, ALL_CORES)

    def free(self) -> None:
        """It is over."""
        self._hostile.free_extent(self._base, LONG_ORDER)
