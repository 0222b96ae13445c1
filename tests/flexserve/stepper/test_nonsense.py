"""Whatever is typed, the answer is an answer or one line of refusal, and the session goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexserve.debug.scene import Refused
from flexserve.stepper.command import Quit
from flexserve.stepper.commands import COMMANDS, perform
from flexserve.stepper.completion import candidates
from flexserve.stepper.kinds import KINDS
from flexserve.stepper.session import Session
from monitor import abi

from .run import do, session

FAR = {"save", "load", "continue", "goto", "prev", "reverse-continue"}  # write files, or go a long way each time
WORDS = st.one_of(
    st.sampled_from(
        [
            *("x0", "$pc", "sp", "elr_el3", "0x40200000", "0x0e000000", "0", "-1", "1", "3", "99999999999999999999999"),
            *("0xffffffffffffffff", "mem_lock", "gate_smc", "flexmem.c:45", "flexmem.c:99999", "phys", "smc", "page"),
            *(
                "event",
                "invariant",
                "x1>=",
                "pages>=3",
                "x9==1",
                "read",
                "write",
                "el0",
                "el2",
                "normal",
                "secure",
                "=",
            ),
            *("+", "-", "*", "0x40200000:8", "tzasc", "SCR", "v0", "v40", "\u00e9", "[", "%s", "\\"),
        ]
    ),
    st.sampled_from([*KINDS, *(call.name for call in abi.CALLS)]),
    st.text(max_size=6),
)
NAMES = st.one_of(
    st.sampled_from([name for one in COMMANDS for name in one.names if one.name not in FAR]), st.text(max_size=5)
)
LINES = st.builds(lambda name, words: " ".join([name, *words]), NAMES, st.lists(WORDS, max_size=4))


@pytest.fixture(scope="module")
def opened() -> Iterator[Session]:
    one = session()
    do(one, "next switch 2")
    yield one
    one.close()


def refusal(opened: Session, line: str) -> str:
    """Empty if there was an answer."""
    try:
        json.dumps(perform(opened, line).data)
    except Refused as refused:
        return str(refused) or "\n"
    except Quit:
        pass
    return ""


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(LINES)
def test_nonsense_is_refused_in_one_line(opened: Session, line: str) -> None:
    candidates(opened, line)
    assert "\n" not in refusal(opened, line)
    if len(opened.breakpoints) > 8:
        opened.breakpoints.clear()


def test_more_breakpoints_than_there_is_room_for(opened: Session) -> None:
    opened.breakpoints.clear()
    do(opened, "goto 1000")
    for index in range(20):
        do(opened, f"watch phys {0x4020_0000 + 8 * index:#x} 8")
    with pytest.raises(Refused, match="no room for another watchpoint"):
        do(opened, "continue")
    do(opened, "delete")
    assert do(opened, "step").data["stop"] == "step"
