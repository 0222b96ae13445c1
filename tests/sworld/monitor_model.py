"""A slow, obvious monitor and normal world for the secure kernel's flows: page states, and what the page tables say."""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

from emulator.gate import Action, Flow, Registers, Reply, Smc, Tlbi, Write
from emulator.memory_map import PAGE_SIZE
from monitor import abi
from monitor.services.messages import Request, RequestStatus

T = TypeVar("T")
FREE_PAGES = range(0x5000_0000, 0x5000_0000 + 400 * PAGE_SIZE, PAGE_SIZE)
ROOT = 0x7F00_0000
TABLE_ADDRESS = 0x0000_FFFF_FFFF_F000
ENTRIES = 512


@dataclass
class MonitorModel:
    """``state`` of each page that is not NORMAL; ``memory`` of the secure kernel, eight bytes an address."""

    state: dict[int, str] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    memory: dict[int, int] = field(default_factory=dict)
    limit: int = len(FREE_PAGES)
    released: list[int] = field(default_factory=list)

    def drive(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        reply: Reply = None
        try:
            while True:
                reply = self._perform(flow.send(reply))
        except StopIteration as end:
            result: T = end.value
            return result

    def within(self, flow: Flow[T]) -> Generator[Action, Reply, T]:
        """The same inside another flow's request: another entry of the secure kernel."""
        yield from ()
        return self.drive(flow)

    def _perform(self, action: Action) -> Reply:
        match action:
            case Write(va, data):
                for index, (entry,) in enumerate(struct.iter_unpack("<Q", data)):
                    self.memory[va + 8 * index] = entry
                return None
            case Tlbi():
                return None
            case Smc(function, (cursor,)):
                return self._next_revoked(cursor)
            case Smc(function, (base, pages)):
                count = min(pages, 64)
                return self._ownership(function, range(base, base + count * PAGE_SIZE, PAGE_SIZE))
        raise AssertionError(action)

    def _ownership(self, function: int, pages: range) -> Registers:
        if function == abi.MEM_LOCK.function:
            self._move(pages, {"ALLOCATED": "LOCKED"})
        elif function == abi.MEM_RELEASE.function:
            self._move(pages, {"LOCKED": "RELEASED", "ALLOCATED": "NORMAL"})
            self.released.extend(pages)
        elif function == abi.MEM_ACK_REVOKED.function:
            self.revoked -= set(pages)
        else:
            raise AssertionError(hex(function))
        return (0, len(pages), 0, 0, 0, 0, 0, 0)

    def _move(self, pages: range, moves: dict[str, str]) -> None:
        for page in pages:
            self.state[page] = moves[self.state.get(page, "NORMAL")]

    def _next_revoked(self, cursor: int) -> Registers:
        page = min((page for page in self.revoked if page >= cursor), default=0)
        following = min((other for other in self.revoked if other > page), default=0)
        return (0, page, int(bool(page)), following, 0, 0, 0, 0)

    # The normal world

    def rpc(self, request: Request, *arguments: int) -> Flow[Registers]:
        """Grants the lowest NORMAL pages, in extents of at most 8."""
        yield from ()
        if request is Request.ALLOCATE_PAGES:
            base, pages = self._grant(arguments[0])
            return (RequestStatus.DONE if pages else RequestStatus.OUT_OF_MEMORY, base, pages, 0)
        return (RequestStatus.DONE, 0, 0, 0)

    def _grant(self, wanted: int) -> tuple[int, int]:
        taken = sum(state != "NORMAL" for state in self.state.values())
        fresh = [page for page in FREE_PAGES if self.state.get(page, "NORMAL") == "NORMAL" and page not in self.revoked]
        if taken >= self.limit or not fresh:
            return 0, 0
        count = 1
        while count < min(wanted, 8, self.limit - taken) and fresh[0] + count * PAGE_SIZE in fresh:
            count += 1
        self.state.update(dict.fromkeys(range(fresh[0], fresh[0] + count * PAGE_SIZE, PAGE_SIZE), "ALLOCATED"))
        return fresh[0], count

    def reclaim(self) -> None:
        """Everything released goes back to NORMAL."""
        for page, state in self.state.items():
            if state == "RELEASED":
                self.state[page] = "NORMAL"

    def force(self, page: int) -> None:
        assert self.state[page] == "LOCKED"
        self.state[page] = "NORMAL"
        self.revoked.add(page)

    def pages(self, state: str) -> set[int]:
        return {page for page, current in self.state.items() if current == state}

    # What the tables map

    def mapped(self, table: int = ROOT, level: int = 1, va: int = 0) -> dict[int, int]:
        """Virtual page -> descriptor, of every valid entry below ``table``."""
        found: dict[int, int] = {}
        for index in range(ENTRIES):
            entry = self.memory.get(table + 8 * index, 0)
            place = va + (index << (39 - 9 * level))
            if entry & 1 and level == 3:
                found[place] = entry
            elif entry & 1:
                found.update(self.mapped(entry & TABLE_ADDRESS, level + 1, place))
        return found
