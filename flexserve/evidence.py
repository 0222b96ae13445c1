"""What stopped an attack, read off the event stream: syndromes, filters, SMMU faults, statuses."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.devices.npu import NpuCore, Problem
from emulator.devices.smmu_structures import EventCode
from emulator.events import Event, EventKind, EventStream, Filter, NpuWhat
from emulator.memory_map import PAGE_SIZE, StreamId
from emulator.world import World, vmid_of, world_of
from monitor import abi
from monitor.services.messages import DriverStatus, ServiceStatus

KINDS = (
    EventKind.SMC,
    EventKind.SMC_RETURN,
    EventKind.EXCEPTION,
    EventKind.DENIED,
    EventKind.SMMU_FAULT,
    EventKind.DMA,
    EventKind.NPU,
)
NPU_STREAMS = (StreamId.NPU0, StreamId.NPU1, StreamId.NPU2)
BY_DMA = (Problem.DMA_READ, Problem.DMA_WRITE)  # of which the SMMU or a filter tells more

TARGET, VECTOR, CONTEXT = 4, 6, 7  # of an event's arguments
EL3 = 3
IRQ, FIQ = 0x080, 0x100
INTERRUPTS = (IRQ, FIQ)  # nobody was refused anything
UNDEFINED, SYSTEM_REGISTER = 0x00, 0x18  # ESR_ELx.EC
INSTRUCTION_ABORT, DATA_ABORT, SERROR = 0x20, 0x24, 0x2F  # from a lower level
SAME_LEVEL = 1
STAGE1_WALK = 1 << 7
EXTERNAL = 0x10  # fault status code, ESR_ELx bits 5:0
FAULTS = {  # by its upper four bits, where the lower two are a level
    0b0000: "address size fault",
    0b0001: "translation fault",
    0b0010: "access flag fault",
    0b0011: "permission fault",
    0b0101: "external abort",
}
MOST_REFUSALS = 3
STOPPED = (abi.Status.FAULT, abi.Status.TIMEOUT)  # what the secure world is told of its driver


@dataclass
class DmaTiming:
    """``locked``: a LOCK has taken the page; the others: DMA has reached it, at all, while LOCK ran, afterwards."""

    locked: bool = False
    reached: bool = False
    during_lock: bool = False
    after_lock: bool = False


class Evidence:
    """Listens to ``events``; `clear` begins a new case."""

    def __init__(self, events: EventStream) -> None:
        self._events = events
        self._log: list[Event] = []
        self._credits: list[str] = []
        events.listen(KINDS, self._log.append)

    def clear(self) -> None:
        self._events.drain()
        self._log.clear()
        self._credits.clear()

    def credit(self, what: str) -> None:
        self._credits.append(what)

    def stopped_by(self) -> str:
        """Everything that refused since `clear`, in order; empty if nothing did."""
        self._events.drain()
        refusals = [refusal for event, call in self._with_calls() if (refusal := _refusal(event, call))]
        distinct = list(dict.fromkeys(refusals))
        if len(distinct) > MOST_REFUSALS:  # a sweep over many calls: what they answered, without their names
            distinct = list(dict.fromkeys(refusal.split(": ")[-1] for refusal in distinct))
        return ", ".join([*distinct, *self._timeouts(), *self._credits])

    def dma_at(self, page: int) -> DmaTiming:
        """When DMA has reached ``page``, as seen from the LOCK that took it."""
        self._events.drain()
        timing = DmaTiming()
        pending = False
        for event, call in self._with_calls():
            if event.kind is EventKind.SMC:
                pending = call is abi.MEM_LOCK and _covers(event.args[1], event.args[2], page)
            elif event.kind is EventKind.SMC_RETURN and pending:
                pending, timing.locked = False, event.args[0] == abi.Status.SUCCESS
            elif event.kind is EventKind.DMA and event.args[2] // PAGE_SIZE == page // PAGE_SIZE:
                timing.reached = True
                timing.during_lock |= pending
                timing.after_lock |= timing.locked
        return timing

    def interrupt_taken(self) -> bool:
        """Whether EL3 has taken one since `clear`."""
        self._events.drain()
        exceptions = [event.args for event in self._log if event.kind is EventKind.EXCEPTION]
        return any(args[VECTOR] in INTERRUPTS and args[TARGET] == EL3 for args in exceptions)

    def npu_is_wanted(self) -> bool:
        """Whether the secure world's last call was for the NPU."""
        self._events.drain()
        calls = [event for event in self._log if event.kind is EventKind.SMC]
        secure = [event.args[0] for event in calls if world_of(event.args[CONTEXT]) is World.SECURE]
        return bool(secure) and abi.find(secure[-1]) is abi.NPU_ACQUIRE

    def npu_has_moved_data(self) -> bool:
        """Whether the NPU has performed DMA since the last call returned."""
        self._events.drain()
        calls = [index for index, event in enumerate(self._log) if event.kind is EventKind.SMC_RETURN]
        since = self._log[calls[-1] :] if calls else self._log
        return any(event.kind is EventKind.DMA and event.args[0] in NPU_STREAMS for event in since)

    def npu_was_aborted(self) -> bool:
        """Whether a job of the NPU was, since `clear`."""
        self._events.drain()
        return any(event.kind is EventKind.NPU and event.args[1] == NpuWhat.ABORTED for event in self._log)

    def _timeouts(self) -> list[str]:
        """The driver context was left by a FIQ, and the secure world's next call came before its answer."""
        in_fiq = False
        for event in self._log:
            context = event.args[CONTEXT]
            if event.kind is EventKind.EXCEPTION:
                in_fiq |= event.args[VECTOR] == FIQ and vmid_of(context) == abi.Vmid.DRIVER
            elif event.kind in (EventKind.SMC, EventKind.SMC_RETURN):
                if in_fiq and event.kind is EventKind.SMC and world_of(context) is World.SECURE:
                    return ["secure timer: DRIVER_CALL ends with TIMEOUT"]
                in_fiq = False
        return []

    def _with_calls(self) -> list[tuple[Event, abi.Call | None]]:
        """Each event with the call that EL3 was last asked for."""
        paired: list[tuple[Event, abi.Call | None]] = []
        call: abi.Call | None = None
        for event in self._log:
            if event.kind is EventKind.SMC:
                call = abi.find(event.args[0])
            paired.append((event, call))
        return paired


def _covers(base: int, pages: int, page: int) -> bool:
    return base <= page < base + min(pages, abi.PAGES_PER_CALL) * PAGE_SIZE


def _refusal(event: Event, call: abi.Call | None) -> str | None:
    match event.kind:
        case EventKind.EXCEPTION:
            return _exception(event)
        case EventKind.DENIED:
            return f"{Filter(event.args[4]).name} denies NSAID {event.args[1]}"
        case EventKind.SMMU_FAULT:
            return f"SMMU {EventCode(event.args[2]).name}"
        case EventKind.SMC if call is abi.DRIVER_RETURN and vmid_of(event.args[CONTEXT]) == abi.Vmid.DRIVER:
            return _driver_status(event.args[1])
        case EventKind.SMC_RETURN if world_of(event.args[CONTEXT]) is World.NORMAL:
            return _status(event, call)
        case EventKind.SMC_RETURN if abi.signed(event.args[0]) in STOPPED:
            return f"DRIVER_CALL: {abi.Status(abi.signed(event.args[0])).name}"
        case EventKind.NPU:
            return _npu(event)
        case _:
            return None


def _exception(event: Event) -> str | None:
    syndrome, target = event.args[0], event.args[TARGET]
    if event.args[VECTOR] in INTERRUPTS:
        return None
    kind, status = syndrome >> 26, syndrome & 0x3F
    if kind == UNDEFINED:
        return f"undefined instruction, to EL{target}"
    if kind == SYSTEM_REGISTER:
        return f"trapped register, to EL{target}"
    if kind == SERROR:
        return f"SError, to EL{target}"
    if kind & ~SAME_LEVEL not in (INSTRUCTION_ABORT, DATA_ABORT):
        return None
    what = "external abort" if status == EXTERNAL else FAULTS.get(status >> 2, f"abort {status:#x}")
    level = "" if status == EXTERNAL else f", level {status & 3}"
    walk = ", on a table walk" if syndrome & STAGE1_WALK else ""
    stage = "stage-2 " if target == 2 else ""
    return f"{stage}{what}{level}{walk}"


def _status(event: Event, call: abi.Call | None) -> str | None:
    name = call.name if call else "SMC"
    status = abi.signed(event.args[0])
    if status < 0:
        return f"{name}: {call.statuses(status).name}" if call else abi.Status(status).name
    if call is abi.SECURE_DONE and event.args[1] != ServiceStatus.DONE:
        return f"secure world: {ServiceStatus(event.args[1]).name}"
    return None


def _driver_status(answer: int) -> str | None:
    """What the driver says of a job, if that is not that it is done."""
    known = {status.value: status.name for status in DriverStatus}
    return f"DRIVER_RETURN: {known.get(answer, hex(answer))}" if answer != DriverStatus.DONE else None


def _npu(event: Event) -> str | None:
    """A job that a switch has aborted, or that the NPU has given up by itself."""
    what = event.args[1]
    if what == NpuWhat.ABORTED:
        return "NPU ABORTED"
    if what != NpuWhat.FAULT or event.args[2] in BY_DMA:
        return None
    found = NpuCore.find(event.args[3])
    return f"NPU {Problem(event.args[2]).name}{f' {found[0].name}' if found else ''}"
