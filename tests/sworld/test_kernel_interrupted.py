"""The secure kernel interrupted: around every step of its entries it is entered above, once or twice, and goes on.

What is served above is a revocation, which has its own answer. Everything else is as if it had not been: who leaves
with which results, what is still to do, and which thread a reply goes on with.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import pytest

from emulator.gate import Arrival, Flow, Registers, Site, charge
from monitor.abi import SECURE_DONE, SECURE_RPC, Pending
from monitor.services.messages import Request, Service, ServiceStatus
from sworld.npu import NpuEngine

from .test_kernel import ASK, REFUSE, REVOKED_MEANWHILE, SYMBOLS, Kernel

WORK, ASK_TWICE = 50, 51
ABOVE = {  # calls that may come above an interrupted thread, and what each is told
    Service.POLL: ServiceStatus.DONE,
    Service.GENERATE: ServiceStatus.IN_USE,
    REFUSE: ServiceStatus.IN_USE,
    WORK: ServiceStatus.IN_USE,
}


@dataclass
class SlowNpu:
    """Works for this world from ``take`` on, and takes two steps to give back."""

    log: list[str]
    is_to_leave: bool = False

    def take(self) -> None:
        self.is_to_leave = True

    def leaving(self) -> Flow[None]:
        if self.is_to_leave:
            yield from charge(1)
            yield from charge(1)
            self.is_to_leave = False
            self.log.append("npu given back")

    def interrupted(self) -> Flow[None]:
        yield from charge(1)
        self.log.append("npu done")

    def asked_back(self, lost: int) -> Flow[None]:
        yield from charge(1)
        self.log.append(f"npu {'lost' if lost else 'asked back'}")


class InterruptedKernel(Kernel):
    """Entered above itself in each of ``gaps``, by number: the monitor keeps its registers, and restores them."""

    def __init__(self, gaps: Collection[int] = ()) -> None:
        super().__init__()
        self.leave()
        self.gaps = Counter(gaps)
        self.passed = 0  # gaps so far
        self.answers: list[tuple[int, tuple[int, ...]]] = []  # of entries above: the service, and what left
        self._engine = SlowNpu(self.log)
        self.npu = cast(NpuEngine, self._engine)
        self.service.handlers |= {WORK: self.work, ASK_TWICE: self.ask_twice}

    def work(self, *arguments: int) -> Flow[Registers]:
        yield from charge(1)
        self._engine.take()
        yield from charge(1)
        self.log.append("worked")
        return arguments[1:4]

    def ask_twice(self, *_: int) -> Flow[Registers]:
        first = yield from self.rpc(Request.ALLOCATE_PAGES, 1)
        self._engine.take()
        yield from charge(1)
        second = yield from self.rpc(Request.LOAD_BLOCKS, 2)
        return (first[1], second[1])

    def enter(self, mask: Pending, *registers: int, owed: int = 0) -> tuple[int, ...]:
        """An ordinary entry, interrupted wherever that is planned."""
        self._arrive(mask, registers, owed)
        while True:
            self._gap()
            if self._has_left():
                return self._registers()
            self.arrived(Arrival.RETURN)

    def _gap(self) -> None:
        number, self.passed = self.passed, self.passed + 1
        for _ in range(self.gaps[number]):
            pc, x = self.core.pc, dict(self.core.x)
            for service in ABOVE:
                self._arrive(REVOKED_MEANWHILE, (service,), 7)
                while not self._has_left():
                    self.arrived(Arrival.RETURN)
                self.answers.append((service, self._registers()))
            self.core.pc = pc
            self.core.x.update(x)

    def _arrive(self, mask: Pending, registers: tuple[int, ...], owed: int) -> None:
        for index, value in enumerate((mask, *registers, *[0] * (5 - len(registers)), owed)):
            self.core.x[index] = value
        self.arrived(Arrival.REVOCATION if Pending.REVOKED in mask else Arrival.ENTRY)

    def _has_left(self) -> bool:
        return self.core.pc == SYMBOLS[Site.SMC.value]

    def _registers(self) -> tuple[int, ...]:
        return tuple(self.core.x[index] for index in range(6))


class Entry(NamedTuple):
    """``thread``: the first register is the number of the thread that asked in the entry of this number."""

    mask: Pending
    registers: tuple[int, ...] = ()
    thread: int | None = None


CALL, REPLY = Pending.NEW_CALL, Pending.RPC_REPLY
SCENES: dict[str, tuple[Entry, ...]] = {
    "results": (Entry(CALL, (WORK, 1, 2, 3, 4)),),
    "refusal": (Entry(CALL, (REFUSE,)), Entry(CALL, (99,))),
    "request and reply": (Entry(CALL, (ASK, 5)), Entry(REPLY, (0, 111), thread=0)),
    "two requests": (
        Entry(CALL, (ASK_TWICE,)), Entry(REPLY, (0, 111), thread=0), Entry(REPLY, (0, 222), thread=0),
    ),
    "a call under a request": (
        Entry(CALL, (ASK, 1)), Entry(CALL, (WORK, 1, 2, 3, 4)), Entry(CALL, (ASK, 2)),
        Entry(REPLY, (0, 222), thread=2), Entry(REPLY, (0, 111), thread=0),
    ),
    "everything is due": (
        Entry(Pending.REVOKED | Pending.RECALL | Pending.FIQ | Pending.NPU_RECALL | CALL, (WORK, 1, 2, 3, 4)),
        Entry(Pending.RECALL | Pending.FIQ | CALL, (ASK, 1)),
        Entry(Pending.REVOKED | Pending.RECALL | Pending.NPU_REVOKED | REPLY, (0, 111), thread=1),
    ),
    "a reply to nobody": (Entry(Pending.RECALL | REPLY, (99,)), Entry(CALL, (WORK, 1, 2, 3, 4))),
}  # fmt: skip


def play(name: str, gaps: Collection[int] = ()) -> tuple[InterruptedKernel, list[tuple[int, ...]]]:
    """The kernel behind a scene, and how it left each entry."""
    kernel = InterruptedKernel(gaps)
    left: list[tuple[int, ...]] = []
    for entry in SCENES[name]:
        thread = () if entry.thread is None else (left[entry.thread][1],)
        left.append(kernel.enter(entry.mask, *thread, *entry.registers, owed=3))
    return kernel, left


def by_order_of_asking(left: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Numbers of threads count what was served above as well: whoever asks is called by when it asked first."""
    threads: list[int] = []
    found = []
    for function, first, *others in left:
        asks = function == SECURE_RPC.function
        if asks and first not in threads:
            threads.append(first)
        found.append((function, threads.index(first) if asks else first, *others))
    return found


def same_but_for_revocations(name: str, gaps: Collection[int]) -> None:
    undisturbed, expected = play(name)
    kernel, left = play(name, gaps)
    assert by_order_of_asking(left) == by_order_of_asking(expected)
    above = len(gaps) * len(ABOVE)
    assert kernel.answers == [
        (service, (SECURE_DONE.function, answer, 0, 0, 0, 0)) for service, answer in ABOVE.items()
    ] * len(gaps)
    assert kernel.log.count("revocation") == undisturbed.log.count("revocation") + above
    assert [line for line in kernel.log if line != "revocation"] == [
        line for line in undisturbed.log if line != "revocation"
    ]
    assert not kernel._engine.is_to_leave
    assert not kernel._waiting


@pytest.mark.parametrize("name", SCENES)
def test_entry_above_any_step_changes_nothing_below(name: str) -> None:
    for gap in range(play(name)[0].passed):
        try:
            same_but_for_revocations(name, [gap])
        except Exception as failed:
            raise AssertionError(f"gap {gap}") from failed


@pytest.mark.parametrize("name", SCENES)
def test_entries_above_any_two_steps_change_nothing_below(name: str) -> None:
    """Two of the same thread, of two threads, and twice in the same place."""
    for gaps in itertools.combinations_with_replacement(range(play(name)[0].passed), 2):
        try:
            same_but_for_revocations(name, gaps)
        except Exception as failed:
            raise AssertionError(f"gaps {gaps}") from failed


@pytest.mark.parametrize("name", SCENES)
def test_entries_above_every_step_change_nothing_below(name: str) -> None:
    same_but_for_revocations(name, range(play(name)[0].passed))


def test_results_wait_for_the_npu_and_leave_when_it_is_given_back() -> None:
    """What the scene is about: its last steps are those of giving back, when its service has ended."""
    kernel, left = play("results")
    assert kernel.log == ["worked", "npu given back"]
    assert left == [(SECURE_DONE.function, ServiceStatus.DONE, 2, 3, 4, 0)]
