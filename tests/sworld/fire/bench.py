"""A pool whose flows run undisturbed, from beginning to end, between models of the monitor and of an honest world."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from emulator.gate import ALL_ENTRIES, Action, Flow, Registers, Reply, Smc, Tlbi, Write
from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import Caller
from sworld.extent import Extent
from sworld.flexmem import Pool
from sworld.mapping import Mapping

from .core import GATE_TABLES, HEAP, LAYOUT
from .memory import Memory, ModelPort, Translation
from .monitor import MonitorModel
from .normal import Normal

T = TypeVar("T")
Gap: TypeAlias = Callable[[int], None]
NORMAL = Extent(DRAM_BASE, (LAYOUT.normal_end - DRAM_BASE) // PAGE_SIZE)


class Bench:
    """Grants end when ``limit`` pages are not the normal world's own."""

    def __init__(self, limit: int | None = None) -> None:
        self.memory = Memory(watched=LAYOUT.secure_base)
        self.monitor = MonitorModel(NORMAL.pages, LAYOUT.npu_bytes // PAGE_SIZE, self.memory.scrub)
        self.translation = Translation(self.memory, GATE_TABLES)
        self.normal = Normal(b"", limit=limit)
        self.mapping = Mapping(GATE_TABLES, HEAP, LAYOUT.secure_end)
        self.pool = Pool(self.mapping, self.rpc, NORMAL)
        self._port = ModelPort(self.translation, lambda page: None, {})

    def drive(self, flow: Flow[T], gap: Gap = lambda number: None) -> T:
        """Run a flow to its end; ``gap`` comes behind each of its steps. Raises what either raises."""
        reply: Reply = None
        try:
            for number in itertools.count():
                reply = self._perform(flow.send(reply))
                gap(number)
            raise AssertionError
        except StopIteration as end:
            result: T = end.value
            return result

    def rpc(self, request: int, *arguments: int) -> Flow[Registers]:
        yield from ()
        reply = self.normal.serve(self, request, (*arguments, 0, 0, 0))
        return (*reply, 0, 0, 0)[:4]

    def smc(self, function: int, *arguments: int) -> Registers:
        """A call of the normal world's."""
        results = self.monitor.call(Caller.NORMAL, function, arguments)
        assert results is not None
        return results

    def force(self, page: int) -> None:
        """Take a LOCKED page."""
        self.monitor.claim.owed += 1
        self.monitor.claim.deadline = self.monitor.now
        assert self.monitor._force(page, 1)[0] == 0

    def _perform(self, action: Action) -> Reply:
        match action:
            case Write(va, data):
                self._port.write(va, data)
            case Tlbi(operand):
                self.translation.invalidate(None if operand == ALL_ENTRIES else operand << 12)
            case Smc(function, arguments):
                results = self.monitor.call(Caller.SECURE, function, arguments)
                assert results is not None
                return (*results, *[0] * 8)[:8]
            case _:
                raise AssertionError(action)
        return None
