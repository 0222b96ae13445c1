"""The normal world's share of the NPU: who has it, how it is asked back, and what became of a job when it was taken.

The secure world keeps the NPU until it is asked for, and gives it back when it next leaves to this one. It takes it
again when it needs it, but lets a job that is under way finish. So each side gets on: a job of ours runs for every time
that we have asked, at the latest after the deadline, when we take the NPU by force.

The end of a job is told by its interrupt. When the NPU is taken that may be silenced, so whoever sleeps for the end
looks for it after a while.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from emulator.gate import Flow, counter
from emulator.world_port import PortAbort
from monitor.abi import NPU_RECALL, NPU_RECLAIM, Status
from monitor.services.calls import invoke, succeed

from .background import BackgroundFlow, Completion, Sleep
from .gic import Gic
from .npu import JOB_FAILED, Job, NpuDriver

RECALL_TICKS = 100_000_000  # what the secure world gets to finish what it is at
JOB_TICKS = 4_000_000  # after which a job is looked for that no interrupt has told of


class Outcome(enum.Enum):
    """Of a job that was started."""

    DONE = "done"
    FAILED = "failed"
    TAKEN = "taken"  # the NPU went to the secure world before we saw the end: the job is complete, or was aborted


@dataclass
class ShareState:
    """``recalls``: how often the NPU had to be asked for, ``forced``: taken after the deadline."""

    asked: bool = False
    recalls: int = 0
    forced: int = 0


class NpuShare:
    """Runs jobs by ``driver``, one at a time, whenever the NPU is the normal world's."""

    def __init__(self, driver: NpuDriver, gic: Gic) -> None:
        self.state = ShareState()
        self._driver = driver
        self._gic = gic
        self._end = Completion()
        self._outcome = Outcome.DONE
        gic.serve_by(driver.interrupt, self._look)

    def start(self, job: Job) -> Flow[bool]:
        """Begin ``job`` if the NPU is ours; otherwise it is asked for, and False."""
        if not (yield from self._is_ours()):
            return False
        self._end = Completion()
        yield from self._driver.power()
        yield from self._gic.enable(self._driver.interrupt)
        yield from self._driver.start(job)
        return True

    def finish(self) -> BackgroundFlow[Outcome]:
        """Sleep until the job that was started is over: what has become of it."""
        while not self._end.done:
            yield Sleep(self._end, (yield from counter()) + JOB_TICKS)
            if not self._end.done:
                yield from self._look()
        return self._outcome

    def _look(self) -> Flow[bool]:
        """Whether the job is over. Its registers refuse who does not have the NPU, or has not powered it since."""
        try:
            raw = yield from self._driver.poll()
        except PortAbort:
            self._outcome, self._end.done = Outcome.TAKEN, True
            return False
        if raw:
            self._outcome, self._end.done = Outcome.FAILED if raw & JOB_FAILED else Outcome.DONE, True
        return raw != 0

    def _is_ours(self) -> Flow[bool]:
        deadline, *_ = yield from succeed(NPU_RECALL, RECALL_TICKS)
        if not deadline:
            self.state.asked = False
            return True
        self.state.recalls += not self.state.asked
        self.state.asked = True
        if (yield from counter()) < deadline:
            return False
        status, *_ = yield from invoke(NPU_RECLAIM)
        self.state.forced += status == Status.SUCCESS
        return status == Status.SUCCESS
