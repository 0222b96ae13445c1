"""The engine that has products computed by the NPU, through a driver that it does not trust.

The driver runs in the monitor's driver context and reaches nothing but the NPU's registers; the NPU reads what it is to
read and writes into a staging area only. What comes out is copied and checked against a secret projection of the
weights (emulator/product_check.py): a driver that skips a job, swaps its buffers or reports early can spoil a job, but
never a sum. A spoilt job is computed by the processor, and the NPU is scrubbed before it is used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from emulator.gate import Flow, charge, compute
from emulator.product_check import Verdict
from emulator.world_port import PortAbort
from monitor.abi import DRIVER_CALL, NPU_ACQUIRE, NPU_RELEASE, Call, Status
from monitor.services.calls import CallFailed, invoke
from monitor.services.messages import DriverOperation, DriverStatus

from .flexmem import Pool
from .npu_jobs import Job, JobBook, Limits
from .npu_memory import NpuMemory
from .products import EngineFailed, Product, ProductEngine

BUSY_PAUSE = 20_000  # instructions between two looks at a normal job that is under way
MAX_FAILURES = 3  # in a row: from then on the processor computes, until a model is opened again
OVERLAP_MACS = 32 << 20  # a job from this size on begins at once, and is waited for when its sums are wanted


@dataclass
class NpuState:
    """``owned``: the NPU is this world's; ``asked_back``: the normal world wants it. Counts since boot."""

    owned: bool = False
    asked_back: bool = False
    failed_in_a_row: int = 0
    jobs: int = 0
    failed: int = 0
    macs: int = 0


class UnderWay(NamedTuple):
    """``begun``: the driver was told already; ``answered``: what it has said of the end, None until it was asked."""

    job: Job
    products: tuple[Product, ...]
    losses: int
    begun: bool
    answered: bool | None = None


class NpuEngine:
    """Works in ``pool`` for one open model at a time; ``processor`` computes what the NPU does not."""

    def __init__(self, pool: Pool, memory: NpuMemory, processor: ProductEngine) -> None:
        self.state = NpuState()
        self._pool = pool
        self._memory = memory
        self._processor = processor
        self._book: JobBook | None = None
        self._under_way: UnderWay | None = None

    # For the model service and the kernel

    def open(self, limits: Limits, key: int) -> None:
        """A model whose products stay within ``limits`` is opened; ``key``: 64 random bits."""
        self._book = JobBook(self._pool, self._memory, limits, key)
        self.state.failed_in_a_row = 0

    def close(self) -> Flow[None]:
        """The model is closed: the NPU is the normal world's, and regions are no jobs' any more."""
        self._book = self._under_way = None
        yield from self._give_back()

    def asked_back(self, lost: int) -> Flow[None]:
        """The normal world wants the NPU; ``lost``: it has taken it by force."""
        self.state.asked_back = True
        if lost:
            self.state.owned = False
        yield from ()

    def interrupted(self) -> Flow[None]:
        """The NPU has interrupted: its driver sees to the job that it had begun, so that the interrupt is over."""
        under_way = self._under_way
        if under_way and under_way.begun and under_way.answered is None:
            answered = yield from self._drive(DriverOperation.WAIT)
            self._under_way = under_way._replace(answered=answered)

    @property
    def is_to_leave(self) -> bool:
        """Whether the NPU goes back to the normal world the next time that this one is left."""
        return self.state.owned and self.state.asked_back and not self._under_way

    def leaving(self) -> Flow[None]:
        """The normal world is about to run."""
        if self.is_to_leave:
            yield from self._give_back()

    # For the transformer

    def start(self, products: tuple[Product, ...]) -> Flow[None]:
        if self._under_way:
            yield from self.finish()
        losses = self._pool.state.losses
        try:
            under_way = yield from self._begin(products, losses)
        except PortAbort:
            if self._pool.state.losses == losses:
                raise EngineFailed("memory that the products name is not there") from None
            return  # a recall took it: the caller throws the sums away
        if under_way is None:
            yield from self._processor.start(products)
        self._under_way = under_way

    def finish(self) -> Flow[None]:
        under_way, self._under_way = self._under_way, None
        if under_way is None:
            yield from self._processor.finish()
            return
        try:
            done = yield from self._complete(under_way)
        except PortAbort:
            if self._pool.state.losses == under_way.losses:
                raise EngineFailed("memory that the products name is not there") from None
            return
        if done:
            self.state.failed_in_a_row = 0
            self.state.jobs += 1
            self.state.macs += under_way.job.macs
        elif self._pool.state.losses == under_way.losses:
            yield from self._spoilt()
            yield from self._processor.start(under_way.products)
            yield from self._processor.finish()

    # Inside

    def _begin(self, products: tuple[Product, ...], losses: int) -> Flow[UnderWay | None]:
        """None: the processor is to compute them."""
        book = self._book
        if book is None or self.state.failed_in_a_row >= MAX_FAILURES or not products:
            return None
        job = book.known(products) or (yield from book.find(products))
        if job is None or not (self.state.owned or (yield from self._take())):
            return None
        yield from compute("check_offer", *job.offer)
        begun = job.macs >= OVERLAP_MACS
        if begun:
            yield from self._drive(DriverOperation.SUBMIT, job.program, job.words, job.tasks)
        return UnderWay(job, products, losses, begun)

    def _complete(self, under_way: UnderWay) -> Flow[bool]:
        """Whether the sums are there, and right."""
        job = under_way.job
        if self._book is None:
            return False
        if not under_way.begun:
            answered = yield from self._drive(DriverOperation.RUN, job.program, job.words, job.tasks)
        elif under_way.answered is None:
            answered = yield from self._drive(DriverOperation.WAIT)
        else:
            answered = under_way.answered
        return answered and (yield from compute("check_accept", *job.accept)) == Verdict.RIGHT

    def _drive(self, operation: DriverOperation, *arguments: int) -> Flow[bool]:
        """Whether the driver says that all is well, which means nothing yet."""
        status, answer, *_ = yield from invoke(DRIVER_CALL, operation, *arguments)
        if status == Status.WRONG_STATE:
            self.state.owned = False  # the normal world has taken the NPU in the meantime
        return status == Status.SUCCESS and answer == DriverStatus.DONE

    def _take(self) -> Flow[bool]:
        """Have the NPU, powered; a normal job that is under way is let finish."""
        status, *_ = yield from invoke(NPU_ACQUIRE)
        while status == Status.BUSY:  # which the monitor ends after NPU_DRAIN_TICKS
            yield from charge(BUSY_PAUSE)
            status, *_ = yield from invoke(NPU_ACQUIRE)
        if status not in {Status.SUCCESS, Status.WRONG_STATE}:
            raise CallFailed(NPU_ACQUIRE, (), status)
        self.state.owned = True
        self.state.asked_back = False
        return (yield from self._drive(DriverOperation.POWER))

    def _give_back(self) -> Flow[None]:
        self.state.asked_back = False
        if self.state.owned:
            self.state.owned = False
            yield from self._call_either_way(NPU_RELEASE)

    def _spoilt(self) -> Flow[None]:
        """A job failed. Released and acquired again, the NPU is as out of reset, and nothing of the job goes on."""
        self.state.failed += 1
        self.state.failed_in_a_row += 1
        yield from self._give_back()

    @staticmethod
    def _call_either_way(call: Call) -> Flow[None]:
        """The normal world may have forced what is asked for already."""
        status, *_ = yield from invoke(call)
        if status not in {Status.SUCCESS, Status.WRONG_STATE}:
            raise CallFailed(call, (), status)
