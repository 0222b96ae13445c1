"""The normal world's share of the NPU on the whole phone: ends told by interrupt, turns by the tick, and taken jobs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from emulator.devices.gic import GicDistributor
from emulator.devices.npu_program import TASK_BYTES, TASK_COMMANDS, Task, program
from emulator.gate import Flow, Registers, access_all, charge, counter, wait, write
from emulator.memory_map import GIC_DISTRIBUTOR
from flexserve.system import System
from nworld import npu_share
from nworld.background import TICK, BackgroundFlow
from nworld.npu import Job, NpuDriver
from nworld.npu_share import NpuShare, Outcome
from sworld.kernel import SecureKernel
from tests.flexserve.phone import package, phone

INTERRUPT = 142  # SPI 110
COMPUTE, TAKE = 50, 51  # services of the kernel below
TASKS = 150  # of a job that lasts some 30,000 ticks


class Busy(SecureKernel):
    """COMPUTE: for so many ticks, without leaving. TAKE: the same, and it takes the NPU before and drops it after."""

    def _boot(self, base: int, end: int) -> Flow[None]:
        yield from super()._boot(base, end)
        self.service.handlers |= {COMPUTE: self._compute, TAKE: self._hold}

    def _compute(self, ticks: int, *_: int) -> Flow[Registers]:
        yield from charge(ticks)
        return (0,)

    def _hold(self, ticks: int, *_: int) -> Flow[Registers]:
        assert self.npu
        yield from self.npu._take()
        yield from charge(ticks)
        yield from self.npu._give_back()
        return (0,)


class Counting(NpuDriver):
    """How often the device was asked whether a job is over."""

    polls = 0

    def poll(self) -> Flow[int]:
        self.polls += 1
        return (yield from super().poll())


@pytest.fixture(name="system")
def _system() -> Iterator[System]:
    system = phone(package(0), secure_kernel=Busy)
    yield system
    system.dispose()


@pytest.fixture(name="driver")
def _driver(system: System) -> Counting:
    driver = Counting()
    system.normal.share = NpuShare(driver, system.normal.gic)
    return driver


def call(system: System, service: int, ticks: int) -> None:
    system.run("call", system.normal.secure.call, service, ticks)


def job(system: System, tasks: int) -> Flow[Job]:
    """Products that nobody looks at."""
    place = system.normal.pages.allocate(4)
    task = Task(place, place + 0x400, place + 0x800, 4, 64, 32)
    first = place + 0x1000
    assert tasks * TASK_BYTES < 0xF000
    yield from write(first, program([task] * tasks, first))
    return Job(first, TASK_COMMANDS, tasks)


def thread(system: System, tasks: int, outcomes: list[Outcome]) -> BackgroundFlow[None]:
    """Two jobs, one after the other."""
    work = yield from job(system, tasks)
    for _ in range(2):
        assert (yield from system.normal.share.start(work))
        outcomes.append((yield from system.normal.share.finish()))


def begin(system: System, tasks: int) -> list[Outcome]:
    """The thread has begun its first job."""
    outcomes: list[Outcome] = []
    system.run("start", partial(system.normal.background.start, thread(system, tasks, outcomes)))
    system.run("turn", system.normal.background.turn)
    return outcomes


def is_enabled(interrupt: int) -> Flow[int]:
    (bits,) = yield from access_all((GIC_DISTRIBUTOR.base + GicDistributor.ISENABLER.at(interrupt // 32), None))
    return bits >> interrupt % 32 & 1


def test_each_core_has_the_interrupt_of_its_window() -> None:
    assert [NpuDriver(core).interrupt for core in range(3)] == [INTERRUPT, INTERRUPT + 1, INTERRUPT + 2]


def test_job_is_asked_for_once_when_its_interrupt_has_told_of_its_end(system: System, driver: Counting) -> None:
    outcomes = begin(system, 1)
    call(system, COMPUTE, 4 * TICK)
    assert outcomes == [Outcome.DONE, Outcome.DONE]
    assert driver.polls == 2
    assert (system.normal.gic.state.unclaimed, system.normal.gic.state.spurious) == (0, 0)


def test_idle_normal_world_is_woken_by_the_end_of_its_job(system: System, driver: Counting) -> None:
    outcomes = begin(system, TASKS)

    def sleep() -> Flow[int]:
        """One WFI."""
        begun = yield from counter()
        yield from wait()
        yield from charge(2)  # here the interrupt is taken
        return (yield from counter()) - begun

    asleep = 0
    while not driver.polls:
        slept = system.run("sleep", sleep)
        assert isinstance(slept, int)
        asleep += slept
    assert asleep < TICK  # it was not the tick
    system.run("turn", system.normal.background.turn)
    assert outcomes == [Outcome.DONE]


def test_threads_have_turns_while_the_secure_world_never_leaves(system: System) -> None:
    system.run("app", system.normal.start_matmul)
    ticks = 20
    call(system, COMPUTE, ticks * TICK)
    after = system.usage()
    assert "SECURE_RPC" not in after.smc
    assert ticks // 2 - 1 <= after.npu.normal_jobs <= ticks // 2 + 1  # a turn to begin one, a turn to look at it
    preempted = after.smc["SECURE_RESUME"]
    assert preempted - after.npu.normal_jobs in (ticks - 1, ticks, ticks + 1)  # by the tick, and by the end of each job


def test_there_is_no_tick_without_threads(system: System) -> None:
    call(system, COMPUTE, 5 * TICK)
    assert "SECURE_RESUME" not in system.usage().smc


def test_job_that_drains_while_its_registers_are_gone_is_taken(system: System, driver: Counting) -> None:
    """Its interrupt comes, and nobody can lower its line: it is disabled, and enabled again for the next job."""
    outcomes = begin(system, TASKS)
    call(system, TAKE, TICK // 4)
    assert (driver.polls, system.normal.gic.state.unclaimed) == (1, 1)
    assert system.run("enabled", is_enabled, INTERRUPT) == 0
    system.run("turn", system.normal.background.turn)
    assert outcomes == [Outcome.TAKEN]
    assert system.run("enabled", is_enabled, INTERRUPT) == 1
    call(system, COMPUTE, 2 * TICK)
    assert outcomes == [Outcome.TAKEN, Outcome.DONE]


@pytest.mark.parametrize("tasks", [1, TASKS])
def test_end_that_no_interrupt_tells_of_is_found_after_a_while(
    system: System, driver: Counting, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npu_share, "JOB_TICKS", TICK + TICK // 2)
    outcomes = begin(system, tasks)
    system.run("silence", system.normal.gic.disable, INTERRUPT)
    call(system, COMPUTE, TICK + TICK // 2)
    assert (outcomes, driver.polls) == ([], 0)
    call(system, COMPUTE, TICK)
    assert outcomes == [Outcome.DONE]
    assert driver.polls == 2  # the second job has interrupted


def test_job_that_is_still_under_way_after_a_while_is_left_alone(
    system: System, driver: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npu_share, "JOB_TICKS", 0)
    outcomes = begin(system, TASKS)
    for _ in range(3):
        system.run("turn", system.normal.background.turn)
    assert (outcomes, driver.polls) == ([], 3)
    call(system, COMPUTE, TICK + TICK // 2)
    assert outcomes == [Outcome.DONE]
