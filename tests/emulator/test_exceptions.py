"""Exception entry as the Arm ARM has it: routing, syndrome, return address, banked stack pointers, vector offset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.machine import Lost, StopReason
from tests.emulator.bare import DAIF, HCR_RW, SCR_HCE, SCR_NS, SCR_RW, VECTORS, Guest

CURRENT_SP0, CURRENT_SPX, LOWER = 0x000, 0x200, 0x400
SERROR = 0x180
IL = 1 << 25
UNKNOWN, WFX, SVC, HVC, SMC, PC_ALIGNMENT, BRK = (code << 26 | IL for code in (0, 0x01, 0x15, 0x16, 0x17, 0x22, 0x3C))
WFX_CONDITION = 1 << 24 | 0b1110 << 20  # A64 has no conditional WFI: CV and "always"
SCR_SMD, SCR_TWI = 1 << 7, 1 << 12
HCR_TGE, HCR_TSC, HCR_TWI = 1 << 27, 1 << 19, 1 << 13
NTWI = 1 << 16

SOURCE = """
smc_here: smc #0x1234
hvc_here: hvc #0x55
svc_here: svc #0x77
brk_here: brk #0xabc
udf_here: udf #0
hlt_here: hlt #1
wfi_here: wfi
smc_once: smc #0
          wfi
misaligned: adr x0, misaligned + 2
            br  x0
odd_return: adr x0, misaligned + 1
            msr elr_el1, x0
            mov x0, #0x3c5
            msr spsr_el1, x0
            eret
stack_zero: mov x0, #0x1110
            mov sp, x0
            msr spsel, #0
            mov x0, #0x2220
            mov sp, x0
            svc #0
flags:  mov x0, #1
        cmp x0, #1
        svc #0
counter: mrs x0, cntpct_el0
         mrs x1, cntvct_el0
         wfi
empty_vectors = 0x50000000      // nothing is there
.balign 0x800
return_vectors:
    .space 0x400
    mov x1, sp
    eret
"""


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest(SOURCE)
    yield guest
    guest.machine.close()


@pytest.mark.parametrize(
    ("symbol", "level", "scr", "hcr", "taken_to", "offset", "syndrome", "returns_behind"),
    [
        ("smc_here", 1, SCR_NS, 0, 3, LOWER, SMC | 0x1234, True),
        ("smc_here", 1, 0, 0, 3, LOWER, SMC | 0x1234, True),
        ("smc_here", 2, SCR_NS, 0, 3, LOWER, SMC | 0x1234, True),
        ("smc_here", 3, SCR_NS, 0, 3, CURRENT_SPX, SMC | 0x1234, True),
        ("smc_here", 0, SCR_NS, 0, 1, LOWER, UNKNOWN, False),
        ("smc_here", 1, SCR_NS | SCR_SMD, 0, 1, CURRENT_SPX, UNKNOWN, False),
        ("smc_here", 1, SCR_NS, HCR_TSC, 2, LOWER, SMC | 0x1234, False),
        ("smc_here", 1, SCR_NS | SCR_SMD, HCR_TSC, 2, LOWER, SMC | 0x1234, False),
        ("smc_here", 1, 0, HCR_TSC, 3, LOWER, SMC | 0x1234, True),
        ("smc_here", 0, SCR_NS, HCR_TSC, 1, LOWER, UNKNOWN, False),
        ("hvc_here", 1, SCR_NS | SCR_HCE, 0, 2, LOWER, HVC | 0x55, True),
        ("hvc_here", 2, SCR_NS | SCR_HCE, 0, 2, CURRENT_SPX, HVC | 0x55, True),
        ("hvc_here", 3, SCR_NS | SCR_HCE, 0, 3, CURRENT_SPX, HVC | 0x55, True),
        ("hvc_here", 1, SCR_NS, 0, 1, CURRENT_SPX, UNKNOWN, False),
        ("hvc_here", 2, SCR_NS, 0, 2, CURRENT_SPX, UNKNOWN, False),
        ("hvc_here", 3, SCR_NS, 0, 3, CURRENT_SPX, UNKNOWN, False),
        ("hvc_here", 1, SCR_HCE, 0, 1, CURRENT_SPX, UNKNOWN, False),
        ("hvc_here", 0, SCR_NS | SCR_HCE, 0, 1, LOWER, UNKNOWN, False),
        ("svc_here", 0, SCR_NS, 0, 1, LOWER, SVC | 0x77, True),
        ("svc_here", 0, SCR_NS, HCR_TGE, 2, LOWER, SVC | 0x77, True),
        ("svc_here", 0, 0, HCR_TGE, 1, LOWER, SVC | 0x77, True),
        ("svc_here", 1, SCR_NS, 0, 1, CURRENT_SPX, SVC | 0x77, True),
        ("svc_here", 2, SCR_NS, 0, 2, CURRENT_SPX, SVC | 0x77, True),
        ("svc_here", 3, SCR_NS, 0, 3, CURRENT_SPX, SVC | 0x77, True),
        ("brk_here", 0, SCR_NS, 0, 1, LOWER, BRK | 0xABC, False),
        ("brk_here", 1, 0, 0, 1, CURRENT_SPX, BRK | 0xABC, False),
        ("brk_here", 3, SCR_NS, 0, 3, CURRENT_SPX, BRK | 0xABC, False),
        ("udf_here", 0, SCR_NS, 0, 1, LOWER, UNKNOWN, False),
        ("udf_here", 0, SCR_NS, HCR_TGE, 2, LOWER, UNKNOWN, False),
        ("udf_here", 1, SCR_NS, 0, 1, CURRENT_SPX, UNKNOWN, False),
        ("udf_here", 2, SCR_NS, 0, 2, CURRENT_SPX, UNKNOWN, False),
        ("hlt_here", 1, SCR_NS, 0, 1, CURRENT_SPX, UNKNOWN, False),
        ("wfi_here", 0, SCR_NS, 0, 1, LOWER, WFX | WFX_CONDITION, False),  # SCTLR_EL1.nTWI is 0
        ("wfi_here", 0, SCR_NS, HCR_TGE, 2, LOWER, WFX | WFX_CONDITION, False),
        ("wfi_here", 1, SCR_NS, HCR_TWI, 2, LOWER, WFX | WFX_CONDITION, False),
        ("wfi_here", 1, SCR_NS | SCR_TWI, 0, 3, LOWER, WFX | WFX_CONDITION, False),
        ("wfi_here", 2, SCR_NS | SCR_TWI, HCR_TWI, 3, LOWER, WFX | WFX_CONDITION, False),
    ],
)
def test_an_instruction_that_causes_an_exception(
    guest: Guest,
    symbol: str,
    level: int,
    scr: int,
    hcr: int,
    taken_to: int,
    offset: int,
    syndrome: int,
    returns_behind: bool,
) -> None:
    guest["SCR_EL3"], guest["HCR_EL2"], guest["SCTLR_EL1"] = SCR_RW | scr, HCR_RW | hcr, 0
    guest.enter(symbol, level)
    assert guest.vector() == (taken_to, offset)
    assert guest[f"ESR_EL{taken_to}"] == syndrome
    assert guest[f"ELR_EL{taken_to}"] == guest.at(symbol) + (4 if returns_behind else 0)
    assert guest[f"SPSR_EL{taken_to}"] & ~0xF000_0000 == DAIF | level << 2 | (level > 0)


def test_wfi_at_el0_waits_when_it_is_not_trapped(guest: Guest) -> None:
    guest["SCTLR_EL1"] = NTWI
    guest.enter("wfi_here", 0)
    assert guest.machine.run().pc == guest.at("wfi_here")


@pytest.mark.parametrize(("symbol", "returns_to"), [("misaligned", "misaligned"), ("odd_return", "misaligned")])
def test_a_misaligned_program_counter_faults_before_anything_is_executed(
    guest: Guest, symbol: str, returns_to: str
) -> None:
    guest.enter(symbol, 1)
    assert guest.vector() == (1, CURRENT_SPX)
    wrong = guest.at(returns_to) + (2 if symbol == "misaligned" else 1)
    assert guest["ESR_EL1"] == PC_ALIGNMENT
    assert guest["FAR_EL1"] == guest["ELR_EL1"] == wrong


def test_entry_masks_everything_and_keeps_the_flags_in_spsr(guest: Guest) -> None:
    guest.enter("flags", 1, masked=0)
    assert guest.vector() == (1, CURRENT_SPX)
    assert guest["SPSR_EL1"] == 0b0110 << 28 | 0b0101
    assert guest.core.pstate & 0x3CF == DAIF | 0b0101


def test_entry_leaves_the_condition_flags_alone(guest: Guest) -> None:
    guest.enter("flags", 1)
    guest.vector()
    assert guest.core.pstate >> 28 == 0b0110


def test_entry_with_the_el0_stack_pointer_in_use_takes_the_first_vectors(guest: Guest) -> None:
    guest.enter("stack_zero", 1)
    assert guest.vector() == (1, CURRENT_SP0)
    assert guest["SPSR_EL1"] & 0xF == 0b0100
    assert guest.core.sp == 0x1110
    assert guest["SP_EL0"] == 0x2220


def test_a_round_trip_to_el3_swaps_the_stack_pointers_and_back(guest: Guest) -> None:
    guest["VBAR_EL3"] = guest.at("return_vectors")
    guest.core.sp = 0x3330  # EL3's own
    guest.enter("smc_once", 1)
    guest.core.sp = 0x1110
    assert guest.machine.run().pc == guest.at("smc_once") + 4
    assert guest.core.sp == 0x1110
    assert guest.core.x[1] == 0x3330


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_vector_table_that_faults_for_ever_is_lost(guest: Guest, level: int) -> None:
    guest[f"VBAR_EL{level}"] = 0x5000_0000
    guest.enter("svc_here", level)
    with pytest.raises(Lost, match=f"vector table of EL{level} faults for ever"):
        guest.machine.run()


def test_a_vector_table_in_a_loop_with_itself_is_lost(guest: Guest) -> None:
    """The vector's first instruction is undefined: no instruction is ever executed."""
    guest["VBAR_EL1"] = guest.at("return_vectors") - 0x200  # .space is zeros, zeros are UDF
    guest.enter("svc_here", 1)
    with pytest.raises(Lost):
        guest.machine.run()


def test_counters_read_at_el0_need_cntkctl(guest: Guest) -> None:
    guest["CNTKCTL_EL1"] = 0
    guest.enter("counter", 0)
    assert guest.vector() == (1, LOWER)
    guest["CNTKCTL_EL1"], guest["SCTLR_EL1"] = 0b11, NTWI
    guest.enter("counter", 0)
    assert guest.machine.run().reason is StopReason.WFI
    assert guest.core.x[1] == guest.core.x[0] + 1


def test_prelude_vectors_do_not_overlap() -> None:
    assert len(set(VECTORS.values())) == 3
