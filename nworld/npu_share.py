"""The normal world's share of the NPU: who has it, how it is asked back, and what became of a job when it was taken.

The secure world keeps the NPU until it is asked for, and gives it back when it next leaves to this one. It takes it
again when it needs it, but lets a job that is under way finish. So each side gets on: a job of ours runs for every time
that we have asked, at the latest after the deadline, when we take the NPU by force.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from emulator.gate import Flow, counter
from emulator.world_port import PortAbort
from monitor.abi import NPU_RECALL, NPU_RECLAIM, Status
from monitor.services.calls import invoke, succeed

from .npu import JOB_FAILED, Job, NpuDriver

RECALL_TICKS = 100_000_000  # what the secure world gets to finish what it is at


class Outcome(enum.Enum):
    """Of a job that was started."""

    RUNNING = "running"
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
    """Runs jobs by ``driver`` whenever the NPU is the normal world's."""

    def __init__(self, driver: NpuDriver) -> None:
        self.state = ShareState()
        self._driver = driver

    def start(self, job: Job) -> Flow[bool]:
        """Begin ``job`` if the NPU is ours; otherwise it is asked for, and False."""
        if not (yield from self._is_ours()):
            return False
        yield from self._driver.power()
        yield from self._driver.start(job)
        return True

    def look(self) -> Flow[Outcome]:
        """What has become of the job that was started."""
        try:
            raw = yield from self._driver.poll()
        except PortAbort:
            return Outcome.TAKEN
        if not raw:
            return Outcome.RUNNING
        return Outcome.FAILED if raw & JOB_FAILED else Outcome.DONE

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
