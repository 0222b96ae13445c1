"""The stepper's commands on a real run: forwards, backwards, breakpoints, and what it says of a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.debug.timeline import StopSet
from emulator.events import Event, EventKind
from emulator.machine import Machine
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, DramLayout
from emulator.stops import Position
from flexserve.debug.changes import record
from flexserve.debug.scene import Answer, Refused
from flexserve.recipe import PlainStage, parse
from flexserve.stepper.commands import COMMANDS, KNOWN
from flexserve.stepper.completion import candidates
from flexserve.stepper.session import Session
from monitor import abi

from .run import SMALL, do, session


@pytest.fixture(scope="module")
def opened() -> Iterator[Session]:
    one = session()
    yield one
    one.timeline.close()


@pytest.fixture
def at_start(opened: Session) -> Session:
    opened.breakpoints.clear()
    do(opened, "goto start")
    return opened


def words(answer: Answer) -> str:
    return str(answer.data["words"])


def test_steps_back_and_forth_lead_to_the_same_state(at_start: Session) -> None:
    do(at_start, "next smc 3")
    position, before = at_start.timeline.position, record(at_start.scene)
    for count in (1, 7, 300):
        do(at_start, f"back {count}")
        assert at_start.timeline.position < position
        do(at_start, f"step {count}")
        assert at_start.timeline.position == position
        assert record(at_start.scene) == before


def test_the_start_is_as_far_back_as_it_goes(at_start: Session) -> None:
    assert do(at_start, "step 2", "back 5").data["stop"] == "start"
    assert at_start.timeline.position == Position(0, 0)


@pytest.mark.parametrize(
    "kind", ["smc", "return", "switch", "exception", "ownership", "token", "device", "tlb", "dma", "npu"]
)
def test_previous_comes_back_to_where_next_was(at_start: Session, kind: str) -> None:
    first = do(at_start, f"next {kind}")
    assert first.data["stop"] == "event"
    assert do(at_start, f"next {kind}").data["position"] != first.data["position"]
    assert do(at_start, f"prev {kind}").data == first.data
    assert do(at_start, f"prev {kind}").data["stop"] == "start"


def test_a_switch_ends_in_the_other_world(at_start: Session) -> None:
    worlds = [do(at_start, "next switch").data["at"]["world"] for _ in range(4)]  # type: ignore[index]
    assert worlds == ["secure", "normal", "secure", "normal"]
    for _ in range(20):
        assert words(do(at_start, "next switch")).endswith("world runs")


def test_next_takes_a_count_and_stops_at_breakpoints(at_start: Session) -> None:
    do(at_start, "next smc 5")
    there = at_start.timeline.position
    do(at_start, "goto start", "next smc", "next smc", "next smc", "next smc", "next smc")
    assert at_start.timeline.position == there
    do(at_start, "goto start", "break secure_call")
    stopped = do(at_start, "next smc 1000000")
    assert (stopped.data["stop"], stopped.data["breakpoint"]) == ("breakpoint", max(at_start.breakpoints))


def test_a_breakpoint_at_a_call_looks_at_its_arguments(at_start: Session) -> None:
    do(at_start, "break smc LOCK pages>=16 x1!=0x40440000")
    found = []
    while (answer := do(at_start, "continue")).data["stop"] == "event":
        found.append(answer)
    calls = [event for event in at_start.timeline.events if event.kind is EventKind.SMC]
    expected = [
        event
        for event in calls
        if event.args[0] == abi.MEM_LOCK.function and event.args[2] >= 16 and event.args[1] != 0x4044_0000
    ]
    assert len(found) == len(expected) > 0
    assert all(words(answer).startswith("SMC MEM_LOCK(base=") for answer in found)
    backwards = [do(at_start, "reverse-continue").data["position"] for _ in found]
    assert backwards == [answer.data["position"] for answer in reversed(found)]
    assert do(at_start, "reverse-continue").data["stop"] == "start"


def test_breakpoints_by_symbol_and_line_stop_before_the_instruction(at_start: Session) -> None:
    do(at_start, "break monitor:mem_lock")
    stopped = do(at_start, "continue")
    assert stopped.data["at"]["place"] == "monitor:mem_lock"  # type: ignore[index]
    do(at_start, "delete", "break flexmem.c:45", "continue")
    assert "flexmem.c:45" in do(at_start, "where").plain
    assert do(at_start, "reverse-continue").data["stop"] == "start"


def test_a_page_breakpoint_stops_at_each_change_of_its_state(at_start: Session) -> None:
    page = first_locked(at_start)
    do(at_start, "goto start", f"break page {page:#x}")
    states = []
    while words(do(at_start, "continue")).endswith(("ALLOCATED", "LOCKED")):
        states.append(do(at_start, f"pages {page:#x}").data["state"])
    assert states == ["ALLOCATED", "LOCKED"]
    changes = do(at_start, f"history {page:#x}").data["changes"]
    assert isinstance(changes, list)
    assert [change["after"] for change in changes] == [*states, "RELEASED"]
    assert [change["call"].partition("(")[0] for change in changes] == ["MEM_ALLOCATE", "MEM_LOCK", "MEM_RELEASE"]


def first_locked(at_start: Session) -> int:
    event = next_ownership(at_start, abi.PageState.LOCKED)
    return DRAM_BASE + event * PAGE_SIZE


def next_ownership(at_start: Session, state: int) -> int:
    while not words(do(at_start, "next ownership")).endswith(abi.PageState(state).name):
        pass
    return at_start.timeline.events[-2].args[0]  # the return from the call is the last one


def test_watchpoints_see_who_writes(at_start: Session) -> None:
    entry = at_start.timeline.machine.layout.ownership_base + (first_locked(at_start) - DRAM_BASE) // PAGE_SIZE
    do(at_start, "goto start", f"watch phys {entry:#x} 1")
    do(at_start, "continue")  # the monitor fills its table
    stopped = do(at_start, "continue")
    assert (stopped.data["stop"], words(stopped)) == ("watchpoint", f"write of 1 bytes at {entry:#x}")
    assert "monitor:ownership_move" in do(at_start, "back").plain


def test_an_invariant_breakpoint_waits_for_a_broken_one() -> None:
    """Somebody scribbles over the ownership table; the next return from EL3 finds it."""
    one = session()
    do(one, "next ownership 4", "break invariant")
    assert do(one, "next smc").data["breakpoint"] is None
    entry = one.timeline.machine.layout.ownership_base + 0x600
    do(one, f"set {entry:#x}:8 = {abi.PageState.LOCKED}")
    stopped = do(one, "continue")
    assert stopped.data["breakpoint"] == 1
    assert words(stopped).startswith("return ")
    assert f"maps {DRAM_BASE + 0x600 * PAGE_SIZE:#x}, which it must not" in do(one, "invariants").plain
    one.close()


def test_why_names_the_call_and_the_instruction(at_start: Session) -> None:
    page = first_locked(at_start)
    answer = do(at_start, "next token", f"why {page:#x}")
    data = answer.data
    assert (data["before"], data["after"], data["now"]) == ("ALLOCATED", "LOCKED", "LOCKED")
    assert str(data["call"]).startswith(f"MEM_LOCK(base={page:#x}")
    assert data["unmapped_by"]["place"].startswith("monitor:stage2_unmap")  # type: ignore[index]
    assert data["recorded_by"]["place"].startswith("monitor:ownership_move")  # type: ignore[index]
    assert at_start.timeline.machine.core.pc == data["unmapped_by"]["address"]  # type: ignore[index]
    assert do(at_start, f"walk {page:#x} read normal").data["allowed"] is True
    assert do(at_start, "step", f"walk {page:#x} read normal").data["allowed"] is False
    assert "monitor:mem_lock" in do(at_start, "backtrace").plain
    assert do(at_start, "goto -", "where").data["world"] == "normal"


def test_why_finds_the_last_removal_of_a_page_that_came_back() -> None:
    """One that was recalled in the middle of the request."""
    one = session((*SMALL, "--recall", "40@2"))
    back = (abi.PageState.RELEASED, abi.PageState.NORMAL)
    reclaims = StopSet(kinds=frozenset({EventKind.OWNERSHIP}), when=lambda event: event.args[2:4] == back)
    event = one.timeline.resume(reclaims).detail
    assert isinstance(event, Event)
    answer = do(one, f"why {DRAM_BASE + event.args[0] * PAGE_SIZE:#x}")
    assert "is NORMAL: the normal world reaches it\nIt was taken before, and has come back since" in answer.plain
    assert answer.data["after"] == "LOCKED"
    one.close()


def test_why_says_so_when_nothing_took_the_page(at_start: Session) -> None:
    do(at_start, "next smc")
    here = at_start.timeline.position
    with pytest.raises(Refused, match="is NORMAL: no SMC has taken it from the normal world up to here"):
        do(at_start, "why 0x40480000")
    with pytest.raises(Refused, match=r"is RESERVED \(SECURE_DRAM\): no SMC"):
        do(at_start, f"why {at_start.timeline.machine.layout.secure_base:#x}")
    assert at_start.timeline.position == here


def test_changes_are_those_since_the_last_stop(at_start: Session) -> None:
    do(at_start, "next ownership", "back")
    answer = do(at_start, "step", "changes")
    assert "SPSR_EL3" not in answer.plain
    assert "register         pc" in answer.plain
    do(at_start, "goto start", "next ownership 2")
    assert "NORMAL -> ALLOCATED" in do(at_start, "changes").plain


def test_output_is_what_the_user_has_seen_by_then(at_start: Session) -> None:
    assert do(at_start, "goto end", "output").data["tokens"] == 2
    assert do(at_start, "prev token", "prev token", "output").data["tokens"] == 1
    assert do(at_start, "goto start", "output").data["tokens"] == 0


def test_the_end_says_how_the_run_ended_and_can_be_left_backwards(at_start: Session) -> None:
    ended = do(at_start, "continue")
    assert (ended.data["stop"], words(ended)) == ("ended", "the run has ended: it came to its end")
    assert do(at_start, "step").data["stop"] == "ended"
    assert do(at_start, "back").data["stop"] == "step"


def test_over_and_finish_come_out_of_calls(at_start: Session) -> None:
    do(at_start, "break mem_lock", "continue", "delete")
    depth = len(frames(at_start))
    while "bl " not in do(at_start, "where").plain:
        do(at_start, "step")
    call = at_start.timeline.machine.core.pc
    do(at_start, "over")
    assert (at_start.timeline.machine.core.pc, len(frames(at_start))) == (call + 4, depth)
    do(at_start, "finish")
    assert "monitor:smc_entry" in do(at_start, "where").plain
    do(at_start, "finish", "finish")
    assert "secure_gate:gate_smc" in do(at_start, "where").plain


def frames(at_start: Session) -> list[object]:
    found = do(at_start, "backtrace").data["frames"]
    assert isinstance(found, list)
    return found


def test_gdbs_own_words_are_understood(at_start: Session) -> None:
    do(at_start, "next smc")
    assert do(at_start, "p $pc").data["value"] == at_start.timeline.machine.core.pc
    assert len(do(at_start, "x/4i $pc").data["instructions"]) == 4  # type: ignore[arg-type]
    assert len(str(do(at_start, "x/2gx $sp - 32").data["bytes"])) == 32
    assert do(at_start, "info registers x0").data["x0"] == abi.DRIVER_READY.function
    assert do(at_start, "info breakpoints").plain == "no breakpoints"
    assert do(at_start, "run").data["position"] == {"instructions": 0, "entries": 0}


def test_a_change_makes_another_run_that_starts_there(tmp_path: Path) -> None:
    """A LOCK of one page fewer; a file keeps the change."""
    one = session()
    do(one, "break smc LOCK pages>1", "continue", "delete")
    pages = one.timeline.machine.core.x[2]
    do(one, f"set x2 = {pages - 1}")
    assert f"done={pages - 1}" in words(do(one, "next return"))
    do(one, "back 5", "step 5", "prev smc", "step 3")
    assert f"done={pages - 1}" in words(do(one, "next return"))
    here = record(one.scene)
    do(one, f"save {tmp_path / 'file'}", "goto start", f"load {tmp_path / 'file'}")
    assert record(one.scene) == here
    do(one, "prev smc", "set 0x40700000:32 = 0x12345678", "step 10")
    assert do(one, "memory phys 0x40700000 8").data["bytes"] == "7856341200000000"
    one.close()


def test_a_run_that_was_stepped_is_the_run(at_start: Session) -> None:
    """The same events at the same times as where nobody watches."""
    do(
        at_start,
        "next ownership 9",
        "back 3",
        "prev switch",
        "break mem_lock",
        "continue",
        "delete",
        "over",
        "goto end",
    )
    events: list[Event] = []

    class Watching(PlainStage):
        def create_machine(self, layout: DramLayout) -> Machine:
            machine = super().create_machine(layout)
            machine.events.listen(tuple(EventKind), events.append)
            return machine

    parse(SMALL).drive(Watching())
    assert at_start.timeline.events == events


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("jump", "no command 'jump'"),
        ("nxt smc", "did you mean 'next'"),
        ("re", "'re' may be "),
        ("step many", "count 'many' is no number"),
        ("step 0", "count is 1 or more"),
        ("next", "next KIND"),
        ("next 3", "next KIND"),
        ("next toaster", "nothing is called 'toaster'"),
        ("next t", "may be token or tlb"),
        ("goto", "where to"),
        ("goto -", "not jumped from anywhere"),
        ("goto nowhere", "is no number"),
        ("continue 3", "takes no arguments"),
        ("break", "break where"),
        ("break toaster", "is no number, register or symbol"),
        ("break toaster.c:3", "no code comes from toaster.c:3"),
        ("break smc TOASTER", "no call 'TOASTER': there are"),
        ("break smc LOCK toast>3", "has no argument 'toast': there are base, pages"),
        ("break smc LOCK pages", "is no condition"),
        ("watch", "watch what"),
        ("delete 99", "no breakpoint 99"),
        ("why", "why which page"),
        ("why 0x1000000000000", "is no page of DRAM"),
        ("print", "an address is missing"),
        ("save", "save where"),
        ("save /missing/file", "/missing"),
        ("load missing", "missing: No such file"),
        ("set x0", "set what"),
        ("set toaster = 3", "is no number, register or symbol"),
        ("set 0x0 = 3", "is not memory"),
        ("finish", "nobody is known to have called this"),
        ("help toaster", "no command 'toaster'"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(at_start: Session, command: str, why: str) -> None:
    at_start.trail.clear()
    with pytest.raises(Refused, match=why) as refused:
        do(at_start, command)
    assert "\n" not in str(refused.value)
    assert at_start.timeline.position == Position(0, 0)
    assert not at_start.breakpoints


def test_names_of_commands_are_no_others(at_start: Session) -> None:
    names = [name for command in COMMANDS for name in command.names]
    assert len(names) == len(set(names)) == len(KNOWN)
    everything = do(at_start, "help").plain
    for command in COMMANDS:
        assert command.name in everything
        assert command.what.split("\n")[0] in do(at_start, f"help {command.name}").plain


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ste", {"step"}),
        ("next s", {"smc", "smmu", "switch"}),
        ("break mem_l", {"mem_lock"}),
        ("break smc MEM_REL", {"MEM_RELEASE"}),
        ("break smc MEM_LOCK pa", {"pages"}),
        ("system SCR", {"SCR_EL3"}),
        ("info dev", {"device"}),
        ("info device TZ", {"TZASC", "TZPC"}),
        ("walk pc n", {"normal"}),
        ("goto ", {"-", "end", "start"}),
        ("toaster ", set()),
    ],
)
def test_completion(at_start: Session, line: str, expected: set[str]) -> None:
    assert set(candidates(at_start, line)) == expected
