"""The secure kernel: serves what is pending at every entry, then the thread or the call that the entry is for.

Like OP-TEE it keeps its own threads: a service that needs the normal world leaves by SECURE_RPC under its thread's
number, and goes on when a later entry brings that thread's reply. What is pending is served first, in the order of the
mask's bits: pages taken by force, then pages asked back, and only then any thread.

An entry above a thread that was interrupted, at whatever instruction, serves pages taken by force, which cannot wait
for that thread, and nothing else: whatever else is pending is said again at the next entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple, TypeAlias

from emulator.gate import (
    Argument,
    Arrival,
    Flow,
    FlowFactory,
    Gate,
    GateFault,
    Interrupted,
    Operations,
    Registers,
    Runner,
    Thread,
)
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, DramLayout
from emulator.world_port import WorldPort
from monitor.abi import SECURE_DONE, SECURE_READY, SECURE_RPC, Call, Pending, Status
from monitor.services.calls import CallFailed, invoke
from monitor.services.messages import Request, Service, ServiceStatus

from .errors import Refused
from .extent import Extent
from .flexmem import Pool
from .mapping import Mapping
from .npu import NpuEngine
from .npu_memory import NpuMemory
from .products import CpuEngine
from .service import ModelService
from .trusted import TrustedDriver

ENTRY_REGISTERS = 7

Due: TypeAlias = "deque[Callable[[], None]]"


class Below(NamedTuple):
    """What this kernel was doing when it was interrupted, and then entered anew."""

    interrupted: Interrupted
    due: Due
    leave_by: tuple[Call, Registers]


class SecureKernel:
    """Lives in ``gate`` with ``port``; of its own memory, ``heap`` (a physical address) and above is free at boot.

    Matrix products are the NPU's, or, without ``use_npu``, the processor's. ``pool_type`` may be one that fails to do
    its duty, to see what that leads to.
    """

    pool_type: ClassVar[type[Pool]] = Pool

    def __init__(
        self,
        gate: Gate,
        port: WorldPort,
        operations: Operations,
        clock: Callable[[], int],
        heap: int,
        *,
        use_npu: bool = True,
    ) -> None:
        self.runner = Runner(gate, port, operations, clock, self._thread_ended)
        self.pool: Pool
        self.service: ModelService
        self.npu: NpuEngine | None = None
        self.gate = gate
        self._heap = heap
        self._use_npu = use_npu
        self._waiting: dict[int, Thread] = {}
        self._due: Due = deque()
        self._below: Below | None = None
        self._away = False
        self._leave_by: tuple[Call, Registers] = SECURE_DONE, ()

    def arrived(self, arrival: Arrival) -> None:
        """Go on from ``arrival``; leaves the core at a site of the gate. Raises GateFault."""
        match arrival:
            case Arrival.RETURN | Arrival.IDLE:
                self._go_on()
                self.runner.returned()
            case Arrival.ENTRY | Arrival.REVOCATION:
                self._entered(self.gate.registers(ENTRY_REGISTERS))
            case Arrival.BOOT:
                self._leave_by = SECURE_READY, tuple(
                    self.gate.address(entry.value) for entry in (Arrival.ENTRY, Arrival.REVOCATION)
                )
                self._run("boot", self._boot, self.gate.registers(2))
            case _:
                raise GateFault(f"the secure kernel cannot go on from {arrival.value}")

    def rpc(self, request: Request, *arguments: int) -> Flow[Registers]:
        """Ask the normal world: its status and three results. The current thread is suspended until the reply."""
        thread = self.runner.current
        assert thread is not None
        if self.npu:
            yield from self.npu.leaving()
        self._away = True
        status, *reply = yield from invoke(SECURE_RPC, thread.id, request, *arguments)
        if status != Status.SUCCESS:
            raise CallFailed(SECURE_RPC, (thread.id, request, *arguments), status)
        return tuple(reply[:4])

    def recall(self, owed: int) -> Flow[None]:
        """Give ``owed`` pages back to the normal world."""
        yield from self.pool.recall(owed)

    def _boot(self, base: int, end: int) -> Flow[None]:
        """Secure DRAM is [``base``, ``end``)."""
        trusted = TrustedDriver()
        layout = DramLayout((yield from trusted.dram_bytes()))
        mapping = Mapping(self.gate.address("gate_tables"), self._heap, end)
        npu_memory = NpuMemory(layout.npu_bytes) if self._use_npu else None
        normal = Extent(DRAM_BASE, (layout.normal_end - DRAM_BASE) // PAGE_SIZE)
        self.pool = self.pool_type(mapping, self.rpc, normal, npu_memory)
        if npu_memory:
            self.npu = NpuEngine(self.pool, npu_memory, CpuEngine())
        self.service = ModelService(self.pool, mapping, self.rpc, trusted, self.npu)

    def _entered(self, registers: Registers) -> None:
        mask, first, second, third, fourth, fifth, owed = registers
        if mask & Pending.PREEMPTED:
            self._entered_above(mask, first)
            return
        self._go_on()  # who was interrupted just before it left has left without coming back here
        self._suspend()
        self._away = False
        self._leave_by = SECURE_DONE, ()
        if mask & Pending.REVOKED:
            self._due.append(partial(self._run, "revocation", self.pool.acknowledge_revoked))
        if mask & Pending.RECALL:
            self._due.append(partial(self._run, "recall", self.recall, (owed,)))
        if self.npu and mask & Pending.FIQ:
            self._due.append(partial(self._run, "fiq", self.npu.interrupted))
        if self.npu and mask & (Pending.NPU_RECALL | Pending.NPU_REVOKED):
            self._due.append(partial(self._run, "npu", self.npu.asked_back, (mask & Pending.NPU_REVOKED,)))
        if mask & Pending.RPC_REPLY:
            self._due.append(partial(self._reply, first, (Status.SUCCESS, second, third, fourth, fifth)))
        if mask & Pending.NEW_CALL:
            self._due.append(partial(self._run, "service", self._serve, (first, second, third, fourth, fifth)))
        self._next()

    def _entered_above(self, mask: int, service: int) -> None:
        """An interrupted thread waits below: it may be in the middle of anything."""
        if not self._is_set_aside:
            self._below = Below(self.runner.set_aside(), self._due, self._leave_by)
        self._due = deque()
        self._away = False
        self._leave_by = SECURE_DONE, (ServiceStatus.DONE if service == Service.POLL else ServiceStatus.IN_USE,)
        if mask & Pending.REVOKED:
            self._due.append(partial(self._run, "revocation", self.pool.acknowledge_revoked))
        self._next()

    @property
    def _is_set_aside(self) -> bool:
        """This kernel has left, and a thread that was interrupted before is still to go on."""
        return self._away and self._below is not None

    def _go_on(self) -> None:
        """Whoever comes back to the gate after this kernel has left is the thread that was interrupted before."""
        if self._away and self._below:
            self._suspend()
            below, self._below = self._below, None
            self._due, self._leave_by = below.due, below.leave_by
            self.runner.take_up(below.interrupted)
        self._away = False

    def _suspend(self) -> None:
        left = self.runner.suspend()
        if left:
            self._waiting[left.id] = left

    def _serve(self, service: int, *arguments: int) -> Flow[Registers]:
        """One service: its status and results, as SECURE_DONE's x1-x5."""
        handler = self.service.handlers.get(service)
        if handler is None:
            return (ServiceStatus.UNKNOWN_SERVICE, service)
        try:
            results = yield from handler(*arguments)
        except Refused as refused:
            return (refused.status, refused.detail)
        return (ServiceStatus.DONE, *results)

    def _run(self, name: str, flow: FlowFactory, arguments: tuple[Argument, ...] = ()) -> None:
        self.runner.resume(self.runner.start(name, flow, arguments))

    def _reply(self, thread: int, reply: Registers) -> None:
        waiting = self._waiting.pop(thread, None)
        if waiting is None:
            self._leave_by = SECURE_DONE, (ServiceStatus.UNKNOWN_THREAD, thread)
            self._next()
        else:
            self.runner.resume(waiting, reply)

    def _thread_ended(self, thread: Thread) -> None:
        if isinstance(thread.result, tuple):
            self._leave_by = SECURE_DONE, thread.result
        self._next()

    def _next(self) -> None:
        """Serve what is due; when nothing is, leave this world."""
        if self._due:
            self._due.popleft()()
        elif self.npu and self.npu.is_to_leave and not self._below:
            self._run("npu", self.npu.leaving)
        else:
            self._away = True
            call, results = self._leave_by
            self.gate.smc(call.function, results)
