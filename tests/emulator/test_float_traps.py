"""Floating point and SIMD are trapped by CPACR_EL1, CPTR_EL2 and CPTR_EL3, at exactly the instruction."""

from __future__ import annotations

import pytest

from emulator.native import lib
from tests.emulator.bare import Guest

TRAPPED = 0x1FE0_0000
FPEN, TFP = 20, 1 << 10
BLOCK = "block: add x1, x1, #1; add x1, x1, #1; fmov d0, x1; add x1, x1, #1; wfi"


def set_register(guest: Guest, name: str, value: int) -> None:
    encoding = {"CPACR_EL1": (3, 0, 1, 0, 2), "CPTR_EL2": (3, 4, 1, 1, 2), "CPTR_EL3": (3, 6, 1, 1, 2)}[name]
    lib.core_write_sysreg(guest.machine.native, *encoding, value)


@pytest.mark.parametrize(
    ("register", "value", "level", "vector"),
    [
        ("CPACR_EL1", 0, 0, (1, 0x400)),
        ("CPACR_EL1", 0, 1, (1, 0x200)),
        ("CPACR_EL1", 1 << FPEN, 0, (1, 0x400)),
        ("CPTR_EL2", TFP, 1, (2, 0x400)),
        ("CPTR_EL2", TFP, 2, (2, 0x200)),
        ("CPTR_EL3", TFP, 2, (3, 0x400)),
        ("CPTR_EL3", TFP, 3, (3, 0x200)),
    ],
)
def test_the_trap_is_taken_inside_the_block(register: str, value: int, level: int, vector: tuple[int, int]) -> None:
    guest = Guest(BLOCK)
    guest["CPACR_EL1"] = 3 << FPEN
    set_register(guest, register, value)
    guest.enter("block", level)
    guest.core.x[1] = 0
    assert guest.vector() == vector
    assert guest[f"ESR_EL{vector[0]}"] == TRAPPED
    assert guest[f"ELR_EL{vector[0]}"] == guest.at("block") + 8
    assert guest.core.x[1] == 2


@pytest.mark.parametrize(("value", "level"), [(3 << FPEN, 0), (1 << FPEN, 1), (0, 2), (0, 3)])
def test_what_is_not_trapped_is_executed(value: int, level: int) -> None:
    guest = Guest(BLOCK)
    set_register(guest, "CPTR_EL2", 0)
    guest["CPACR_EL1"] = value
    guest.enter("block", level)
    guest.core.x[1] = 0
    guest.machine.run()
    assert guest.core.x[1] == 3


def test_a_level_that_enables_it_goes_on() -> None:
    guest = Guest("enable: fmov d0, x1; mov x2, #0x300000; msr cpacr_el1, x2; isb; fmov d1, x1; wfi")
    guest["CPACR_EL1"] = 0
    guest.enter("enable", 1)
    assert guest.vector() == (1, 0x200)
    guest.core.pc = guest.at("enable") + 4
    guest.core.x[1] = 5
    guest.machine.run()
    assert guest.core.read_vector(1) == 5


def test_code_that_changes_is_looked_at_again() -> None:
    """A block that was free of floating point no longer is."""
    guest = Guest("loop: add x1, x1, #1; nop; wfi")
    guest["CPACR_EL1"] = 0
    for _ in range(3):
        guest.enter("loop", 1)
        guest.machine.run()
    fmov = bytes.fromhex("2000679e")  # fmov d0, x1
    guest.machine.write_physical(guest.at("loop") + 4, fmov)
    guest.enter("loop", 1)
    assert guest.vector() == (1, 0x200)
    assert guest["ESR_EL1"] == TRAPPED
