"""The driver of the secure world: requests served in between, refusals in words, a revocation in the way of a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest

from emulator.gate import Charge, Flow, Registers, Smc
from monitor.abi import SECURE_CALL, SECURE_RESUME, Status
from monitor.services.calls import CallFailed
from monitor.services.messages import EXPLANATIONS, Request, RequestStatus, Service, ServiceStatus
from nworld.secure import BUSY_TRIES, SecureDriver, ServiceFailed

T = TypeVar("T")


class Script:
    """Answers SMCs from a list; keeps what was called."""

    def __init__(self, answers: Sequence[Registers]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[int, ...]] = []

    def drive(self, flow: Flow[T]) -> T:
        reply: Registers | None = None
        try:
            while True:
                action = flow.send(reply)
                if isinstance(action, Charge):
                    reply = None
                    continue
                assert isinstance(action, Smc)
                self.calls.append((action.function, *action.arguments))
                status, *results = self.answers.pop(0)
                reply = (status & (1 << 64) - 1, *results, *[0] * (7 - len(results)))
        except StopIteration as end:
            result: T = end.value
            return result


def grant(pages: int, second: int, third: int) -> Flow[Registers]:
    yield from ()
    return (RequestStatus.DONE, pages * 10 + second, third)


DRIVER = SecureDriver({Request.ALLOCATE_PAGES: grant})


def test_requests_are_served_until_the_service_is_done() -> None:
    script = Script(
        [
            (Status.RPC, 7, Request.ALLOCATE_PAGES, 4, 2, 1),
            (Status.RPC, 7, 99, 0, 0, 0),
            (Status.SUCCESS, ServiceStatus.DONE, 11, 12, 13, 14),
        ]
    )
    assert script.drive(DRIVER.call(Service.OPEN, 5)) == (11, 12, 13, 14)
    assert script.calls == [
        (SECURE_CALL.function, Service.OPEN, 5),
        (SECURE_RESUME.function, 7, RequestStatus.DONE, 42, 1),
        (SECURE_RESUME.function, 7, RequestStatus.UNKNOWN_REQUEST, 99),
    ]


def test_reply_waits_until_a_revocation_is_acknowledged() -> None:
    done = (Status.SUCCESS, ServiceStatus.DONE)
    script = Script([(Status.RPC, 7, Request.ALLOCATE_PAGES), (Status.BUSY,), done, done])
    script.drive(DRIVER.call(Service.OPEN, 0))
    assert [call[:2] for call in script.calls[1:]] == [
        (SECURE_RESUME.function, 7),
        (SECURE_CALL.function, Service.POLL),
        (SECURE_RESUME.function, 7),
    ]


def test_revocation_that_nobody_acknowledges_ends_the_call() -> None:
    busy = [(Status.BUSY,), (Status.SUCCESS, ServiceStatus.DONE)] * BUSY_TRIES
    script = Script([(Status.RPC, 7, Request.ALLOCATE_PAGES), *busy])
    with pytest.raises(CallFailed, match=r"SECURE_RESUME\(0x7, .*\) returned BUSY"):
        script.drive(DRIVER.call(Service.OPEN, 0))


@pytest.mark.parametrize("status", [status for status in ServiceStatus if status is not ServiceStatus.DONE])
def test_every_refusal_has_a_line_of_its_own(status: ServiceStatus) -> None:
    script = Script([(Status.SUCCESS, status, 3)])
    with pytest.raises(ServiceFailed) as failed:
        script.drive(DRIVER.call(Service.OPEN, 0))
    assert (failed.value.status, failed.value.detail) == (status, 3)
    assert str(failed.value) == EXPLANATIONS[status].format(detail=3)
    assert "\n" not in str(failed.value)
