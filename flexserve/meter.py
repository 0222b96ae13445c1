"""What a run cost, counted from the event stream: SMCs by name, world switches, pages by what happened to them."""

from __future__ import annotations

from collections import Counter

from emulator.events import Event, EventKind, EventStream
from monitor import abi

FLAGS, WORLD = 3, 7  # of an SMC event's or an SMC return's arguments: x3, and the context
SUCCESS = int(abi.Status.SUCCESS)

NPU_SWITCHES = {call.name for call in (abi.NPU_ACQUIRE, abi.NPU_RELEASE, abi.NPU_RECLAIM)}
PAGES = {abi.MEM_ALLOCATE.name: "allocated", abi.MEM_LOCK.name: "locked", abi.MEM_RECLAIM.name: "reclaimed"}


class Meter:
    """Counts from now on; who reads it drains ``events`` before."""

    def __init__(self, events: EventStream) -> None:
        self.calls: Counter[str] = Counter()
        self.switches = 0
        self.npu_switches = 0
        self.pages: Counter[str] = Counter()
        self._call = abi.FLEX_VERSION.name
        self._flags = 0
        self._world = 0
        events.listen((EventKind.SMC, EventKind.SMC_RETURN), self._take, lazy=True)

    def _take(self, event: Event) -> None:
        arguments = event.args
        if event.kind is EventKind.SMC:
            call = abi.find(arguments[0])
            self._call = call.name if call else "unknown"
            self._flags = arguments[FLAGS]
            self._world = arguments[WORLD]
            self.calls[self._call] += 1
        else:
            self.switches += arguments[WORLD] != self._world
            if arguments[0] == SUCCESS:
                self._count(arguments[1])

    def _count(self, done: int) -> None:
        self.npu_switches += self._call in NPU_SWITCHES
        if self._call in PAGES:
            self.pages[PAGES[self._call]] += done
            if self._call == abi.MEM_RECLAIM.name and self._flags & abi.FORCE:
                self.pages["forced"] += done
