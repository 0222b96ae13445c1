"""Events of the ownership table: what the calls did to it, told when they return, and never lost on the way back."""

from __future__ import annotations

import numpy as np

from emulator.debug.timeline import StopSet
from emulator.events import Event, EventKind
from emulator.memory_map import PAGE_SIZE
from flexserve.debug.subject import open_subject
from flexserve.recipe import parse
from monitor import abi
from monitor.view import page_index, read_ownership

RUN = parse(["--tokens", "2", "--dram", "128M", "--recall", "40@2"])
KINDS = (EventKind.SMC, EventKind.OWNERSHIP, EventKind.SMC_RETURN)


def test_the_events_of_a_run_add_up_to_the_table() -> None:
    timeline = open_subject(RUN).timeline
    timeline.resume()
    layout = timeline.machine.layout
    table = np.zeros(layout.pages, dtype=np.uint8)
    call: Event | None = None
    for event in timeline.events:
        if event.kind is EventKind.SMC:
            call = event
        elif event.kind is EventKind.OWNERSHIP:
            first, count, old, new = event.args[:4]
            assert call
            if new & 7 != abi.PageState.RESERVED:  # the first call shows what the monitor did when it started
                assert (
                    page_index(call.args[1]) <= first < first + count <= page_index(call.args[1]) + abi.PAGES_PER_CALL
                )
            assert set(table[first : first + count]) == {old}
            table[first : first + count] = new
    assert np.array_equal(table, read_ownership(timeline.machine, layout).entries)
    assert abi.PageState.LOCKED in table
    timeline.close()


def test_a_change_that_a_snapshot_cuts_in_two_is_told_all_the_same() -> None:
    """From the middle of a LOCK, where part of its pages are in the new state already."""
    timeline = open_subject(RUN).timeline
    locks = StopSet(
        kinds=frozenset({EventKind.SMC}),
        when=lambda event: event.args[0] == abi.MEM_LOCK.function and event.args[2] > 1,
    )
    call = timeline.resume(locks).detail
    assert isinstance(call, Event)
    entry = timeline.machine.layout.ownership_base + page_index(call.args[1] + PAGE_SIZE)
    while timeline.machine.read_physical(entry, 1)[0] != abi.PageState.LOCKED:
        timeline.step()
    timeline.snapshot()
    middle = timeline.position
    timeline.resume(StopSet(kinds=frozenset({EventKind.SMC_RETURN})))
    told = timeline.events[-2:]
    assert [event.kind for event in told] == [EventKind.OWNERSHIP, EventKind.SMC_RETURN]
    assert told[0].args[:2] == (page_index(call.args[1]), call.args[2])
    timeline.seek(middle)
    assert EventKind.OWNERSHIP not in {event.kind for event in timeline.events[-1:]}
    timeline.resume(StopSet(kinds=frozenset({EventKind.SMC_RETURN})))
    assert timeline.events[-2:] == told
    timeline.close()
