"""An image run under a debugger is the image run: forward, backward, and from a file."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest

from emulator.debug.timeline import Reason, Timeline
from emulator.stops import Position
from flexserve import snapshot
from flexserve.exec_run import Outcome
from flexserve.recipe import Recipe, parse, read
from tests.flexserve.test_exec import EXIT, assemble

# Echoes what is typed at UART0 in capitals, up to a full stop; every device keeps something.
ECHO = f"""
    ldr x9, =0x09000000
    ldr x8, =0x09010000
    mov w0, #5
    str w0, [x8, #8]            /* the clock */
    ldr x7, =0x04000000
    mov w0, #0x70
    str w0, [x7]                /* flash shows its status */
    ldr x6, =0x09020008
    mov w0, #0x1900
    strh w0, [x6]
again:
    ldr w1, [x9, #0x18]
    tbnz w1, #4, again
    ldr w0, [x9]
    cmp w0, #'.'
    b.eq done
    bic w0, w0, #0x20
    str w0, [x9]
    b again
done:
    mov w0, #10
    str w0, [x9]
    ldr w1, [x7]
    ldr w2, [x8]
    add w0, w1, w2              /* 0x80 ready, and 5 seconds */
{EXIT}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "typed").write_text("flexserve.")
    return parse(["exec", str(assemble(tmp_path, ECHO)), "--input", str(tmp_path / "typed")])


def outcome(timeline: Timeline) -> Outcome:
    assert isinstance(timeline.result, Outcome)
    return timeline.result


def state(timeline: Timeline) -> bytes:
    file = io.BytesIO()
    timeline.machine.save().write(file)
    return file.getvalue()


def test_a_run_walked_back_and_forth_ends_as_the_plain_one(recipe: Recipe) -> None:
    with closing(Timeline(recipe.drive)) as plain, closing(Timeline(recipe.drive)) as walked:
        assert plain.resume().reason is Reason.ENDED
        assert (outcome(plain).why, outcome(plain).status) == ("semihosting exit", 0x85)
        assert [note.data for note in plain.notices] == [b"FLEXSERVE"]
        for at in (100, 40, 90, 9, 60, 0, 80):
            walked.seek(Position(at, 0))
            before = state(walked)
            walked.step(3)
            walked.back(3)
            assert state(walked) == before
        assert walked.resume().reason is Reason.ENDED
        assert outcome(walked) == outcome(plain)
        assert walked.notices == plain.notices
        assert state(walked) == state(plain)
        walked.back(2)
        walked.step(2)
        assert outcome(walked) == outcome(plain)


def test_a_snapshot_goes_on_as_the_run_did(recipe: Recipe, tmp_path: Path) -> None:
    with closing(Timeline(recipe.drive)) as timeline:
        timeline.seek(Position(70, 0))
        snapshot.save(tmp_path / "saved", recipe, timeline)
        timeline.resume()
        _, loaded = snapshot.load(tmp_path / "saved")
        with closing(loaded):
            loaded.resume()
            assert outcome(loaded) == outcome(timeline)
            assert state(loaded) == state(timeline)


def test_the_recipe_survives_its_json(recipe: Recipe) -> None:
    again = read(recipe.as_json())
    assert again.as_json() == recipe.as_json()
