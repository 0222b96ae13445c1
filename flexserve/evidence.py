"""What stopped an attack, read off the event stream: syndromes, filters, SMMU faults, statuses."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.devices.smmu_structures import EventCode
from emulator.events import Event, EventKind, EventStream, Filter
from emulator.memory_map import PAGE_SIZE
from emulator.world import World, world_of
from monitor import abi
from monitor.services.messages import ServiceStatus

KINDS = (
    EventKind.SMC,
    EventKind.SMC_RETURN,
    EventKind.EXCEPTION,
    EventKind.DENIED,
    EventKind.SMMU_FAULT,
    EventKind.DMA,
)

VECTOR = 6  # of an exception's arguments
INTERRUPTS = (0x080, 0x100)  # IRQ and FIQ: nobody was refused anything
UNDEFINED, INSTRUCTION_ABORT, DATA_ABORT, SERROR = 0x00, 0x20, 0x24, 0x2F  # ESR_ELx.EC, from a lower level
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
        return ", ".join([*distinct, *self._credits])

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
        case EventKind.SMC_RETURN if world_of(event.args[7]) is World.NORMAL:
            return _status(event, call)
        case _:
            return None


def _exception(event: Event) -> str | None:
    syndrome, target = event.args[0], event.args[4]
    if event.args[VECTOR] in INTERRUPTS:
        return None
    kind, status = syndrome >> 26, syndrome & 0x3F
    if kind == UNDEFINED:
        return f"undefined instruction, to EL{target}"
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
        return f"{name}: {abi.Status(status).name}" if call else abi.Status(status).name
    if call is abi.SECURE_DONE and event.args[1] != ServiceStatus.DONE:
        return f"secure world: {ServiceStatus(event.args[1]).name}"
    return None
