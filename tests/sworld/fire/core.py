"""A phone of models: the secure kernel in a gate from which an interrupt can take the core around each site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from emulator.devices.trusted import KEY_BYTES, MODEL_ID_BYTES, NAME_BYTES, Slot, Trusted, fuse_key
from emulator.gate import ALL_ENTRIES, Arrival, Operations, Registers
from emulator.memory_map import DRAM_BASE, MIB, NPU_CONTROL, PAGE_SIZE, TRUSTED, DramLayout
from emulator.product_check import Verdict
from emulator.world import World
from monitor.abi import (
    DRIVER_CALL,
    MEM_RECLAIM,
    NPU_ACQUIRE,
    SECURE_DONE,
    SECURE_READY,
    SECURE_RPC,
    Caller,
    Pending,
    Status,
)
from monitor.services.messages import DriverOperation, DriverStatus
from sworld.kernel import SecureKernel
from sworld.npu_jobs import STATUS as NPU_STATUS

from .memory import Memory, ModelPort, Translation
from .monitor import MonitorModel, Results, status

LAYOUT = DramLayout(64 * MIB)
GATE_TABLES = LAYOUT.secure_base
HEAP = GATE_TABLES + PAGE_SIZE
REGISTERS = 8


class Site(NamedTuple):
    """Where the secure gate was resumed, and with what."""

    kind: str
    number: int = 0
    arguments: tuple[int, ...] = ()


class ModelGate:
    """The part of `emulator.gate.Gate` that the secure kernel uses."""

    world = World.SECURE

    def __init__(self) -> None:
        self.site = Site("nowhere")
        self.x: Registers = ()

    def address(self, symbol: str) -> int:
        return GATE_TABLES if symbol == "gate_tables" else 0

    def registers(self, count: int = REGISTERS) -> Registers:
        return (*self.x, *[0] * count)[:count]

    def smc(self, function: int, arguments: tuple[int, ...], delay: int = 0) -> None:
        self.site = Site("smc", function, arguments)

    def spin(self, instructions: int) -> None:
        self.site = Site("spin", instructions)

    def tlbi(self, operand: int) -> None:
        self.site = Site("tlbi", operand)


class Point(NamedTuple):
    """A moment at which the normal world can have the core; ``above``: a thread of the secure world waits below."""

    number: int
    before: bool  # the site's instruction has not been executed
    site: Site
    above: bool


Act: TypeAlias = Callable[["Phone"], object]  # False: there was nothing to do


class Idle(Exception):
    """The only act of a run has nothing to do where it comes: the run is that of an undisturbed phone."""


class Schedule(Protocol):
    """What the normal world does when. ``is_over_if_idle``: it does nothing else than what it does first."""

    is_over_if_idle: bool

    def at(self, point: Point, phone: Phone) -> list[Act]:
        """In this gap of the secure kernel's."""


class Peace:
    """Nothing."""

    is_over_if_idle = False

    def at(self, point: Point, phone: Phone) -> list[Act]:
        return []


class NormalWorld(Protocol):
    """Answers a request of the secure world's: SECURE_RESUME's x2 and on."""

    def answer(self, phone: Phone, request: int, arguments: tuple[int, ...]) -> tuple[int, ...]: ...


class Driver:
    """The NPU's, in its sandbox: this one does its duty. ``verdict``: what the check of the sums finds.

    ``missing``: sums of jobs that were begun and are not computed yet, with the losses of the pool at that time.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.verdict = Verdict.RIGHT
        self.missing: dict[int, int] = {}

    def call(self, phone: Phone, operation: int, program: int) -> Results:
        """DRIVER_CALL, while the NPU is secure."""
        if operation in (DriverOperation.RUN, DriverOperation.SUBMIT):
            self.verdict = Verdict.RIGHT
            self.missing.update(dict.fromkeys(_sums_of(phone, program), phone.kernel.pool.state.losses))
        results = self.answer(phone, operation)
        self.calls += 1
        return results

    def answer(self, phone: Phone, operation: int) -> Results:
        """A job that is begun is done at once, and the NPU interrupts."""
        phone.monitor.npu_interrupts = operation == DriverOperation.SUBMIT
        return status(Status.SUCCESS, DriverStatus.DONE)


def _sums_of(phone: Phone, program: int) -> list[int]:
    """Where the sums of the job with this program belong."""
    book = phone.kernel.npu._book if phone.kernel.npu else None
    jobs = [job for job in book.state.jobs.values() if job.program == program] if book else []
    return [sums for job in jobs for sums in job.accept[1][2::3]]  # type: ignore[index]


@dataclass
class Left:
    """How the secure world was left: by which call, with what."""

    function: int
    arguments: tuple[int, ...]


class Phone:
    """Booted. ``judges`` are asked at every point; ``operations`` are the secure kernel's computations.

    ``met``: what has come to pass of the NPU, for tests that insist on it.
    """

    def __init__(
        self,
        normal: NormalWorld,
        schedule: Schedule,
        operations: Operations,
        slots: tuple[Slot, ...],
        *,
        use_npu: bool = False,
        kernel: type[SecureKernel] = SecureKernel,
    ) -> None:
        self.memory = Memory(watched=LAYOUT.secure_base)
        pages = (LAYOUT.normal_end - DRAM_BASE) // PAGE_SIZE
        self.monitor = MonitorModel(pages, LAYOUT.npu_bytes // PAGE_SIZE, self.memory.scrub)
        self.translation = Translation(self.memory, GATE_TABLES)
        self.schedule = schedule
        self.normal = normal
        self.judges: list[Callable[[Phone], None]] = []
        self.reached: Callable[[int], None] = lambda page: None
        self.points = 0
        self.judging = True
        self.driver = Driver()
        self.met: Counter[str] = Counter()
        self._gate = ModelGate()
        port = ModelPort(self.translation, self._reached_by_port, trusted_block(slots))
        self.kernel = kernel(
            self._gate, port, operations, lambda: self.monitor.now, HEAP, use_npu=use_npu  # type: ignore[arg-type]
        )
        self._gate.x = (LAYOUT.secure_base, LAYOUT.secure_end)
        self.kernel.arrived(Arrival.BOOT)
        left = self._run()
        assert left.function == SECURE_READY.function

    def _reached_by_port(self, page: int) -> None:
        self.reached(page)

    # The normal world's calls

    def call(self, service: int, *arguments: int) -> Results:
        """SECURE_CALL and whatever follows it: x0 and on of the last return. A BUSY reply is told as it is."""
        entered = self.monitor.enter_by_call()
        if entered is not Status.SUCCESS:
            return status(entered)
        return self._serve(self._enter(Pending.NEW_CALL, (service, *arguments)))

    def smc(self, function: int, *arguments: int) -> Results:
        """A fast call of the normal world's."""
        results = self.monitor.call(Caller.NORMAL, function, arguments)
        assert results is not None
        return results

    def force(self, page: int, pages: int = 1) -> Results:
        return self.smc(MEM_RECLAIM.function, page, pages, 1)

    def _serve(self, left: Left) -> Results:
        """Until the call is done."""
        while left.function == SECURE_RPC.function:
            thread, request, *arguments = (*left.arguments, *[0] * 5)[:5]
            reply = self.normal.answer(self, request, tuple(arguments))
            left = self._reply(thread, reply)
        assert left.function == SECURE_DONE.function
        return status(Status.SUCCESS, *left.arguments)

    def _reply(self, thread: int, reply: tuple[int, ...]) -> Left:
        while self.monitor.enter_by_reply() is not Status.SUCCESS:
            self.poll()
        return self._enter(Pending.RPC_REPLY, (thread, *reply))

    def poll(self) -> None:
        """Whatever is revoked is acknowledged."""
        assert self.call(0)[:2] == (0, 0)

    # The secure world

    def _enter(self, reason: Pending, arguments: tuple[int, ...]) -> Left:
        arrival = Arrival.REVOCATION if self.monitor.revoked else Arrival.ENTRY
        filled = (*arguments, *[0] * 5)[:5]
        mask = self.monitor.pending(reason)
        self.met["FIQ"] += bool(mask & Pending.FIQ)
        self._gate.x = (mask, *filled, self.monitor.claim.owed)
        self.kernel.arrived(arrival)
        return self._run()

    def _run(self) -> Left:
        """From a site on, until the secure world has left."""
        while True:
            self._gap(before=True)
            left = self._perform(self._gate.site)
            if left:
                self.monitor.left()
                return left
            self._gap(before=False)
            self.kernel.arrived(Arrival.RETURN)

    def _perform(self, site: Site) -> Left | None:
        self._gate.x = ()
        match site.kind:
            case "spin":
                self.monitor.now += site.number
            case "tlbi":
                self.translation.invalidate(None if site.number == ALL_ENTRIES else site.number << 12)
            case "smc" if site.number in (SECURE_DONE.function, SECURE_RPC.function, SECURE_READY.function):
                return Left(site.number, site.arguments)
            case "smc" if site.number == DRIVER_CALL.function:
                self._gate.x = self._drive(*site.arguments[:2])
            case "smc":
                results = self.monitor.call(Caller.SECURE, site.number, site.arguments)
                assert results is not None, f"the secure kernel makes an unknown call, {site.number:#x}"
                self.met["BUSY"] += site.number == NPU_ACQUIRE.function and results[0] == status(Status.BUSY)[0]
                self._gate.x = results
            case _:
                raise AssertionError(site)
        return None

    def _drive(self, operation: int, program: int = 0) -> Results:
        if not self.monitor.npu_is_secure:
            return status(Status.WRONG_STATE)
        self.monitor.npu_interrupts = False
        return self.driver.call(self, operation, program)

    def _judge(self) -> None:
        for judge in self.judges if self.judging else ():
            judge(self)

    def _gap(self, *, before: bool) -> None:
        """An interrupt may come here, if the schedule has one: the normal world acts, and goes on with what it took."""
        site, x = self._gate.site, self._gate.x
        point = Point(self.points, before, site, self.monitor.in_handler)
        self.points += 1
        self._judge()
        acts = self.schedule.at(point, self)
        if not acts:
            return
        self.monitor.preempt()
        done = [act(self) is not False for act in acts]
        if self.schedule.is_over_if_idle and not any(done):
            raise Idle
        self.judging = True
        self._judge()
        while (resumed := self.monitor.resume()) is Status.BUSY:
            self.poll()
        assert resumed is Status.SUCCESS
        self._gate.site, self._gate.x = site, x


def trusted_block(slots: tuple[Slot, ...]) -> dict[int, Callable[[int | None], int]]:
    """The registers of the trusted block, and the NPU's STATUS, by address."""
    selected = [0]

    def select(value: int | None) -> int:
        selected[0] = value or 0
        return selected[0]

    def of_slot(read: Callable[[Slot], int]) -> Callable[[int | None], int]:
        return lambda _: read(slots[selected[0]]) if selected[0] < len(slots) else 0

    def word(data: bytes, index: int) -> int:
        return int.from_bytes(data[4 * index : 4 * index + 4], "little")

    registers: dict[int, Callable[[int | None], int]] = {
        Trusted.DRAM_PAGES.offset: lambda _: LAYOUT.pages,
        Trusted.TRNG_DATA.offset: lambda _: 0x1234_5678,
        Trusted.SLOT_COUNT.offset: lambda _: len(slots),
        Trusted.SLOT_SELECT.offset: select,
        Trusted.SLOT_VALID.offset: of_slot(lambda slot: 1),
        Trusted.SLOT_MIN_VERSION.offset: of_slot(lambda slot: slot.minimum_version),
    }
    parts: Mapping[int, tuple[int, Callable[[Slot], bytes]]] = {
        Trusted.FUSE_KEY.offset: (KEY_BYTES, lambda slot: fuse_key(0)),
        Trusted.SLOT_MODEL_ID.offset: (MODEL_ID_BYTES, lambda slot: slot.model_id),
        Trusted.SLOT_NAME.offset: (NAME_BYTES, lambda slot: slot.name.encode().ljust(NAME_BYTES, b"\0")),
    }
    for offset, (size, read) in parts.items():
        for index in range(size // 4):
            registers[offset + 4 * index] = of_slot(lambda slot, read=read, index=index: word(read(slot), index))  # type: ignore[misc]
    found = {TRUSTED.base + offset: read for offset, read in registers.items()}
    return {**found, NPU_STATUS: lambda _: 0}


assert NPU_STATUS in NPU_CONTROL
