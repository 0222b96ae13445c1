"""The NPU in the normal world's hands as a copy engine: products whose operands, sums or program are not its own.

A product with the identity matrix moves bytes: each sum is a byte of the features, or of the weights.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from emulator.devices.npu_program import TASK_COMMANDS, Task, program
from emulator.gate import Flow, read, write
from nworld.npu import Job, NpuDriver

from .hostile import Hostile
from .registry import Attack, Play
from .scene import VALUE_OFFSET, Planted, Scene

SIDE = 32  # rows and columns of a block of weights
ATOM = 16  # bytes of int8 features that lie together
SECRET_BYTES = 8
SECRET_ROW = VALUE_OFFSET // SIDE  # of the target as a block of weights
READ_ERROR = 1 << 12  # of the raw interrupt status

# Where things are in a page of the attacker's own
WEIGHTS, FEATURES, SUMS, PROGRAM = 0x000, 0x400, 0x800, 0xC00

IDENTITY = bytes(row == column for row in range(SIDE) for column in range(SIDE))
ONE_HOT = bytes(  # feature row m has its one at column m
    atom + byte == row for atom in (0, ATOM) for row in range(SECRET_BYTES) for byte in range(ATOM)
)

Target = Callable[[Scene], Planted]


def _product(
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
    status = yield from _run(Job(page + PROGRAM, TASK_COMMANDS, 1))
    found = yield from read(page + SUMS, 4 * SIDE * count)
    hostile.free_page(page)
    return status, struct.unpack(f"<{SIDE * count}i", found)


def _run(job: Job) -> Flow[int]:
    driver = NpuDriver()
    yield from driver.power()
    return (yield from driver.run(job))


def _works(hostile: Hostile) -> Flow[None]:
    """The NPU is ours: a product of our own operands is right."""
    _, sums = yield from _product(hostile, 1)
    assert bytes(sums) == ONE_HOT[: 2 * ATOM], "the NPU does not work"


def _secret(values: tuple[int, ...]) -> int:
    return int.from_bytes(bytes(value & 0xFF for value in values), "little")


def _as_features(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from _works(hostile)
        planted = target(scene)
        _, sums = yield from _product(hostile, 1, features=planted.value)
        return _secret(sums[:SECRET_BYTES]) == planted.secret

    return script


def _as_weights(target: Target) -> Play:
    """Feature row m gives byte m of each row of weights."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from _works(hostile)
        planted = target(scene)
        _, sums = yield from _product(hostile, SECRET_BYTES, weights=planted.address)
        return _secret(sums[SECRET_ROW : 4 * SECRET_BYTES : 4]) == planted.secret

    return script


def _as_sums(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from _works(hostile)
        planted = target(scene)
        yield from _product(hostile, 1, sums=planted.address)
        return scene.altered(planted.address)

    return script


def _as_program(target: Target) -> Play:
    """What is no program is refused with the register that it named, which tells of its bytes: it must not be read."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from _works(hostile)
        planted = target(scene)
        status = yield from _run(Job(planted.address, TASK_COMMANDS, 1))
        return not status & READ_ERROR

    return script


ATTACKS = (
    Attack("npu-features-locked", "multiplies a locked page as features", _as_features(lambda scene: scene.locked())),
    Attack("npu-weights-locked", "multiplies a locked page as weights", _as_weights(lambda scene: scene.locked())),
    Attack("npu-sums-locked", "lets the NPU write sums into a locked page", _as_sums(lambda scene: scene.locked())),
    Attack(
        "npu-program-locked",
        "lets the NPU take a locked page for its program",
        _as_program(lambda scene: scene.locked()),
    ),
    Attack(
        "npu-features-secure-dram",
        "multiplies the secure kernel's memory as features",
        _as_features(lambda scene: scene.secure_dram()),
    ),
    Attack(
        "npu-features-secure-sram",
        "multiplies the monitor's memory as features",
        _as_features(lambda scene: scene.secure_sram()),
    ),
    Attack(
        "npu-sums-carve-out", "lets the NPU write sums into the carve-out", _as_sums(lambda scene: scene.carve_out())
    ),
    Attack(
        "npu-program-secure-dram",
        "lets the NPU take secure DRAM for its program",
        _as_program(lambda scene: scene.secure_dram()),
    ),
)
