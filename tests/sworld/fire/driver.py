"""A driver of the NPU's that fails and lies: in the call of a number, or in any."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from emulator.product_check import Verdict
from monitor.abi import Status
from monitor.services.messages import DriverOperation, DriverStatus

from .core import Driver, Phone
from .monitor import Results, status
from .normal import force_npu


class Lie(NamedTuple):
    """What DRIVER_CALL returns, and what the check finds if it is asked; ``meanwhile``: what else has come to pass."""

    returns: Results
    verdict: Verdict = Verdict.WRONG
    meanwhile: Callable[[Phone], None] = lambda phone: None


LIES = {
    "a fault": Lie(status(Status.FAULT)),
    "a fault, as the NPU is taken from it": Lie(status(Status.FAULT), meanwhile=force_npu),
    "too late": Lie(status(Status.TIMEOUT)),
    "busy": Lie(status(Status.BUSY)),
    "the NPU was taken before": Lie(status(Status.WRONG_STATE), meanwhile=force_npu),
    "done, and wrong": Lie(status(Status.SUCCESS, DriverStatus.DONE)),
    "done, and still at work": Lie(status(Status.SUCCESS, DriverStatus.DONE), Verdict.BUSY),
    "done, and the NPU is taken": Lie(status(Status.SUCCESS, DriverStatus.DONE), meanwhile=force_npu),
    "failed": Lie(status(Status.SUCCESS, DriverStatus.JOB_FAILED)),
    "failed, and right": Lie(status(Status.SUCCESS, DriverStatus.JOB_FAILED), Verdict.RIGHT),
    "no job": Lie(status(Status.SUCCESS, DriverStatus.NO_JOB)),
    "no answer": Lie(status(Status.SUCCESS, 99)),
    "a huge answer": Lie(status(Status.SUCCESS, (1 << 64) - 1)),
}


class Liar(Driver):
    """``lies`` by the number of the call; ``seed``: any lie in every third call, or in none."""

    def __init__(self, lies: dict[int, str] | None = None, seed: int | None = None) -> None:
        super().__init__()
        self._lies = lies or {}
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 - not for cryptography

    def answer(self, phone: Phone, operation: int) -> Results:
        name = self._lies.get(self.calls)
        if self._random and not self._random.randrange(3):
            name = self._random.choice(list(LIES))
        if name is None:
            return super().answer(phone, operation)
        thread = phone.kernel.runner.current
        phone.met.update([name, f"{DriverOperation(operation).name} by {thread.name if thread else 'no thread'}"])
        lie = LIES[name]
        lie.meanwhile(phone)
        self.verdict = lie.verdict
        return lie.returns
