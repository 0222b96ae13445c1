"""Drivers of the NPU that do not do what the secure world asks: each is the sandbox's driver with one thing changed."""

from __future__ import annotations

import struct

from emulator.costs import MAX_CHARGE
from emulator.devices.npu import NpuControl
from emulator.devices.npu_program import TASK_BYTES
from emulator.gate import Arrival, Execute, Flow, Registers, charge, counter, load, read, store, wait, write
from emulator.memory_map import DRAM_BASE, DRIVER_BYTES, NPU_CONTROL, PAGE_SIZE
from monitor.abi import DRIVER_TICKS, MEM_RECALL, MINIMUM_DEADLINE, NPU_MAP, NPU_RECLAIM, NPU_RELEASE, Status
from monitor.services.calls import invoke
from monitor.services.messages import DriverStatus
from nworld.npu import JOB_DONE, Job
from nworld.npu_sandbox import NpuSandbox

from .hostile import Choose

WEIGHTS = 0x1000  # an address of the NPU where there are some
NEARLY = 10_000  # ticks before its time is up
STORES = 600

INSTRUCTION_BYTES = 4
B, B_OFFSET = 0x1400_0000, 0x3FF_FFFF
NOP = 0xD503_201F
MSR_DBGBVR0_EL1_X0 = 0xD510_0080
MRS_X2_CNTPCT, STR_X2, STR_W2 = 0xD53B_E022, 0xF800_8422, 0xB800_4422  # stores to [x1], which moves on
UNTIL_X0 = (MRS_X2_CNTPCT, 0xEB00_005F, 0x54FF_FFC3)  # cmp x2, x0; b.lo
TURNS_OF_X0 = (0xF100_0400, 0x54FF_FFE1)  # subs x0, x0, #1; b.ne
LDR_X2 = 0xF940_0022  # from [x1]

BEFORE_STORES = 2  # instructions from that which reads the time
STORE_TIMES = (STR_X2, *UNTIL_X0, MRS_X2_CNTPCT, STR_X2, *(STR_W2,) * STORES)
MEASURED = struct.Struct(f"<2Q{STORES}I")  # when the call began, when the row of stores began, and what they stored


class BadDriver(NpuSandbox):
    """``got_through``: it has done what the monitor must not let it do. ``choose``: see `Hostile`."""

    got_through = False
    choose: Choose

    def execute(self, words: tuple[int, ...], *registers: int) -> Flow[None]:
        """Run instructions of its own, with x0 and on, unless they end its call."""
        page = self.gate.base + DRIVER_BYTES - PAGE_SIZE
        back = self.gate.address(Arrival.RETURN.value) - (page + INSTRUCTION_BYTES * len(words))
        code = (*words, B | back // INSTRUCTION_BYTES & B_OFFSET)
        yield from write(page, b"".join(word.to_bytes(INSTRUCTION_BYTES, "little") for word in code))
        yield Execute(page, registers)


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
            if status != Status.NOT_SUPPORTED:
                self.got_through = True
                break
        return (yield from super().run(program, words, tasks))


class NeverAnswers(BadDriver):
    """Not for twice the time that it has; it is through when it is still there then."""

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        for _stay in range(2 * DRIVER_TICKS // MAX_CHARGE):
            yield from charge(MAX_CHARGE)
        self.got_through = True
        return (yield from super().run(program, words, tasks))


class PlantsDebugRegisters(BadDriver):
    """A value in a register that is not switched between the worlds."""

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        yield from self.execute((MSR_DBGBVR0_EL1_X0,), program)
        self.got_through = True
        return (yield from super().run(program, words, tasks))


class TimesItsFault(BadDriver):
    """Is refused an access when its time is up, once at every instruction that EL2 executes then.

    Its first call is stopped in a row of stores, and the last of them tells the second one how much time there is. From
    then on it is good.
    """

    calls = 0

    def run(self, *job: int) -> Flow[Registers]:
        self.calls += 1
        if self.calls > 2:
            return (yield from super().run(*job))
        begin = yield from counter()
        for _turn in range(DRIVER_TICKS // MAX_CHARGE):
            yield from charge(MAX_CHARGE)
        yield from charge(begin + DRIVER_TICKS - NEARLY - (yield from counter()))
        page = self.gate.base + DRIVER_BYTES - 2 * PAGE_SIZE
        if self.calls == 1:
            yield from write(page, bytes(PAGE_SIZE))
            yield from self.execute(STORE_TIMES, begin + DRIVER_TICKS - STORES // 2, page, begin)
        begun, time, *stored = MEASURED.unpack((yield from read(page, MEASURED.size)))
        end = begin - begun + time + BEFORE_STORES + STORES - stored.count(0)
        turns, odd = divmod(max(0, end - self.choose(2)), 2)
        yield from self.execute((*TURNS_OF_X0, *(NOP,) * odd, LDR_X2), turns + 1, DRAM_BASE)
        return (DriverStatus.DONE, JOB_DONE)


class WaitsForever(BadDriver):
    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        while True:
            yield from wait()
