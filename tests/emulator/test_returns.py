"""Illegal exception returns (Arm ARM D1.11.4): the next instruction meets an Illegal Execution state exception."""

from __future__ import annotations

import pytest

from tests.emulator.bare import DAIF, EL3H, HCR_RW, SCR_HCE, SCR_NS, SCR_RW, Guest

ILLEGAL_STATE = 0x3A00_0000
AARCH32_EL0, IL = 0b10000, 1 << 20
RETURN = """
back: eret
landing: mov x9, #1
    wfi
"""


def returned(level: int, spsr: int) -> Guest:
    guest = Guest(RETURN)
    guest.enter("back", level)
    guest[f"SPSR_EL{level}"] = spsr
    guest[f"ELR_EL{level}"] = guest.at("landing")
    return guest


@pytest.mark.parametrize(
    ("level", "spsr"),
    [
        (1, DAIF | 0b1001),  # to a higher level
        (1, DAIF | 0b0001),  # a mode that does not exist
        (2, DAIF | 0b0010),
        (3, DAIF | 0b1111),
        (2, DAIF | AARCH32_EL0),  # our core has no AArch32
        (1, DAIF | IL | 0b0101),  # legal, but restores IL
    ],
)
def test_an_illegal_return_is_taken_at_the_level_that_tried(level: int, spsr: int) -> None:
    guest = returned(level, spsr)
    assert guest.vector() == (level, 0x200)
    assert guest[f"ESR_EL{level}"] == ILLEGAL_STATE
    assert guest[f"ELR_EL{level}"] == guest.at("landing")
    assert guest[f"SPSR_EL{level}"] & IL
    assert guest.core.x[9] != 1, "the instruction at the target was executed"


def test_a_legal_return_goes_on() -> None:
    guest = returned(2, DAIF | 0b0101)
    guest.machine.run()
    assert guest.core.level == 1
    assert guest.core.x[9] == 1


@pytest.mark.parametrize(
    ("scr", "hcr"),
    [(SCR_NS | SCR_HCE, HCR_RW), (SCR_NS | SCR_RW, HCR_RW | 1 << 27), (SCR_NS | SCR_RW, 0)],
    ids=["SCR.RW", "HCR.TGE", "HCR.RW"],
)
def test_what_makes_a_prepared_return_illegal_is_seen(scr: int, hcr: int) -> None:
    """SPSR_EL3 is written first, and is legal then."""
    guest = Guest(
        "prepare: msr spsr_el3, x0; msr elr_el3, x1; msr hcr_el2, x2; msr scr_el3, x3; isb; eret; landing: wfi"
    )
    guest.enter("prepare", 3)
    for index, value in enumerate((DAIF | 0b0101, guest.at("landing"), hcr, scr)):
        guest.core.x[index] = value
    assert guest.vector() == (3, 0x200)
    assert guest["ESR_EL3"] == ILLEGAL_STATE
    assert guest["SPSR_EL3"] == DAIF | IL | EL3H


def test_steps_count_the_return_but_not_the_exception() -> None:
    guest = returned(1, DAIF | AARCH32_EL0)
    before = guest.machine.instructions
    guest.vector()
    assert guest.machine.instructions - before == 2  # ERET, and the WFI at the vector
