"""The NPU in the normal world's hands as a copy engine: products whose operands, sums or program are not its own."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.npu_program import TASK_COMMANDS
from emulator.gate import Flow
from nworld.npu import Job
from nworld.npu_sandbox import NpuSandbox

from .engine import READ_ERROR, SECRET_BYTES, SIDE, product, run, take_npu, until_secure, works
from .hostile import Hostile
from .registry import Attack, Play, Script
from .scene import VALUE_OFFSET, Planted, Scene

SECRET_ROW = VALUE_OFFSET // SIDE  # of the target as a block of weights

Target = Callable[[Scene], Planted]


def _secret(values: tuple[int, ...]) -> int:
    return int.from_bytes(bytes(value & 0xFF for value in values), "little")


def _as_features(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from works(hostile)
        planted = target(scene)
        _, sums = yield from product(hostile, 1, features=planted.value)
        return _secret(sums[:SECRET_BYTES]) == planted.secret

    return script


def _as_weights(target: Target) -> Play:
    """Feature row m gives byte m of each row of weights."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from works(hostile)
        planted = target(scene)
        _, sums = yield from product(hostile, SECRET_BYTES, weights=planted.address)
        return _secret(sums[SECRET_ROW : 4 * SECRET_BYTES : 4]) == planted.secret

    return script


def _as_sums(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from works(hostile)
        planted = target(scene)
        yield from product(hostile, 1, sums=planted.address)
        return scene.altered(planted.address)

    return script


def _as_program(target: Target) -> Play:
    """What is no program is refused with the register that it named, which tells of its bytes: it must not be read."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from works(hostile)
        planted = target(scene)
        status = yield from run(Job(planted.address, TASK_COMMANDS, 1))
        return not status & READ_ERROR

    return script


def _recalled(play: Play) -> Play:
    """The same, once the secure world has given the NPU back."""

    def script(hostile: Hostile, scene: Scene) -> Script[bool | None]:
        yield from until_secure(scene)
        yield from take_npu(hostile)
        return (yield from play(hostile, scene))

    return script


def _by_iova(_: Hostile, scene: Scene) -> Flow[bool]:
    """The normal world's table of the NPU's addresses has nothing there."""
    status = yield from run(Job(scene.staged_address("npu programs"), TASK_COMMANDS, 1))
    return not status & READ_ERROR


def _staged(name: str) -> Target:
    return lambda scene: scene.staged(name)


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
    Attack(
        "npu-features-driver",
        "multiplies the driver context's memory as features",
        _as_features(lambda scene: scene.driver_memory()),
    ),
    Attack(
        "npu-sums-driver",
        "lets the NPU write sums into the driver context's memory",
        _as_sums(lambda scene: scene.driver_memory()),
    ),
    Attack(
        "npu-features-staged",
        "multiplies what is staged for a secure job as features of its own",
        _recalled(_as_features(_staged("npu features"))),
        driver=NpuSandbox,
    ),
    Attack(
        "npu-sums-staged",
        "lets the NPU write sums where those of a secure job are staged",
        _recalled(_as_sums(_staged("npu sums"))),
        driver=NpuSandbox,
    ),
    Attack(
        "npu-program-staged",
        "lets the NPU run a secure job's program, by its physical address",
        _recalled(_as_program(_staged("npu programs"))),
        driver=NpuSandbox,
    ),
    Attack(
        "npu-program-by-iova",
        "lets the NPU run a secure job's program, by the address that the job had",
        _recalled(_by_iova),
        driver=NpuSandbox,
    ),
)
