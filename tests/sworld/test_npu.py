"""The NPU's engine on the whole phone: sums are right whoever drives the NPU, and whatever the normal world does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from emulator.costs import MAX_CHARGE
from emulator.devices.npu import NpuControl
from emulator.events import Event, EventKind
from emulator.gate import Flow, Registers, charge, counter, load, read, write
from emulator.memory_map import NPU_CONTROL, PAGE_SIZE
from flexserve.system import System
from monitor.abi import MINIMUM_DEADLINE, NPU_RECALL, NPU_RECLAIM, Pending
from monitor.services.calls import invoke
from monitor.services.messages import Request
from nworld import npu_share
from nworld.attacks.drivers import (
    AnswersNonsense,
    NeverAnswers,
    PowersOff,
    ReadsMemory,
    ReportsEarly,
    ReportsFailures,
    RunsTheFirstProgramOnly,
    RunsTwice,
    Skips,
    SkipsTheFirstTask,
    StartsAnywhere,
    WaitsForever,
    WritesMemory,
)
from nworld.kernel import NormalKernel
from nworld.npu_sandbox import NpuSandbox
from sworld import npu as sworld_npu
from sworld.kernel import SecureKernel
from sworld.matrix_layout import features_size, matrix_size, sums_size
from sworld.npu import MAX_FAILURES
from sworld.npu_jobs import Limits
from sworld.products import Product, ProductEngine
from sworld.region import DeviceAccess, Kind
from tests.emulator.test_product_check import atoms, block
from tests.flexserve.phone import images

MULTIPLY = 40  # a service of the kernel below
LIMITS = Limits(features=1 << 16, sums=1 << 18, projections=1 << 16)
SHAPES = [(1, 32, 32), (2, 96, 64), (2, 33, 100), (16, 64, 300), (130, 200, 64), (7, 320, 1000)]
SETS = 3
PATTERN = bytes(range(256)) * (PAGE_SIZE // 256)
JOB_TICKS = 200_000  # until the longest job here is over

Ints = npt.NDArray[np.int8]


@dataclass
class Problem:
    """Two matrices, and what they are multiplied with."""

    count: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.count * self.rows * self.columns)
        self.matrices = [random.integers(-128, 128, (self.rows, self.columns)).astype(np.int8) for _ in range(2)]

    def features(self, number: int) -> Ints:
        return np.random.default_rng(number).integers(-128, 128, (self.count, self.columns)).astype(np.int8)

    def sums(self, number: int) -> list[bytes]:
        features = self.features(number).astype(np.int32)
        return [atoms(features @ matrix.astype(np.int32).T, 4).tobytes() for matrix in self.matrices]


class Processor:
    """The plain reference in the place of the processor's products; it counts them."""

    def __init__(self, problem: Problem) -> None:
        self.products = 0
        self._problem = problem
        self.number = 0

    def start(self, products: tuple[Product, ...]) -> Flow[None]:
        for product, sums in zip(products, self._problem.sums(self.number), strict=True):
            self.products += 1
            yield from write(product.sums, sums)

    def finish(self) -> Flow[None]:
        yield from ()


class MultiplyingKernel(SecureKernel):
    """Serves MULTIPLY: sets of products by its NPU engine, one after another."""

    problem: Problem
    processor: Processor
    found: list[list[bytes]]

    def _boot(self, base: int, end: int) -> Flow[None]:
        yield from super()._boot(base, end)
        self.service.handlers[MULTIPLY] = self._multiply

    def _multiply(self, sets: int, *_: int) -> Flow[Registers]:
        problem, engine = self.problem, self.npu
        assert engine
        self.processor = Processor(problem)
        engine._processor = self.processor
        self.found = []
        engine.open(LIMITS, 0x1234_5678)
        size = matrix_size(problem.rows, problem.columns)
        weights = self.pool.reserve(Kind.WEIGHTS, "weights", 2 * (size + 64), DeviceAccess.READ)
        yield from self.pool.back(weights, weights.pages)
        features = self.pool.reserve(Kind.KV, "features", features_size(problem.columns, problem.count))
        yield from self.pool.back(features, features.pages)
        results = self.pool.reserve(Kind.KV, "sums", 2 * sums_size(problem.rows, problem.count))
        yield from self.pool.back(results, results.pages)
        products = []
        for index, matrix in enumerate(problem.matrices):
            place = weights.va + index * size
            product = Product(
                place, problem.rows, problem.columns, features.va, problem.count,
                results.va + index * sums_size(problem.rows, problem.count),
            )  # fmt: skip
            yield from write(product.weights, block(matrix).tobytes())
            products.append(product)
        for number in range(sets):
            self.processor.number = number
            yield from write(features.va, atoms(problem.features(number), 16).tobytes())
            yield from self._one_set(engine, tuple(products))
            self.found.append([])
            for product in products:
                self.found[-1].append((yield from read(product.sums, product.sums_size)))
            yield from self.rpc(Request.PROGRESS, number, sets)
        for region in (weights, features, results):
            yield from self.pool.discard(region)
        yield from engine.close()
        yield from self.pool.give_back()
        return (sets,)

    def _one_set(self, engine: ProductEngine, products: tuple[Product, ...]) -> Flow[None]:
        yield from engine.start(products)
        yield from engine.finish()


def booted(problem: Problem, **options: object) -> System:
    choice = {"secure_kernel": MultiplyingKernel, **options}
    system = System(128 << 20, images=images(), **choice)  # type: ignore[arg-type]
    assert isinstance(system.secure, MultiplyingKernel)
    system.secure.problem = problem
    system.boot()
    return system


def multiply(system: System, sets: int = SETS) -> MultiplyingKernel:
    """Run the service; its sums must be right."""
    system.run("multiply", system.normal.secure.call, MULTIPLY, sets)
    kernel = system.secure
    assert isinstance(kernel, MultiplyingKernel)
    assert kernel.found == [kernel.problem.sums(number) for number in range(sets)]
    return kernel


@pytest.mark.parametrize("shape", SHAPES)
def test_every_set_is_one_job_and_right(shape: tuple[int, int, int]) -> None:
    problem = Problem(*shape)
    system = booted(problem)
    kernel = multiply(system)
    assert kernel.npu and kernel.npu.state.jobs == SETS and kernel.npu.state.failed == 0
    assert kernel.processor.products == 0
    assert kernel.npu.state.macs == SETS * 2 * shape[0] * shape[1] * shape[2]
    system.dispose()


BAD = (
    Skips, SkipsTheFirstTask, RunsTheFirstProgramOnly, ReportsEarly, ReportsFailures, AnswersNonsense, StartsAnywhere,
    PowersOff, ReadsMemory, WritesMemory, NeverAnswers, WaitsForever,
)  # fmt: skip


@pytest.mark.parametrize("driver", BAD)
def test_bad_driver_is_found_out_and_the_processor_computes(driver: type[NpuSandbox]) -> None:
    system = booted(Problem(2, 96, 64), driver_context=driver)
    kernel = multiply(system, 2)
    assert kernel.npu and (kernel.npu.state.jobs, kernel.npu.state.failed) == (0, 2)
    assert kernel.processor.products == 4
    system.dispose()


def test_driver_that_does_a_job_twice_changes_nothing() -> None:
    system = booted(Problem(2, 96, 64), driver_context=RunsTwice)
    kernel = multiply(system)
    assert kernel.npu and (kernel.npu.state.jobs, kernel.npu.state.failed) == (SETS, 0)
    system.dispose()


def test_driver_that_fails_again_and_again_is_asked_no_more() -> None:
    system = booted(Problem(2, 96, 64), driver_context=Skips)
    kernel = multiply(system, MAX_FAILURES + 4)
    assert kernel.npu and kernel.npu.state.failed == MAX_FAILURES
    assert system.usage().smc["DRIVER_CALL"] == 2 * MAX_FAILURES  # POWER and RUN
    system.dispose()


def test_app_and_secure_world_both_get_on_and_every_sum_is_right() -> None:
    sets = 8
    system = booted(Problem(2, 96, 64), npu_app=True)
    kernel = multiply(system, sets)
    usage = system.usage().npu
    assert (usage.jobs, kernel.processor.products) == (sets, 0)
    assert usage.recalls >= sets // 2 - 1  # each of them ended, or there were no second one
    assert usage.normal_jobs >= usage.recalls and usage.switches >= 2 * usage.recalls
    assert system.normal.share.state.forced == 0
    system.dispose()


@pytest.mark.parametrize("driver", [Skips, ReadsMemory])
def test_app_gets_on_beside_a_bad_driver(driver: type[NpuSandbox]) -> None:
    system = booted(Problem(2, 96, 64), driver_context=driver, npu_app=True)
    multiply(system, 6)
    assert system.usage().npu.normal_jobs >= 3
    system.dispose()


def test_secure_world_keeps_the_npu_until_it_is_asked_for() -> None:
    system = booted(Problem(2, 96, 64))
    multiply(system, 6)
    calls = system.usage().smc
    assert calls["NPU_ACQUIRE"] == calls["NPU_RELEASE"] == 1  # given back when the model is closed
    system.dispose()


class KeepsTheNpu(MultiplyingKernel):
    """Never gives the NPU back of its own accord."""

    def _one_set(self, engine: ProductEngine, products: tuple[Product, ...]) -> Flow[None]:
        assert self.npu
        self.npu.state.asked_back = False
        yield from charge(MINIMUM_DEADLINE)
        self.npu.state.asked_back = False
        yield from super()._one_set(engine, products)
        self.npu.state.asked_back = False


def test_npu_that_is_not_given_back_is_taken_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npu_share, "RECALL_TICKS", MINIMUM_DEADLINE)
    system = booted(Problem(2, 96, 64), secure_kernel=KeepsTheNpu, npu_app=True)
    kernel = multiply(system, 8)
    assert system.normal.share.state.forced >= 2
    assert system.usage().npu.normal_jobs >= 2
    assert kernel.npu and kernel.npu.state.jobs + kernel.npu.state.failed == 8
    system.dispose()


class TakesItInTheMiddle(NormalKernel):
    """Asks for the NPU back, and takes it, each time that the secure world asks for something."""

    def _progress(self, pages: int, total: int, _: int) -> Flow[Registers]:
        yield from invoke(NPU_RECALL, MINIMUM_DEADLINE)
        yield from charge(MINIMUM_DEADLINE)
        yield from invoke(NPU_RECLAIM)
        return (yield from super()._progress(pages, total, 0))


class AsksInTheMiddle(MultiplyingKernel):
    """Leaves to the normal world between the beginning and the end of each set."""

    def _one_set(self, engine: ProductEngine, products: tuple[Product, ...]) -> Flow[None]:
        yield from engine.start(products)
        yield from self.rpc(Request.PROGRESS, 0, 1)
        yield from engine.finish()


@pytest.mark.parametrize("overlap", [False, True])
def test_npu_taken_in_the_middle_of_a_job_changes_no_sum(overlap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sworld_npu, "OVERLAP_MACS", 0 if overlap else 1 << 60)
    system = booted(Problem(130, 200, 64), secure_kernel=AsksInTheMiddle, normal_kernel=TakesItInTheMiddle)
    kernel = multiply(system, 2)
    assert kernel.npu and (kernel.npu.state.jobs, kernel.npu.state.failed) == (0, 2)
    assert kernel.processor.products == 4
    assert system.usage().smc["NPU_RECLAIM"] >= 2
    system.dispose()


@pytest.mark.parametrize("shape", [(2, 96, 64), (130, 200, 64)])
def test_job_in_two_halves_is_the_same_job(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sworld_npu, "OVERLAP_MACS", 0)
    system = booted(Problem(*shape), secure_kernel=AsksInTheMiddle)
    kernel = multiply(system)
    assert kernel.npu and (kernel.npu.state.jobs, kernel.npu.state.failed) == (SETS, 0)
    system.dispose()


class DropsInTheMiddle(MultiplyingKernel):
    """Between the beginning and the end of each set, what is staged is dropped, and its pages serve another region."""

    reused: list[tuple[int, list[int]]]  # when they held something else, and which
    kept: list[bool]

    def _one_set(self, engine: ProductEngine, products: tuple[Product, ...]) -> Flow[None]:
        yield from engine.start(products)
        assert (yield from load(NPU_CONTROL.base + NpuControl.STATUS.offset)), "no job is under way"
        staged = [one for one in self.pool.state.regions if one.name.startswith("npu ")]
        frames = [frame for region in staged for frame in region.frames]
        for region in staged:
            yield from self.pool.drop(region)
        other = self.pool.reserve(Kind.KV, "other", len(self.pool.state.free) * PAGE_SIZE)
        yield from self.pool.back(other, other.pages)
        assert set(frames) <= set(other.frames)
        yield from write(other.va, PATTERN * other.pages)
        self.reused.append(((yield from counter()), other.frames))
        yield from charge(JOB_TICKS)
        self.kept.append((yield from read(other.va, other.pages * PAGE_SIZE)) == PATTERN * other.pages)
        yield from self.pool.discard(other)
        yield from engine.finish()


def test_pages_dropped_under_a_job_are_out_of_its_reach_before_they_hold_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sworld_npu, "OVERLAP_MACS", 0)
    system = booted(Problem(32, 1000, 512), secure_kernel=DropsInTheMiddle)
    moves: list[Event] = []
    system.machine.events.listen((EventKind.DMA,), moves.append)
    kernel = system.secure
    assert isinstance(kernel, DropsInTheMiddle)
    kernel.reused, kernel.kept = [], []
    system.run("multiply", system.normal.secure.call, MULTIPLY, 1)
    system.machine.events.drain()
    ((since, frames),) = kernel.reused
    assert kernel.kept == [True]
    reached = {page for event in moves if event.instruction >= since for page in pages_of(event)}
    assert reached.isdisjoint(frames)
    before = {page for event in moves if event.instruction < since for page in pages_of(event)}
    assert not before.isdisjoint(frames)
    system.dispose()


def pages_of(event: Event) -> range:
    """That a transfer touches."""
    base, size = event.args[2], event.args[3]
    return range(base // PAGE_SIZE * PAGE_SIZE, base + size, PAGE_SIZE)


class TakesItsTime(NormalKernel):
    """Long enough for any job to end."""

    def _progress(self, pages: int, total: int, _: int) -> Flow[Registers]:
        yield from charge(MAX_CHARGE)
        return (yield from super()._progress(pages, total, 0))


class NotesFiqs(AsksInTheMiddle):
    """Of each entry that says FIQ: how many calls the driver has had by then, and by when a thread goes on."""

    system: System
    calls: list[tuple[int, int]]

    def _entered(self, registers: Registers) -> None:
        if registers[0] & Pending.FIQ:
            self.calls.append((self.system.usage().smc["DRIVER_CALL"], -1))
        super()._entered(registers)

    def _reply(self, thread: int, reply: Registers) -> None:
        if self.calls and self.calls[-1][1] < 0:
            self.calls[-1] = (self.calls[-1][0], self.system.usage().smc["DRIVER_CALL"])
        super()._reply(thread, reply)


def test_interrupt_of_a_job_is_seen_to_at_the_next_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends while the normal world runs: its driver is called before any thread goes on, and not again."""
    monkeypatch.setattr(sworld_npu, "OVERLAP_MACS", 0)
    system = booted(Problem(2, 96, 64), secure_kernel=NotesFiqs, normal_kernel=TakesItsTime)
    assert isinstance(system.secure, NotesFiqs)
    system.secure.system, system.secure.calls = system, []
    kernel = multiply(system)
    assert kernel.npu and (kernel.npu.state.jobs, kernel.npu.state.failed) == (SETS, 0)
    submitted = [2 + 2 * number for number in range(SETS)]  # POWER, and then SUBMIT and WAIT of each set
    assert system.secure.calls == [(calls, calls + 1) for calls in submitted]
    assert system.usage().smc["DRIVER_CALL"] == 1 + 2 * SETS
    system.dispose()


@pytest.mark.parametrize("driver", [Skips, NeverAnswers])
def test_driver_that_is_bad_when_its_job_has_interrupted_changes_no_sum(
    driver: type[NpuSandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bad(NpuSandbox):
        """Begins jobs as it should, and does not end them so."""

        def wait(self, *_: int) -> Flow[Registers]:
            return (yield from driver.run(self, 0, 0, 0))

    monkeypatch.setattr(sworld_npu, "OVERLAP_MACS", 0)
    system = booted(
        Problem(2, 96, 64), secure_kernel=AsksInTheMiddle, normal_kernel=TakesItsTime, driver_context=Bad
    )
    kernel = multiply(system, 2)
    assert kernel.npu
    assert kernel.npu.state.jobs + kernel.npu.state.failed == 2
    assert kernel.processor.products == 2 * kernel.npu.state.failed
    assert (kernel.npu.state.failed == 2) == (driver is NeverAnswers)  # a job that was done is done
    system.dispose()
