"""The model of the monitor that the secure kernel is tested with answers as the firmware does, call by call.

And whoever was interrupted goes on with its own registers, whatever was called meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from emulator.native import lib
from emulator.state import MachineState
from emulator.world import World
from monitor import abi
from monitor.abi import Caller, PageState, Pending, Status
from tests.sworld.fire.monitor import MASK, MonitorModel

from .gic import listen
from .phone import PAGE, Phone

PAGES = 12
IOVA = 0x10_0000
SOON, TURNS = 5_000, 40  # instructions until an interrupt; turns of 256 of the loop that it finds
SLACK = 4_000  # instructions between the two looks at the counter, at most
THREAD = 5
KEPT = range(10, 31)  # registers that the gate does not spend time with
INTERRUPT, LATE = "interrupt", "late"

Step: TypeAlias = tuple[abi.Call | str, int, int, int]

NORMAL_CALLS = (
    abi.MEM_ALLOCATE, abi.MEM_RECALL, abi.MEM_RECLAIM, abi.MEM_NEXT_RELEASED, abi.NPU_RECALL, abi.NPU_RECLAIM,
    abi.SECURE_CALL, abi.SECURE_RESUME, LATE,
)  # fmt: skip
SECURE_CALLS = (
    abi.MEM_LOCK, abi.MEM_RELEASE, abi.MEM_DECLINE, abi.MEM_NEXT_REVOKED, abi.MEM_ACK_REVOKED, abi.NPU_MAP,
    abi.NPU_UNMAP, abi.NPU_ACQUIRE, abi.NPU_RELEASE, abi.SECURE_DONE, abi.SECURE_RPC, INTERRUPT,
)  # fmt: skip
SUITS = {
    abi.MEM_ALLOCATE: PageState.NORMAL, abi.MEM_LOCK: PageState.ALLOCATED, abi.MEM_DECLINE: PageState.ALLOCATED,
    abi.MEM_RELEASE: PageState.LOCKED, abi.NPU_MAP: PageState.LOCKED,
}  # fmt: skip
OFTEN = (abi.MEM_RECALL, LATE, abi.MEM_RECLAIM, abi.MEM_RECLAIM, abi.SECURE_CALL, abi.SECURE_CALL, abi.SECURE_RESUME)
# A step has a call for whichever world has its turn, a page, a count, a choice of flags, and whether any page will do.
STEPS = st.tuples(
    st.sampled_from((*NORMAL_CALLS, *OFTEN)), st.sampled_from(SECURE_CALLS), st.integers(-1, PAGES), st.integers(0, 4),
    st.integers(0, 3), st.integers(0, 7),
)  # fmt: skip


@dataclass
class Pair:
    """A booted phone whose normal world listens, and a model beside it."""

    phone: Phone
    planted: list[int | None] = field(default_factory=list)  # seeds of the registers of who waits; None: it has its own

    def __post_init__(self) -> None:
        layout = self.phone.layout
        pages = (layout.normal_end - DRAM_BASE) // PAGE_SIZE
        self.model = MonitorModel(pages, layout.npu_bytes // PAGE_SIZE)

    def step(self, call: abi.Call | str, pick: int, count: int, choice: int, any_page: bool) -> None:
        if call == LATE:  # past any deadline
            lib.core_advance(self.phone.machine.native, self.phone.machine.instructions + 2 * abi.MINIMUM_DEADLINE)
        elif call == INTERRUPT:
            self._interrupt()
        elif call in (abi.SECURE_CALL, abi.SECURE_RESUME):
            self._enter(call, choice)
        elif call in (abi.SECURE_DONE, abi.SECURE_RPC):
            self.phone.smc(call.function)
            self.model.left()
            assert self.phone.core.world is World.NORMAL
        else:
            assert isinstance(call, abi.Call)
            suitable = [] if any_page else self._suitable(call, choice)
            page = suitable[pick % len(suitable)] if suitable else PAGE + pick * PAGE_SIZE
            self._fast(call, self._arguments(call, page, count, choice))

    def _suitable(self, call: abi.Call, choice: int) -> list[int]:
        """Pages in the state that the call asks for."""
        pages = range(PAGE, PAGE + PAGES * PAGE_SIZE, PAGE_SIZE)
        if call is abi.MEM_ACK_REVOKED:
            return sorted(self.model.revoked)
        states = {SUITS[call]} if call in SUITS else set()
        if call is abi.MEM_RECLAIM:
            states = {PageState.LOCKED} if choice else {PageState.RELEASED, PageState.ALLOCATED}
        return [page for page in pages if page not in self.model.revoked and self.model.page_state(page) in states]

    def _arguments(self, call: abi.Call, page: int, count: int, choice: int) -> tuple[int, ...]:
        match call.name:
            case "MEM_RECALL":
                return MASK if choice == 2 else count, abi.MINIMUM_DEADLINE * (1 + choice) - (choice == 3)
            case "MEM_RECLAIM":
                return page, count, min(choice, abi.FORCE) if count else choice
            case "MEM_NEXT_RELEASED" | "MEM_NEXT_REVOKED":
                return ((page - DRAM_BASE) // PAGE_SIZE if choice else 0,)
            case "NPU_MAP":
                return IOVA + (page - PAGE) % (PAGES * PAGE_SIZE), page, count, choice
            case "NPU_UNMAP":
                return IOVA + (page - PAGE) % (PAGES * PAGE_SIZE), count
            case "NPU_RECALL":
                return (abi.MINIMUM_DEADLINE - (choice == 3),)
        return page + (choice == 3 and count == 4), count

    def _fast(self, call: abi.Call, arguments: tuple[int, ...]) -> None:
        caller = Caller.NORMAL if self.phone.core.world is World.NORMAL else Caller.SECURE
        self.model.now = self.phone.machine.instructions
        expected = self.model.call(caller, call.function, arguments)
        assert expected is not None
        stopped = self._smc(call.function, *arguments)
        if stopped is None:
            return
        assert stopped == "arrive_return"
        found = self.phone.registers(len(expected))
        where = next((i for i, word in enumerate(call.returns) if word.name == "deadline"), None)
        if where is not None and expected[where]:
            assert 0 <= found[where] - expected[where] < SLACK, call.name
            claim = self.model.claim if call is abi.MEM_RECALL else self.model.npu_claim
            claim.deadline, found[where] = found[where], expected[where]
        assert found == list(expected), (call.name, arguments)

    def _enter(self, call: abi.Call | str, choice: int) -> None:
        thread = THREAD if choice else abi.INTERRUPTED_THREAD
        if call is abi.SECURE_CALL:
            status, reason = self.model.enter_by_call(), Pending.NEW_CALL
        elif thread:
            status, reason = self.model.enter_by_reply(), Pending.RPC_REPLY
        else:
            status, reason = self.model.resume(), None
        assert isinstance(call, abi.Call)
        stopped = self._smc(call.function, thread)
        if stopped is None:
            return
        if status is not Status.SUCCESS:
            assert (stopped, self.phone.registers(1)) == ("arrive_return", [status & MASK])
        elif reason is None:
            assert self.phone.core.world is World.SECURE
            seed = self.planted.pop()
            assert seed is None or self._registers() == [(seed + index, seed - index) for index in KEPT]
        else:
            assert stopped == ("arrive_revocation" if self.model.revoked else "arrive_entry")
            assert self.phone.registers(1) == [self.model.pending(reason)]
            assert self.phone.registers(7)[6] == self.model.claim.owed

    def _smc(self, function: int, *arguments: int) -> str | None:
        """Where the core stops; the deadline of a recall may preempt the secure world, which is told of each once.

        None: it could not go on at once, and waits interrupted.
        """
        stopped = self.phone.smc(function, *arguments)
        while self.phone.core.world is World.NORMAL and self.phone.registers(1) == [Status.PREEMPTED]:
            assert self.model.claim.owed or self.model.npu_claim.owed, "preempted by what was paid"
            self.model.preempt()
            status = self.model.resume()
            stopped = self.phone.smc(abi.SECURE_RESUME.function, abi.INTERRUPTED_THREAD)
            if status is not Status.SUCCESS:
                assert self.phone.registers(1) == [status & MASK]
                self.planted.append(None)
                return None
        return stopped

    def _registers(self) -> list[tuple[int, int]]:
        return [(self.phone.core.x[index], self.phone.core.read_vector(index)) for index in KEPT]

    def _interrupt(self) -> None:
        """By the normal world's timer, in a busy loop of the secure world's that is nearly over."""
        seed = self.phone.machine.instructions
        self.planted.append(seed)
        for index in KEPT:
            self.phone.core.x[index] = seed + index
            self.phone.core.write_vector(index, seed - index)
        self.phone.set_timer(self.phone.machine.instructions + SOON)
        self.phone.core.x[8], self.phone.core.x[9] = TURNS, 0
        self.phone.core.pc = self.phone.gate("gate_busy")
        self.phone.run()
        assert self.phone.core.world is World.NORMAL
        assert self.phone.registers(1) == [Status.PREEMPTED]
        self.phone.set_timer(None)
        self.model.preempt()


@pytest.fixture(scope="module")
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    listen(phone)
    yield phone
    phone.machine.close()


@pytest.fixture(scope="module")
def booted(phone: Phone) -> MachineState:
    return phone.machine.save()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(st.lists(STEPS, min_size=60, max_size=120))
def test_model_answers_as_the_firmware_does(
    phone: Phone, booted: MachineState, steps: list[tuple[abi.Call | str, abi.Call | str, int, int, int, int]]
) -> None:
    phone.machine.restore(booted)
    pair = Pair(phone)
    for normal, secure, pick, count, choice, any_page in steps:
        pair.step(normal if phone.core.world is World.NORMAL else secure, pick, count, choice, any_page == 0)
    table = {PAGE + index * PAGE_SIZE: phone.entry(PAGE + index * PAGE_SIZE) for index in range(-1, PAGES + 5)}
    for page, entry in table.items():
        assert entry == pair.model.page_state(page) | (abi.REVOKED if page in pair.model.revoked else 0), hex(page)
