"""What the NPU does for the secure world, and for whom: its registers, its stream and its tables, in a secure job."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.npu import NpuControl, NpuCore
from emulator.devices.smmu import Smmu
from emulator.devices.storage import Command
from emulator.gate import Flow
from emulator.memory_map import NPU0, NPU_CONTROL, SMMU, Window
from emulator.registers import Register
from nworld.npu import ALL_CORES
from nworld.npu_sandbox import NpuSandbox

from .engine import product, take_npu, works
from .hostile import Hostile
from .registry import Attack, Moment, Play, Script, until
from .scene import Scene

BYPASS = 0x9  # of a stream table entry: valid, and no translation
EVERYTHING = 0x7FF  # of a stage-2 descriptor: valid, normal memory, read and write
_OUT, _IN = Command.WRITE, Command.READ  # as the memory sees it

Address = Callable[[Scene], int]


def _store(window: Window, register: Register, value: int) -> Play:
    """A store that the device must not get; the job is to go on."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        assert scene.npu.job_under_way()
        scene.arm()
        stored = yield from hostile.store_register(window.base + register.offset, value)
        return stored or scene.npu.was_aborted()

    return script


def _load_all(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Every register that is declared."""
    assert scene.npu.job_under_way()
    scene.arm()
    for offset in scene.npu.registers():
        if (yield from hostile.load_register(NPU0.base + offset)) is not None:
            return True
    return False


def _warm_tlb(hostile: Hostile, scene: Scene) -> Script[bool]:
    """The TLB knows the registers from when they were ours."""
    yield from take_npu(hostile)
    yield from works(hostile)
    status = NPU_CONTROL.base + NpuControl.STATUS.offset
    assert (yield from hostile.load_register(status)) is not None
    if not scene.lifted:
        yield from until(Moment.JOB)
        assert scene.npu.secure_job_under_way()
    scene.arm()
    return (yield from hostile.load_register(status)) is not None


def _by_storage(command: Command) -> Play:
    """The controller is asked to move a block out of the registers, or into them."""

    def script(hostile: Hostile, scene: Scene) -> Script[bool]:
        yield from hostile.fill_scratch()
        target = scene.locked().address if scene.lifted else NPU0.base
        if not scene.lifted:
            yield from until(Moment.JOB)
            assert scene.npu.secure_job_under_way()
        scene.arm()
        return (yield from hostile.dma(command, hostile.medium.scratch, target))

    return script


def _overwrite(address: Address, value: int) -> Play:
    """A word of a table."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        target = address(scene)
        yield from hostile.store(target, value)
        return scene.altered(target)

    return script


def _move_stream_table(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """To a page of our own, where the NPU's streams may have any table."""
    page = hostile.take_page()
    target = scene.register(SMMU.base, Smmu.STRTAB_BASE.offset)
    yield from hostile.store(target, page)
    hostile.free_page(page)
    return scene.altered(target)


def _map_for_npu(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """A page of our own in the place of what is staged: the secure job would take its features from there."""
    page = hostile.take_page()
    target = scene.npu_entry()
    yield from hostile.store(target, page | EVERYTHING)
    hostile.free_page(page)
    return scene.altered(target)


def _sums_into_stream_table(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """By the NPU itself, while it is ours."""
    yield from take_npu(hostile)
    yield from works(hostile)
    target = scene.stream_entry()
    yield from product(hostile, 1, sums=target)
    return scene.altered(target)


def _in_job(name: str, tries: str, script: Play) -> Attack:
    return Attack(name, tries, script, Moment.JOB, driver=NpuSandbox)


ATTACKS = (
    _in_job("npu-stop-job", "stops a secure job", _store(NPU0, NpuCore.PC_OPERATION_ENABLE, 0)),
    _in_job("npu-redirect-job", "gives a secure job another program", _store(NPU0, NpuCore.PC_BASE_ADDRESS, 0)),
    _in_job("npu-mask-job", "masks the interrupt of a secure job", _store(NPU0, NpuCore.PC_INTERRUPT_MASK, 0)),
    _in_job("npu-reset-job", "resets the NPU in a secure job", _store(NPU_CONTROL, NpuControl.RESET, ALL_CORES)),
    _in_job("npu-stop-clock", "stops the NPU's clock in a secure job", _store(NPU_CONTROL, NpuControl.CLOCK, 0)),
    _in_job("npu-power-off", "switches the NPU off in a secure job", _store(NPU_CONTROL, NpuControl.POWER, 0)),
    _in_job("npu-read-registers", "loads every register of a core in a secure job", _load_all),
    Attack(
        "npu-warm-tlb",
        "loads a register in a secure job by a TLB entry from before the switch",
        _warm_tlb,
        driver=NpuSandbox,
    ),
    Attack(
        "npu-registers-to-storage",
        "moves the NPU's registers to storage in a secure job",
        _by_storage(_OUT),
        driver=NpuSandbox,
    ),
    Attack(
        "npu-registers-from-storage",
        "moves a block into the NPU's registers in a secure job",
        _by_storage(_IN),
        driver=NpuSandbox,
    ),
    _in_job(
        "npu-bypass-stream",
        "lets the NPU's stream bypass the SMMU in a secure job",
        _overwrite(lambda scene: scene.stream_entry(), BYPASS),
    ),
    _in_job("npu-move-stream-table", "gives the SMMU another stream table in a secure job", _move_stream_table),
    _in_job("npu-map-page", "maps a page of its own for the NPU in a secure job", _map_for_npu),
    Attack(
        "npu-sums-stream-table",
        "lets the NPU write sums over its own stream's entry",
        _sums_into_stream_table,
        driver=NpuSandbox,
    ),
)
