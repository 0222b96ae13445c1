"""Attacks that are tried at every instruction of a window, on copies of the phone."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.events import Event, EventKind
from flexserve import sweep
from flexserve.attack import Battle, run, select
from flexserve.evidence import IRQ, VECTOR
from flexserve.sweep import Sweep
from flexserve.system import Images
from nworld.attacks import Attack, Moment
from nworld.attacks.hostile import Hostile
from nworld.attacks.registry import Script, until_first
from nworld.attacks.scene import Scene

REQUESTS = (Moment.ALLOCATE, Moment.LOAD, Moment.TOKEN, Moment.REQUEST)


def interrupted(tried: list[int]) -> Attack:
    """Does nothing with the core that it has taken; ``tried``: when, in this process."""

    def script(hostile: Hostile, scene: Scene) -> Script[bool | None]:
        time = hostile.choose(1)
        tried.append(time)
        yield from hostile.interrupt_at(time)
        moment, _ = yield from until_first(Moment.INTERRUPTED, *REQUESTS)
        if moment is not Moment.INTERRUPTED:
            return None
        scene.credit("nothing but the test")
        return False

    return Attack("interrupted", "", script)


@pytest.fixture(name="images", scope="module")
def _images() -> Images:
    return Images.load()


@pytest.fixture(name="chosen")
def _chosen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Times of copies, in order, as the original makes them."""
    chosen: list[int] = []
    fork = Sweep._fork

    def noted(self: Sweep, time: int) -> sweep.Copy | None:
        chosen.append(time)
        return fork(self, time)

    monkeypatch.setattr(Sweep, "_fork", noted)
    return chosen


def test_there_is_a_copy_for_each_instruction_and_the_run_goes_on_like_the_middle_one(
    images: Images, chosen: list[int]
) -> None:
    tried: list[int] = []
    (verdict,) = run([interrupted(tried)], images=images)
    scout, *times = chosen
    assert scout == sweep.NEVER
    assert times == sorted(set(times))
    assert verdict.blocked and 1 < verdict.times <= len(times)
    assert tried == [times[verdict.times // 2]]


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_run_goes_on_like_the_first_copy_that_gets_through(
    at_once: int, images: Images, chosen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "AT_ONCE", at_once)
    tried: list[int] = []

    def script(hostile: Hostile, scene: Scene) -> Script[bool | None]:
        time = hostile.choose(1)
        tried.append(time)
        yield from hostile.interrupt_at(time)
        yield from until_first(Moment.INTERRUPTED, *REQUESTS)
        scene.credit("nothing but the test")
        return chosen.index(time) in (4, 5)  # 0 is the scout

    (verdict,) = run([Attack("interrupted", "", script)], images=images)
    assert not verdict.blocked
    assert verdict.times == 4
    assert tried == [chosen[4]]


def test_what_would_end_a_copy_is_an_attack_that_got_through(images: Images) -> None:
    original = os.getpid()

    def script(hostile: Hostile, scene: Scene) -> Script[bool | None]:
        time = hostile.choose(1)
        yield from hostile.interrupt_at(time)
        yield from until_first(Moment.INTERRUPTED, *REQUESTS)
        if os.getpid() != original and time != sweep.NEVER:
            raise RuntimeError("a kernel did not survive this")
        scene.credit("nothing but the test")
        return False

    (verdict,) = run([Attack("interrupted", "", script)], images=images)
    assert verdict.times == 1


def test_interrupts_come_at_the_very_instruction(images: Images) -> None:
    """Or, where EL3 is at work, behind it: what the copies see is what the event stream of the original has."""
    with contextlib.closing(Battle(images)) as battle:
        taken: list[Event] = []
        battle.system.machine.events.listen([EventKind.EXCEPTION], taken.append)
        tried: list[int] = []
        battle.fight([interrupted(tried)], lambda _: None)
    assert next(event.instruction for event in taken if event.args[VECTOR] == IRQ) == tried[0]


def test_a_window_in_which_nothing_runs_is_no_window(images: Images) -> None:
    def script(hostile: Hostile, _: Scene) -> Script[bool | None]:
        hostile.choose(2)  # EL2 has nothing to do
        yield from until_first(*REQUESTS)
        return None

    with pytest.raises(AssertionError, match="nothing is executed"):
        run([Attack("nothing", "", script)], images=images)


@pytest.fixture(name="copies")
def _copies() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # nobody is left behind


@pytest.mark.usefixtures("copies")
def test_no_copy_is_left_behind(images: Images) -> None:
    run(select(["race-lock"]), images=images)


def test_reviewers_example_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "blocked=True, by='stage-2 translation fault, level 3'" in told
    assert int(re.findall(r"times=(\d+)", told)[0]) > 1
