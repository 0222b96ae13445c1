"""Which SMC took a page away from the normal world, and the instruction that did it: found by going back to it."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.debug.disassembly import disassemble
from emulator.debug.dwarf import SourceLine
from emulator.debug.timeline import Reason, StopSet
from emulator.debug.walk import Access, explain, read_virtual
from emulator.events import Event
from emulator.stops import Position, Watch
from emulator.world import World
from flexserve.contexts import context_name
from flexserve.debug.calls import LEVEL, WORLD, call_before, covers, describe_call
from flexserve.debug.ownership import entry_address, reachable, state_name
from flexserve.debug.scene import Refused
from monitor.abi import PageState

from .session import Session

STATE = 7  # bits of an entry


@dataclass(frozen=True)
class Culprit:
    """An instruction: where it is in the run and in the code."""

    position: Position
    address: int
    place: str | None
    text: str
    source: SourceLine | None


@dataclass(frozen=True)
class Removal:
    """``call``: in words; ``level``, ``world``, ``site``: who made it; ``since``: the page's state before and after."""

    page: int
    now: str
    before: str
    after: str
    call: str
    caller: str
    site: int
    site_place: str | None
    unmapped_by: Culprit
    recorded_by: Culprit


def removals(events: list[Event], page: int) -> list[int]:
    """Places in ``events`` where the page left the normal world."""
    return [
        index
        for index, event in enumerate(events)
        if covers(event, page)
        and reachable(event.args[2])
        and not reachable(event.args[3])
        and event.args[3] & STATE != PageState.RESERVED  # the monitor's table as it is first seen
    ]


def explain_removal(session: Session, page: int) -> Removal:
    """The last one before here. Stands at the instruction afterwards. Raises Refused, and is then where it was."""
    events, here = session.timeline.events, session.timeline.position
    found = removals(events, page)
    if not found:
        raise Refused("no SMC has taken it from the normal world up to here")
    change, call = events[found[-1]], call_before(events, found[-1])
    assert call, "the table changes in calls"
    now = state_name(session.timeline.machine.read_physical(entry_address(session.scene, page), 1)[0])
    try:
        return _at_the_call(session, page, now, change, call)
    except Refused:
        session.timeline.seek(here)
        raise


def _at_the_call(session: Session, page: int, now: str, change: Event, call: Event) -> Removal:
    """Back to the call, then forward over the stores to the page's stage-2 entry and to its state."""
    _expect(
        session, StopSet(kinds=frozenset({call.kind}), when=lambda event: event == call), Reason.EVENT, backward=True
    )
    site = session.timeline.machine.core.read_sysreg("ELR_EL3") - 4
    leaf = leaf_address(session, page)
    unmapped = _store(session, Watch(leaf, 8, read=False, write=True, physical=True))
    entry = Watch(entry_address(session.scene, page), 1, read=False, write=True, physical=True)
    recorded = _store(session, entry)
    session.timeline.seek(unmapped.position)
    return Removal(
        page=page,
        now=now,
        before=state_name(change.args[2]),
        after=state_name(change.args[3]),
        call=describe_call(call),
        caller=f"EL{call.args[LEVEL]} {context_name(call.args[WORLD])}",
        site=site,
        site_place=session.sources.name_at(site),
        unmapped_by=unmapped,
        recorded_by=recorded,
    )


def leaf_address(session: Session, page: int) -> int:
    """Where the normal world's stage-2 descriptor of the page is. Raises Refused."""
    steps = explain(session.timeline.machine, page, Access.READ, 1, World.NORMAL).steps
    found = [step.descriptor for step in steps if step.stage == "stage 2" and not step.depth and step.descriptor]
    if not found:
        raise Refused("stage 2 of the normal world is off at that call")
    return found[-1]


def _store(session: Session, watch: Watch) -> Culprit:
    """The next store to ``watch``; stands before it afterwards."""
    _expect(session, StopSet(watchpoints=frozenset({watch})), Reason.WATCHPOINT)
    session.timeline.back()
    machine = session.timeline.machine
    address = machine.core.pc
    (instruction,) = disassemble(read_virtual(machine, address, 4), address, session.sources)
    return Culprit(session.timeline.position, address, instruction.place, instruction.text, instruction.source)


def _expect(session: Session, until: StopSet, reason: Reason, *, backward: bool = False) -> None:
    stopped = session.run_plainly(until, backward=backward)
    if stopped.reason is Reason.INTERRUPTED:
        raise Refused("interrupted")
    if stopped.reason is not reason:
        raise Refused(f"the run did not repeat itself on the way: {stopped.reason.value}")
