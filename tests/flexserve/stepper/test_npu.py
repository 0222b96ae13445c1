"""Stepping over the NPU's jobs and its switch, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.events import EventKind, NpuWhat
from emulator.memory_map import NPU0
from flexserve.debug.changes import record
from flexserve.debug.scene import Answer
from flexserve.stepper.session import Session

from .run import do, session


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


def core(answer: Answer) -> dict[str, object]:
    cores = answer.data["cores"]
    assert isinstance(cores, list)
    found: dict[str, object] = cores[0]
    return found


def what(at: Session) -> NpuWhat:
    event = next(event for event in reversed(at.timeline.events) if event.kind is EventKind.NPU)
    return NpuWhat(event.args[1])


def test_breakpoint_at_npu_events_finds_every_job_and_comes_back(at_start: Session) -> None:
    """The core waits while a job runs: it stands where the job begins, and where it has ended."""
    do(at_start, "break event npu")
    positions = []
    while (answer := do(at_start, "continue")).data["stop"] == "event":
        positions.append(answer.data["position"])
    told = [NpuWhat(event.args[1]) for event in at_start.timeline.events if event.kind is EventKind.NPU]
    assert set(told) == {NpuWhat.STARTED, NpuWhat.TASK_DONE, NpuWhat.JOB_DONE}
    assert len(positions) == told.count(NpuWhat.STARTED) + told.count(NpuWhat.JOB_DONE)
    last = positions[:-5:-1]
    assert [do(at_start, "reverse-continue").data["position"] for _ in last] == last


def test_state_is_the_same_after_going_back_over_a_job(at_start: Session) -> None:
    do(at_start, "next npu")
    assert what(at_start) is NpuWhat.STARTED
    place = at_start.timeline.position
    begun, device = do(at_start, "npu").data, do(at_start, f"device {NPU0.name}").data
    before = record(at_start.scene)
    assert core(do(at_start, "npu"))["busy"]
    while what(at_start) is not NpuWhat.JOB_DONE:
        do(at_start, "next npu")
    ended = core(do(at_start, "npu"))
    assert (ended["busy"], ended["done"]) == (False, ended["tasks"])
    while at_start.timeline.position > place:
        do(at_start, "prev npu")
    assert at_start.timeline.position == place
    assert (do(at_start, "npu").data, do(at_start, f"device {NPU0.name}").data) == (begun, device)
    assert record(at_start.scene) == before


def test_view_follows_the_switch(at_start: Session) -> None:
    do(at_start, "break smc NPU_ACQUIRE", "continue")
    assert do(at_start, "npu").data["owner"] == "the normal world's"
    do(at_start, "next return")
    shown = do(at_start, "npu")
    assert shown.data["owner"] == "the secure world's"
    assert "registers in the stage 2 of the driver context" in shown.plain
    assert "Group 0" in shown.plain
    assert "NPU0: no power" in shown.plain
    do(at_start, "prev smc")
    assert do(at_start, "npu").data["owner"] == "the normal world's"


def test_view_shows_what_drains() -> None:
    one = session(("attack", "npu-start-while-draining"))
    do(one, "break smc NPU_ACQUIRE", "continue", "continue", "next return")
    shown = do(one, "npu")
    assert (shown.data["owner"], shown.data["registers"]) == ("between the worlds", "nobody")
    assert core(shown)["busy"]
    one.timeline.close()
