"""Flows over the SMC table that both kernels use: one call by its row, and a call over a whole extent."""

from __future__ import annotations

from emulator.gate import Flow, Registers, smc
from emulator.memory_map import PAGE_SIZE
from monitor.abi import Call, Status


class CallFailed(Exception):
    """The monitor refused a call that its caller had reason to expect to succeed."""

    def __init__(self, call: Call, arguments: tuple[int, ...], status: int) -> None:
        shown = ", ".join(f"{argument:#x}" for argument in arguments)
        names = {known.value: known.name for known in Status}
        super().__init__(f"{call.name}({shown}) returned {names.get(status, status)}")
        self.call = call
        self.arguments = arguments
        self.status = status


def invoke(call: Call, *arguments: int) -> Flow[Registers]:
    """x0 (signed) and x1-x7 of one call, whatever its status."""
    return smc(call.function, *arguments)


def succeed(call: Call, *arguments: int) -> Flow[Registers]:
    """x1-x7 of one call. Raises CallFailed unless it returns SUCCESS."""
    status, *results = yield from invoke(call, *arguments)
    if status != Status.SUCCESS:
        raise CallFailed(call, arguments, status)
    return tuple(results)


def over_extent(call: Call, base: int, pages: int, *flags: int) -> Flow[None]:
    """Repeat a call that clips its range to PAGES_PER_CALL until all of it is done. Raises CallFailed."""
    while pages:
        done, *_ = yield from succeed(call, base, pages, *flags)
        base, pages = base + done * PAGE_SIZE, pages - done
