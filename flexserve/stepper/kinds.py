"""What can be stepped by: the names of events, and what each of them is looked for by."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass

from emulator.debug.syndrome import CALLS, exception_class
from emulator.debug.timeline import Timeline
from emulator.events import Event, EventKind
from flexserve.debug.calls import VECTOR, WORLD, call_before
from flexserve.debug.scene import Refused

When = Callable[[Event], bool]


@dataclass(frozen=True)
class Kind:
    """``kinds`` must be recorded for it; ``when`` picks from them, for a timeline."""

    kinds: frozenset[EventKind]
    what: str
    when: Callable[[Timeline], When] = lambda timeline: lambda event: True


def _switches(timeline: Timeline) -> When:
    """Whether a return from EL3 goes to another world than the call came from."""

    def is_switch(event: Event) -> bool:
        events = timeline.events
        index = bisect.bisect_left(events, event.instruction, key=lambda other: other.instruction)
        while index < len(events) and events[index] != event:
            index += 1
        call = call_before(events, index)
        return call is not None and call.args[WORLD] != event.args[WORLD]

    return is_switch


def _is_fault(_: Timeline) -> When:
    """Whether an exception is synchronous, and no call."""
    return lambda event: not event.args[VECTOR] and exception_class(event.args[0]) not in CALLS


def _is_interrupt(_: Timeline) -> When:
    return lambda event: bool(event.args[VECTOR])


def _of(kind: EventKind, what: str) -> Kind:
    return Kind(frozenset({kind}), what)


KINDS: dict[str, Kind] = {
    "smc": _of(EventKind.SMC, "a call arrives at EL3"),
    "return": _of(EventKind.SMC_RETURN, "EL3 returns from a call"),
    "switch": Kind(frozenset({EventKind.SMC_RETURN}), "the other world runs", _switches),
    "exception": _of(EventKind.EXCEPTION, "an exception is taken: call, fault or interrupt"),
    "fault": Kind(frozenset({EventKind.EXCEPTION}), "an exception that is no call", _is_fault),
    "interrupt": Kind(frozenset({EventKind.EXCEPTION}), "an IRQ, FIQ or SError is taken", _is_interrupt),
    "ownership": _of(EventKind.OWNERSHIP, "pages change their state"),
    "token": _of(EventKind.TOKEN, "a token reaches the user"),
    "denied": _of(EventKind.DENIED, "TZASC, TZPC or decoder refuse an access"),
    "device": _of(EventKind.DEVICE_WRITE, "a register that protects is written"),
    "undeclared": _of(EventKind.UNDECLARED, "an access meets no declared register"),
    "smmu": Kind(frozenset({EventKind.SMMU_COMMAND, EventKind.SMMU_FAULT}), "the SMMU executes a command or faults"),
    "dma": _of(EventKind.DMA, "a device moves data"),
    "tlb": _of(EventKind.TLB, "a TLBI is executed"),
    "npu": _of(EventKind.NPU, "the NPU starts, ends or gives up a job"),
}


def find_kind(name: str) -> tuple[str, Kind]:
    """The kind that ``name`` begins. Raises Refused."""
    matching = [known for known in KINDS if known.startswith(name.lower())]
    if not matching or not name:
        raise Refused(f"nothing is called {name!r}: there are {', '.join(KINDS)}")
    exact = [known for known in matching if known == name.lower()] or matching
    if len(exact) > 1:
        raise Refused(f"{name!r} may be {' or '.join(exact)}")
    return exact[0], KINDS[exact[0]]
