"""The NPU as it changes hands: what is begun too late, what is left over, and when it may be taken."""

from __future__ import annotations

import struct

from emulator.devices.npu import NpuControl, NpuCore
from emulator.devices.npu_program import COMMAND_BYTES, TASK_COMMANDS, Task, program
from emulator.gate import access_all, charge, read, write
from emulator.memory_map import NPU0, NPU1, NPU_CONTROL
from monitor.abi import MINIMUM_DEADLINE, NPU_RECALL, NPU_RECLAIM, PageState, Status
from monitor.services.calls import invoke, succeed
from nworld.npu import ALL_CORES, Job, NpuDriver
from nworld.npu_sandbox import NpuSandbox

from .engine import IDENTITY, SIDE, LongJob, run, take_npu, until_secure, works
from .hostile import Hostile
from .registry import Attack, Moment, Play, Script, until
from .scene import Scene

COUNT, COLUMNS = 2, 256  # features of a token's long jobs: each row is two planes of int8 (docs/arithmetic.md)
OUTPUT_TICKS = 20_000  # until a job has gone on to its next steps
JOB_TICKS = 100_000  # until it is over
DATA_REUSE = NpuCore.CNA_CBUF_CON0.fields["data_reuse"].mask

# Where things are in four pages of the attacker's own
FEATURES, SUMS, PROGRAM, WEIGHTS = 0x000, 0x400, 0x800, 0x1000
ORDER = 2

VALUE_SHIFT, OFFSET_MASK = 16, 0xFFFF  # of a register command

# A product whose only step of multiplication lasts for 16,000 ticks, after as many for its features
SLOW_COUNT, SLOW_COLUMNS = 32, 8192
SLOW_OPERAND_BYTES = SLOW_COUNT * SLOW_COLUMNS
SLOW_ORDER = 8
SLOW_TICKS = 18_000  # until it multiplies


# While it changes hands


def _start_while_draining(hostile: Hostile, scene: Scene) -> Script[bool]:
    """A job on another core, while the first one's is let finish: nobody would wait for it."""
    yield from until(Moment.TOKEN)
    yield from take_npu(hostile)
    yield from works(hostile)
    job = LongJob(hostile)
    yield from job.start()
    if not scene.lifted:
        yield from until(Moment.DRAIN)
        assert scene.npu.drains()
    scene.arm()
    started = yield from hostile.store_register(NPU1.base + NpuCore.PC_OPERATION_ENABLE.offset, 1)
    if scene.lifted:
        yield from job.stop()
    else:
        yield from until(Moment.TOKEN)
    job.free()
    return started


def _never_ends(hostile: Hostile, scene: Scene) -> Script[bool]:
    """A job whose clock stands still is in flight for ever, and would go on when the driver starts the clock."""
    yield from take_npu(hostile)
    job = LongJob(hostile)
    yield from job.start()
    yield from access_all((NPU_CONTROL.base + NpuControl.CLOCK.offset, 0))
    assert scene.npu.job_under_way()
    scene.arm()
    if not scene.lifted:
        yield from until(Moment.TOKEN)
        job.free()
        return not scene.npu.was_aborted()
    yield from access_all((NPU_CONTROL.base + NpuControl.CLOCK.offset, ALL_CORES))
    yield from charge(OUTPUT_TICKS)
    yield from job.stop()
    job.free()
    return scene.npu.has_moved_data()


def _sums_across_lock(hostile: Hostile, scene: Scene) -> Script[bool]:
    """A job has sums for a page that is ALLOCATED translated, and not written, when LOCK takes the page."""
    yield from works(hostile)
    page, _ = yield from until(Moment.ALLOCATE)
    assert scene.state(page) is PageState.ALLOCATED
    base = hostile.take_extent(SLOW_ORDER)
    weights, place = base + SLOW_OPERAND_BYTES, base + 2 * SLOW_OPERAND_BYTES
    task = Task(base, weights, page, SLOW_COUNT, SLOW_COLUMNS, SIDE)
    yield from write(place, program([task], place))
    scene.arm()
    driver = NpuDriver()
    yield from driver.power()
    yield from driver.start(Job(place, TASK_COMMANDS, 1))
    yield from charge(SLOW_TICKS)
    yield from until(Moment.TOKEN)
    hostile.free_extent(base, SLOW_ORDER)
    return scene.reached_while_locked(page)


# What is left over


def _take_in_a_job(hostile: Hostile, scene: Scene) -> Script[None]:
    """By force, in the middle of a secure job, of the token that comes next; in a lifted scene it is ours at once."""
    yield from until(Moment.TOKEN)
    if scene.lifted:
        yield from take_npu(hostile)
        return
    assert scene.npu.is_secure()
    deadline, *_ = yield from succeed(NPU_RECALL, MINIMUM_DEADLINE)
    yield from hostile.outlast(deadline)
    yield from until(Moment.JOB)
    assert scene.npu.secure_job_under_way()


def _registers(hostile: Hostile, scene: Scene) -> Script[bool]:
    """Every register of the core that had the job, against its reset value."""
    yield from _take_in_a_job(hostile, scene)
    if scene.lifted:
        yield from works(hostile)
    resets = {offset: register.resets[index] for register, index, offset in NpuCore.elements()}
    held = scene.npu.registers()
    telling = [offset for offset in held if held[offset] != resets[offset]]
    assert telling
    if not scene.lifted:
        yield from succeed(NPU_RECLAIM)
        yield from NpuDriver().power()
    found = yield from access_all(*((NPU0.base + offset, None) for offset in telling))
    through = any(value != resets[offset] for offset, value in zip(telling, found, strict=True))
    if not through:
        scene.credit("scrubbed: the registers hold their reset values")
    return through


def _features(hostile: Hostile, scene: Scene) -> Script[bool]:
    """Multiplies what the job has left in the convolution buffer by the identity: it is over, so that there is some."""
    yield from _take_in_a_job(hostile, scene)
    if not scene.lifted:
        yield from charge(JOB_TICKS)
        assert not scene.npu.job_under_way()
        yield from succeed(NPU_RECLAIM)
    base = hostile.take_extent(ORDER)
    yield from write(base + FEATURES, bytes([1]) * COUNT * COLUMNS)
    yield from write(base + WEIGHTS, IDENTITY + bytes(SIDE * COLUMNS - len(IDENTITY)))
    composed = program([Task(base + FEATURES, base + WEIGHTS, base + SUMS, COUNT, COLUMNS, SIDE)], base + PROGRAM)
    if scene.lifted:
        yield from write(base + PROGRAM, composed)
        yield from run(Job(base + PROGRAM, TASK_COMMANDS, 1))
    yield from write(base + PROGRAM, _reusing(composed))
    yield from write(base + SUMS, bytes(4 * SIDE * COUNT))
    yield from run(Job(base + PROGRAM, TASK_COMMANDS, 1))
    sums = yield from read(base + SUMS, 4 * SIDE * COUNT)
    hostile.free_extent(base, ORDER)
    return any(sums)


def _reusing(composed: bytes) -> bytes:
    """The same program with DATA_REUSE set."""
    words = struct.unpack(f"<{len(composed) // COMMAND_BYTES}Q", composed)
    offset = NpuCore.CNA_CBUF_CON0.offset
    changed = [word | DATA_REUSE << VALUE_SHIFT if word & OFFSET_MASK == offset else word for word in words]
    return struct.pack(f"<{len(changed)}Q", *changed)


def _output(hostile: Hostile, scene: Scene) -> Script[bool]:
    """Lets time pass: what the job has posted would be written, and its next steps be done."""
    yield from _take_in_a_job(hostile, scene)
    job = LongJob(hostile)
    if scene.lifted:
        yield from job.start()
    scene.arm()
    if not scene.lifted:
        yield from succeed(NPU_RECLAIM)
    goes_on = scene.npu.job_under_way()
    yield from charge(OUTPUT_TICKS)
    through = goes_on or scene.npu.has_moved_data()
    yield from job.stop()
    job.free()
    return through


# When it may be taken


def _reclaim(*, recalled: bool) -> Play:
    """Before the deadline, or though nobody has asked for it."""

    def script(hostile: Hostile, scene: Scene) -> Script[bool]:
        yield from until_secure(scene)
        if recalled or scene.lifted:
            deadline, *_ = yield from succeed(NPU_RECALL, MINIMUM_DEADLINE)
            if scene.lifted:
                yield from hostile.outlast(deadline)
        scene.arm()
        status, *_ = yield from invoke(NPU_RECLAIM)
        return status == Status.SUCCESS or not scene.npu.is_secure()

    return script


def _short_recall(_hostile: Hostile, scene: Scene) -> Script[bool]:
    yield from until_secure(scene)
    scene.arm()
    status, *_ = yield from invoke(NPU_RECALL, MINIMUM_DEADLINE if scene.lifted else MINIMUM_DEADLINE - 1)
    return status == Status.SUCCESS


ATTACKS = (
    Attack(
        "npu-sums-across-lock",
        "begins a job that writes sums into a page, to end after its lock",
        _sums_across_lock,
        Moment.REQUEST,
        control=False,
    ),
    Attack(
        "npu-start-while-draining",
        "starts a job while the secure world waits for the one before",
        _start_while_draining,
        Moment.REQUEST,
        driver=NpuSandbox,
    ),
    Attack("npu-never-ends", "keeps the NPU by a job that stands still", _never_ends, driver=NpuSandbox),
    Attack(
        "npu-left-over-registers",
        "takes the NPU in a secure job, and loads its registers",
        _registers,
        Moment.REQUEST,
        driver=NpuSandbox,
    ),
    Attack(
        "npu-left-over-features",
        "takes the NPU after a secure job, and multiplies what is in its buffer",
        _features,
        Moment.REQUEST,
        driver=NpuSandbox,
    ),
    Attack(
        "npu-left-over-output",
        "takes the NPU in a secure job, and waits for its output",
        _output,
        Moment.REQUEST,
        driver=NpuSandbox,
    ),
    Attack(
        "npu-reclaim-without-recall",
        "takes the NPU by force, though nobody has asked for it",
        _reclaim(recalled=False),
        driver=NpuSandbox,
    ),
    Attack(
        "npu-reclaim-before-deadline",
        "takes the NPU by force before the recall is due",
        _reclaim(recalled=True),
        driver=NpuSandbox,
    ),
    Attack(
        "npu-short-recall",
        "recalls the NPU with less time than the secure world is to have",
        _short_recall,
        driver=NpuSandbox,
    ),
)
