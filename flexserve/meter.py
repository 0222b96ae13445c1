"""What a run cost, counted from the event stream: SMCs by name, world switches, pages by what happened to them."""

from __future__ import annotations

from collections import Counter

from emulator.events import Event, EventKind, EventStream
from monitor import abi

LEVEL, WORLD = 6, 7  # of an SMC event's or an SMC return's arguments

NPU_SWITCHES = (abi.NPU_ACQUIRE, abi.NPU_RELEASE, abi.NPU_RECLAIM)


class Meter:
    """Counts from now on; who reads it drains ``events`` before."""

    def __init__(self, events: EventStream) -> None:
        self.calls: Counter[str] = Counter()
        self.switches = 0
        self.npu_switches = 0
        self.pages: Counter[str] = Counter()
        self._function = 0
        self._arguments: tuple[int, ...] = ()
        self._world = 0
        events.listen((EventKind.SMC, EventKind.SMC_RETURN), self._take, lazy=True)

    def _take(self, event: Event) -> None:
        if event.kind is EventKind.SMC:
            self._function, *arguments = event.args[:LEVEL]
            self._arguments = tuple(arguments)
            self._world = event.args[WORLD]
            call = abi.find(self._function)
            self.calls[call.name if call else "unknown"] += 1
        else:
            self.switches += event.args[WORLD] != self._world
            self._count_pages(event.args[0], event.args[1])

    def _count_pages(self, status: int, done: int) -> None:
        if status != abi.Status.SUCCESS:
            return
        call = abi.find(self._function)
        self.npu_switches += call in NPU_SWITCHES
        if call is abi.MEM_ALLOCATE:
            self.pages["allocated"] += done
        elif call is abi.MEM_LOCK:
            self.pages["locked"] += done
        elif call is abi.MEM_RECLAIM:
            self.pages["reclaimed"] += done
            if self._arguments[2] & abi.FORCE:
                self.pages["forced"] += done
