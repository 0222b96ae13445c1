"""Stepping through an image of one's own: its source, its end, and a way back out of a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flexserve.debug.scene import Refused
from flexserve.stepper.session import Session
from tests.flexserve.test_exec import EXIT, assemble

from .run import do, session


@contextmanager
def stepping(image: Path) -> Iterator[Session]:
    one = session(["exec", str(image)])
    with closing(one.timeline):
        yield one


def test_an_image_is_stepped_through_with_its_symbols(tmp_path: Path) -> None:
    with stepping(assemble(tmp_path, f"mov x0, #3\n{EXIT}")) as one:
        assert "image:_start" in do(one, "where").plain
        assert do(one, "step", "registers x0").data["x0"] == 3
        assert str(do(one, "continue").data["words"]) == "the run has ended: semihosting exit"
        assert do(one, "goto start", "registers x0").data["x0"] != 3


def test_a_crash_keeps_the_session_and_can_be_left_backwards(tmp_path: Path) -> None:
    """With VBAR_EL3 where nothing is, the vector faults for ever."""
    image = assemble(tmp_path, "mov x0, #0x30000000\nmsr vbar_el3, x0\nmov x1, #7\n.word 0")
    with stepping(image) as one:
        crashed = do(one, "continue")
        assert crashed.data["stop"] == "lost"
        assert "faults for ever" in str(crashed.data["words"])
        assert do(one, "prev exception").data["stop"] in {"event", "start"}
        do(one, "goto start", "step 3")
        assert do(one, "registers x1").data["x1"] == 7
        assert do(one, "continue").data["stop"] == "lost"


def test_the_phones_views_are_refused_on_another_board(tmp_path: Path) -> None:
    with stepping(assemble(tmp_path, f"mov x0, #3\n{EXIT}")) as one:
        for command in ("pages", "why 0x40000000", "break page 0x40000000", "break invariant", "invariants"):
            with pytest.raises(Refused, match="page ownership is Flex-Monitor's"):
                do(one, command)
        with pytest.raises(Refused, match="no TZASC"):
            do(one, "tzasc")
        with pytest.raises(Refused, match="no SMMU"):
            do(one, "walk 0x40000000 storage")
        assert do(one, "walk pc fetch").data["allowed"] is True
        assert do(one, "walk 0x0e000000 read el1 normal").data["allowed"] is False
        assert "PL031" in do(one, "device").plain
        assert "enable_group0" in do(one, "device gicd ctlr").plain
