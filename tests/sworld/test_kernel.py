"""The secure kernel's entries: the order of service, threads suspended by a request, and what leaves this world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from emulator.gate import Arrival, Flow, Gate, Registers, Site, charge
from emulator.world import World
from emulator.world_port import WorldPort
from monitor.abi import SECURE_DONE, SECURE_READY, SECURE_RPC, Pending
from monitor.services.messages import Request, Service, ServiceStatus
from sworld.errors import Refused
from sworld.flexmem import Pool
from sworld.kernel import SecureKernel
from sworld.npu import NpuEngine
from sworld.service import ModelService
from tests.emulator.test_gate import FakeRegisters

SYMBOLS = {name.value: 4 * index for index, name in enumerate([*Site, *Arrival])}
ASK, REFUSE = 40, 41


@dataclass
class FakeNpu:
    """Is given back when this world is left."""

    is_to_leave: bool = True

    def leaving(self) -> Flow[None]:
        yield from charge(1)
        self.is_to_leave = False


@dataclass
class FakeCore:
    pc: int = 0
    context: int = World.SECURE
    x: FakeRegisters = field(default_factory=lambda: FakeRegisters(dict.fromkeys(range(31), 0)))

    def read_sysreg(self, name: str) -> int:
        raise KeyError(name)


class FakePool:
    def __init__(self, log: list[str]) -> None:
        self._log = log

    def acknowledge_revoked(self) -> Flow[None]:
        yield from charge(1)
        self._log.append("revocation")

    def recall(self, owed: int) -> Flow[None]:
        yield from charge(1)
        self._log.append(f"recall {owed}")


class Kernel(SecureKernel):
    """Boots to a pool and a service of this test's."""

    def __init__(self) -> None:
        self.core = FakeCore()
        self.log: list[str] = []
        gate = Gate(self.core, World.SECURE, SYMBOLS, 0)
        super().__init__(gate, cast(WorldPort, None), {}, lambda: 0, 0)
        self.arrived(Arrival.BOOT)

    def _boot(self, base: int, end: int) -> Flow[None]:
        yield from charge(1)
        self.pool = cast(Pool, FakePool(self.log))
        self.service = ModelService.__new__(ModelService)
        self.service.handlers = {ASK: self.ask, REFUSE: self.refuse}

    def ask(self, argument: int, *_: int) -> Flow[Registers]:
        self.log.append(f"call {argument}")
        reply = yield from self.rpc(Request.ALLOCATE_PAGES, argument)
        self.log.append(f"reply {reply[0]}")
        return (reply[1],)

    def refuse(self, *_: int) -> Flow[Registers]:
        yield from ()
        raise Refused(ServiceStatus.OLD_VERSION, 3)

    def enter(self, mask: Pending, *registers: int, owed: int = 0) -> tuple[int, ...]:
        """One entry; x0-x5 of the SMC by which the kernel leaves."""
        for index, value in enumerate((mask, *registers, *[0] * (5 - len(registers)), owed)):
            self.core.x[index] = value
        self.arrived(Arrival.REVOCATION if Pending.REVOKED in mask else Arrival.ENTRY)
        return self.leave()

    def leave(self) -> tuple[int, ...]:
        while self.core.pc != SYMBOLS[Site.SMC.value]:
            self.arrived(Arrival.RETURN)
        return tuple(self.core.x[index] for index in range(6))


def booted() -> Kernel:
    kernel = Kernel()
    assert kernel.leave()[:3] == (
        SECURE_READY.function, SYMBOLS[Arrival.ENTRY.value], SYMBOLS[Arrival.REVOCATION.value],
    )
    return kernel


def test_pending_work_is_served_in_the_order_of_the_mask() -> None:
    kernel = booted()
    left = kernel.enter(Pending.REVOKED | Pending.RECALL | Pending.NEW_CALL, ASK, 7, owed=12)
    assert kernel.log == ["revocation", "recall 12", "call 7"]
    assert left[0] == SECURE_RPC.function
    assert left[2:4] == (Request.ALLOCATE_PAGES, 7)


def test_suspended_threads_go_on_by_their_number_in_any_order() -> None:
    kernel = booted()
    first = kernel.enter(Pending.NEW_CALL, ASK, 1)[1]
    second = kernel.enter(Pending.NEW_CALL, ASK, 2)[1]
    assert first != second
    assert kernel.enter(Pending.RECALL | Pending.RPC_REPLY, first, 0, 111, owed=5)[:3] == (SECURE_DONE.function, 0, 111)
    assert kernel.enter(Pending.RPC_REPLY, second, 0, 222)[:3] == (SECURE_DONE.function, 0, 222)
    assert kernel.log == ["call 1", "call 2", "recall 5", "reply 0", "reply 0"]


def test_reply_to_no_thread_is_refused_by_name() -> None:
    kernel = booted()
    thread = kernel.enter(Pending.NEW_CALL, ASK, 1)[1]
    assert kernel.enter(Pending.RPC_REPLY, thread + 1)[1:3] == (ServiceStatus.UNKNOWN_THREAD, thread + 1)
    kernel.enter(Pending.RPC_REPLY, thread)
    assert kernel.enter(Pending.RPC_REPLY, thread)[1:3] == (ServiceStatus.UNKNOWN_THREAD, thread)


def test_refusal_leaves_as_status_and_detail_and_carries_nothing_else() -> None:
    kernel = booted()
    for index in range(6):
        kernel.core.x[index] = 0xDEAD
    assert kernel.enter(Pending.NEW_CALL, REFUSE) == (SECURE_DONE.function, ServiceStatus.OLD_VERSION, 3, 0, 0, 0)
    assert kernel.enter(Pending.NEW_CALL, 99)[1:3] == (ServiceStatus.UNKNOWN_SERVICE, 99)


REVOKED_MEANWHILE = Pending.REVOKED | Pending.PREEMPTED


def test_thread_that_is_interrupted_before_it_asks_gets_its_reply() -> None:
    """It was set aside in the time before its call, and never came back to the gate before it left."""
    kernel = booted()
    thread = kernel.enter(Pending.NEW_CALL, ASK, 1)[1]
    assert kernel.enter(REVOKED_MEANWHILE)[0] == SECURE_DONE.function
    assert kernel.enter(Pending.RPC_REPLY, thread, 0, 111)[:3] == (SECURE_DONE.function, 0, 111)
    assert kernel.log == ["call 1", "revocation", "reply 0"]


def test_thread_goes_on_after_any_number_of_revocations() -> None:
    kernel = booted()
    kernel.core.x[0] = Pending.RECALL
    kernel.arrived(Arrival.ENTRY)
    assert kernel.core.pc == SYMBOLS[Site.BUSY.value]
    for _ in range(3):
        assert kernel.enter(REVOKED_MEANWHILE, ASK)[:2] == (SECURE_DONE.function, ServiceStatus.IN_USE)
    kernel.arrived(Arrival.RETURN)
    assert kernel.leave() == (SECURE_DONE.function, 0, 0, 0, 0, 0)  # with nothing of what a revocation has said
    assert kernel.log == [*["revocation"] * 3, "recall 0"]


def test_service_that_is_interrupted_on_its_way_out_ends_with_its_own_results() -> None:
    """Its results wait while the NPU is given back; whatever is answered above it is the answer to that call."""
    kernel = booted()
    kernel.npu = cast(NpuEngine, FakeNpu())
    kernel.core.x[0], kernel.core.x[1] = Pending.NEW_CALL, REFUSE
    kernel.arrived(Arrival.ENTRY)
    assert kernel.core.pc == SYMBOLS[Site.BUSY.value]
    for _ in range(2):
        assert kernel.enter(REVOKED_MEANWHILE, REFUSE)[:2] == (SECURE_DONE.function, ServiceStatus.IN_USE)
        assert kernel.enter(REVOKED_MEANWHILE, Service.POLL)[:2] == (SECURE_DONE.function, ServiceStatus.DONE)
    kernel.arrived(Arrival.RETURN)
    assert kernel.leave()[:3] == (SECURE_DONE.function, ServiceStatus.OLD_VERSION, 3)


def test_what_is_still_to_do_below_is_done_after_a_revocation() -> None:
    kernel = booted()
    for register, value in {0: Pending.RECALL | Pending.NEW_CALL, 1: REFUSE, 6: 4}.items():
        kernel.core.x[register] = value
    kernel.arrived(Arrival.ENTRY)
    assert kernel.core.pc == SYMBOLS[Site.BUSY.value]
    kernel.enter(REVOKED_MEANWHILE)
    kernel.arrived(Arrival.RETURN)
    assert kernel.leave()[1:3] == (ServiceStatus.OLD_VERSION, 3)
    assert kernel.log == ["revocation", "recall 4"]


def test_npu_is_not_given_back_under_the_thread_that_drives_it() -> None:
    """What is served above that thread leaves without it; the thread gives it back on its own way out."""
    kernel, npu = booted(), FakeNpu()
    kernel.npu = cast(NpuEngine, npu)
    kernel.core.x[0] = Pending.RECALL
    kernel.arrived(Arrival.ENTRY)
    assert kernel.core.pc == SYMBOLS[Site.BUSY.value]
    kernel.enter(REVOKED_MEANWHILE)
    assert npu.is_to_leave
    kernel.arrived(Arrival.RETURN)
    assert kernel.leave()[0] == SECURE_DONE.function
    assert not npu.is_to_leave
