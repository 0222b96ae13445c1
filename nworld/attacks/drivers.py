"""Drivers of the NPU that do not do what the secure world asks: each is the sandbox's driver with one thing changed."""

from __future__ import annotations

from emulator.costs import MAX_CHARGE
from emulator.devices.npu import NpuControl
from emulator.devices.npu_program import TASK_BYTES
from emulator.gate import Flow, Registers, charge, load, store, wait
from emulator.memory_map import DRAM_BASE, NPU_CONTROL
from monitor.abi import DRIVER_TICKS, MEM_RECALL, MINIMUM_DEADLINE, NPU_MAP, NPU_RECLAIM, NPU_RELEASE, Status
from monitor.services.calls import invoke
from monitor.services.messages import DriverStatus
from nworld.npu import JOB_DONE, Job
from nworld.npu_sandbox import NpuSandbox

WEIGHTS = 0x1000  # an address of the NPU where there are some


class BadDriver(NpuSandbox):
    """``got_through``: it has done what the monitor must not let it do."""

    got_through = False


class Skips(BadDriver):
    """Says that every job is done, and does none."""

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from ()
        return (DriverStatus.DONE, JOB_DONE)


class SkipsTheFirstTask(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        return (yield from super().run(program + TASK_BYTES, words, tasks - 1))


class RunsTheFirstProgramOnly(BadDriver):
    """Another job's program in the place of the one that it is given."""

    first = 0

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        self.first = self.first or program + TASK_BYTES
        return (yield from super().run(self.first, words, tasks))


class SwapsJobs(BadDriver):
    """Runs the first job, with its buffers, in the place of every other."""

    first: Registers = ()

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        self.first = self.first or (program, words, tasks)
        return (yield from super().run(*self.first))


class RunsTwice(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from super().run(program, words, tasks)
        return (yield from super().run(program, words, tasks))


class RunsAgain(BadDriver):
    """Runs each job a second time when the next one is done, over whose sums it writes its own."""

    before: Job | None = None

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        answer = yield from super().run(program, words, tasks)
        if self.before:
            yield from self.driver.run(self.before)
        self.before = Job(program, words, tasks)
        return answer


class ReportsEarly(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from self.driver.start(Job(program, words, tasks))
        return (DriverStatus.DONE, JOB_DONE)


class ReportsFailures(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from super().run(program, words, tasks)
        return (DriverStatus.JOB_FAILED, 0)


class AnswersNonsense(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from super().run(program, words, tasks)
        return ((1 << 64) - 1,) * 5


class StartsAnywhere(BadDriver):
    """Takes weights for a program."""

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from super().run(WEIGHTS, words, tasks)
        return (DriverStatus.DONE, JOB_DONE)


class PowersOff(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from self.driver.start(Job(program, words, tasks))
        yield from store(NPU_CONTROL.base + NpuControl.POWER.offset, 0)
        return (DriverStatus.DONE, JOB_DONE)


class ReadsMemory(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        found = yield from load(DRAM_BASE)
        self.got_through = True
        return (found,)


class WritesMemory(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from store(DRAM_BASE, 0)
        self.got_through = True
        return (DriverStatus.DONE, JOB_DONE)


class CallsTheMonitor(BadDriver):
    """Before each job, calls of either world."""

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        for call, arguments in (
            (MEM_RECALL, (1, MINIMUM_DEADLINE)),
            (NPU_MAP, (0, DRAM_BASE, 1)),
            (NPU_RECLAIM, ()),
            (NPU_RELEASE, ()),
        ):
            status, *_results = yield from invoke(call, *arguments)
            self.got_through |= status != Status.NOT_SUPPORTED
        return (yield from super().run(program, words, tasks))


class NeverAnswers(BadDriver):
    """Not for twice the time that it has; it is through when it is still there then."""

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        for _stay in range(2 * DRIVER_TICKS // MAX_CHARGE):
            yield from charge(MAX_CHARGE)
        self.got_through = True
        return (yield from super().run(program, words, tasks))


class WaitsForever(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        while True:
            yield from wait()
