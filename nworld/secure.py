"""Driver of the secure world: calls its services, and serves the requests it makes in the meantime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emulator.gate import Flow, Registers, charge
from monitor.abi import INTERRUPTED_THREAD, SECURE_CALL, SECURE_RESUME, Status
from monitor.services.calls import CallFailed, invoke
from monitor.services.messages import EXPLANATIONS, RequestStatus, Service, ServiceStatus

Handler = Callable[[int, int, int], Flow[Registers]]
BUSY_PAUSE = 1_000  # instructions before a thread is resumed again while a revocation waits to be acknowledged
BUSY_TRIES = 64


class ServiceFailed(Exception):
    """A service refused; the message is one line for the person who asked."""

    def __init__(self, service: Service, status: int, detail: int) -> None:
        explanation = EXPLANATIONS.get(status, f"{service.name} answered with the unknown status {status}")
        super().__init__(explanation.format(detail=detail))
        self.service = service
        self.status = status
        self.detail = detail


class SecureDriver:
    """``handlers`` serve the secure world's requests: x3-x5 in, (status, two results) out.

    ``others`` lets whatever else there is to do have its turn, each time that the secure world has returned;
    ``interrupted`` serves the interrupt that took the core from it.
    """

    def __init__(
        self,
        handlers: Mapping[int, Handler],
        others: Callable[[], Flow[None]] | None = None,
        interrupted: Callable[[], Flow[None]] | None = None,
    ) -> None:
        self._handlers = handlers
        self._others = others or _nothing
        self._interrupted = interrupted or _nothing

    def call(self, service: Service, *arguments: int) -> Flow[Registers]:
        """Results of a service after its status. Raises ServiceFailed, CallFailed."""
        reply = yield from invoke(SECURE_CALL, service, *arguments)
        while reply[0] in (Status.RPC, Status.PREEMPTED):
            if reply[0] == Status.PREEMPTED:
                yield from self._interrupted()
                reply = yield from self._resume(INTERRUPTED_THREAD, ())
                continue
            thread, request, *parameters = reply[1:6]
            yield from self._others()
            answer = yield from self._serve(request, parameters)
            reply = yield from self._resume(thread, answer)
        if reply[0] != Status.SUCCESS:
            raise CallFailed(SECURE_CALL, (service, *arguments), reply[0])
        if reply[1] != ServiceStatus.DONE:
            raise ServiceFailed(service, reply[1], reply[2])
        return reply[2:6]

    def poll(self) -> Flow[None]:
        """Let the secure kernel serve what is pending."""
        yield from self.call(Service.POLL)

    def _serve(self, request: int, parameters: list[int]) -> Flow[Registers]:
        handler = self._handlers.get(request)
        if handler is None:
            return (RequestStatus.UNKNOWN_REQUEST, request)
        first, second, third = parameters
        return (yield from handler(first, second, third))

    def _resume(self, thread: int, answer: Registers) -> Flow[Registers]:
        """Give a secure thread its reply; a poll first lets a revocation be acknowledged."""
        for _ in range(BUSY_TRIES):
            reply = yield from invoke(SECURE_RESUME, thread, *answer)
            if reply[0] != Status.BUSY:
                return reply
            yield from self.poll()
            yield from charge(BUSY_PAUSE)
        raise CallFailed(SECURE_RESUME, (thread, *answer), Status.BUSY)


def _nothing() -> Flow[None]:
    yield from ()
