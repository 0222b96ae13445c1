"""Aborts of both stages, of the bus and of alignment: who takes them, with which syndrome, at which exact address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.events import Event, EventKind
from emulator.native import ffi, lib
from tests.emulator import bare
from tests.emulator.bare import CODE, Guest, PageTable

CURRENT, LOWER = 0x200, 0x400
SERROR = 0x180
IL = 1 << 25
FETCH_LOWER, FETCH_SAME, DATA_LOWER, DATA_SAME, SERROR_CLASS = (
    code << 26 | IL for code in (0x20, 0x21, 0x24, 0x25, 0x2F)
)
WRITE, ON_WALK, CACHE = 1 << 6, 1 << 7, 1 << 8
TRANSLATION, ACCESS_FLAG, PERMISSION, EXTERNAL, EXTERNAL_ON_WALK, ALIGNMENT = 0x04, 0x08, 0x0C, 0x10, 0x14, 0x21
SCR_EA = 1 << 3
HCR_VM, HCR_AMO = 1 << 0, 1 << 5

PAGE = 0x10_0000_0000  # mapped; the next one is not
FRAME = 0x4210_0000
GUARD = PAGE + 0x1000
READ_ONLY, PRIVILEGED, WITHOUT_FLAG, NEVER_EXECUTED, USER = (PAGE + 0x1_0000 * index for index in range(1, 6))
STAGE2_TABLES = 0x4320_0000

SOURCE = """
// x0 is the address, x2 an index
ldr_x:      ldr x1, [x0]
ldr_w:      ldr w1, [x0]
ldrh_w:     ldrh w1, [x0]
ldrb_w:     ldrb w1, [x0]
ldrsw_x:    ldrsw x1, [x0]
ldr_offset: ldr x1, [x0, #16]
ldur_x:     ldur x1, [x0, #-3]
ldr_index:  ldr x1, [x0, x2, lsl #3]
ldr_sxtw:   ldr x1, [x0, w2, sxtw #3]
ldr_pre:    ldr x1, [x0, #8]!
ldr_post:   ldr x1, [x0], #8
ldp_x:      ldp x1, x3, [x0]
ldp_post:   ldp x1, x3, [x0], #16
ldpsw_x:    ldpsw x1, x3, [x0]
ldnp_x:     ldnp x1, x3, [x0]
ldr_q:      ldr q1, [x0]
ldp_q:      ldp q1, q3, [x0]
ld1_four:   ld1 {v0.16b - v3.16b}, [x0]
ld1_lane:   ld1 {v0.s}[1], [x0]
ldar_x:     ldar x1, [x0]
ldxr_x:     ldxr x1, [x0]
ldxp_x:     ldxp x1, x3, [x0]
ldtr_x:     ldtr x1, [x0]
ldtrsb_w:   ldtrsb w1, [x0]
str_x:      str x1, [x0]
strb_w:     strb w1, [x0]
stur_x:     stur x1, [x0, #-3]
str_pre:    str x1, [x0, #-8]!
stp_x:      stp x1, x3, [x0]
str_q:      str q1, [x0]
stp_q:      stp q1, q3, [x0]
st1_two:    st1 {v0.16b, v1.16b}, [x0]
stlr_x:     stlr x1, [x0]
sttr_x:     sttr x1, [x0]
zero_block: dc zva, x0
prefetch:   prfm pldl1keep, [x0]
            wfi
go:         br x0
stxr_pair:  ldxr x1, [x0]
            stxr w3, x1, [x0]
            wfi
sp_load:    mov sp, x0
            ldr x1, [sp, #8]
literal:    ldr x1, somewhere
at_s1e1r:   at s1e1r, x0
            isb
            mrs x1, par_el1
            wfi
at_s1e1w:   at s1e1w, x0
            isb
            mrs x1, par_el1
            wfi
at_s1e0r:   at s1e0r, x0
            isb
            mrs x1, par_el1
            wfi
at_s12e1r:  at s12e1r, x0
            isb
            mrs x1, par_el1
            wfi
at_s12e0w:  at s12e0w, x0
            isb
            mrs x1, par_el1
            wfi
at_s1e3r:   at s1e3r, x0
            isb
            mrs x1, par_el1
            wfi
store_then_unmask:
            str x1, [x0]
            nop
            nop
unmask:     msr daifclr, #4
behind_unmask:
            nop
            wfi
store_then_drop:                // from EL3 to EL1 with everything unmasked
            str x1, [x0]
            mov x3, #5
            msr spsr_el3, x3
            adr x3, dropped
            msr elr_el3, x3
before_drop: eret
dropped:    nop
            wfi
load_twice: ldr x1, [x0]
            ldr q1, [x0]
            ldp x3, x4, [x0]
            str x1, [x0]
            wfi
somewhere = load_twice + 0x80000
"""


@pytest.fixture
def guest() -> Iterator[Guest]:
    """NS-EL1 with its MMU on; the code is at its physical address."""
    guest = Guest(SOURCE)
    table = PageTable(guest.machine)
    for page in range(CODE, CODE + 0x4000, 0x1000):
        table.map(page, page, bare.NORMAL)
    for va, flags in {
        PAGE: 0,
        READ_ONLY: bare.READ_ONLY,
        PRIVILEGED: 0,
        WITHOUT_FLAG: bare.AF,
        NEVER_EXECUTED: bare.PXN | bare.UXN,
        USER: bare.EL0,
    }.items():
        table.map(va, FRAME + (va - PAGE) // 0x10, bare.NORMAL ^ flags if flags == bare.AF else bare.NORMAL | flags)
    guest["MAIR_EL1"], guest["TCR_EL1"], guest["TTBR0_EL1"] = bare.MAIR, bare.TCR_EL1, bare.TABLES
    guest["SCTLR_EL1"] = 1
    yield guest
    guest.machine.close()


def with_stage2(guest: Guest, *, hcr: int = HCR_VM) -> PageTable:
    """An identity map of the first 64 MiB of DRAM; the frames of the test's pages are mapped one by one."""
    table = PageTable(guest.machine, STAGE2_TABLES)
    for block in range(0x4000_0000, 0x4400_0000, 0x20_0000):
        if block != FRAME & ~0x1F_FFFF:
            table.map(block, block, bare.STAGE2_RW, 0x20_0000)
    for page in range(CODE, CODE + 0x4000, 0x1000):
        table.map(page, page, bare.STAGE2_RW)
    guest["VTCR_EL2"], guest["VTTBR_EL2"], guest["HCR_EL2"] = bare.VTCR, STAGE2_TABLES, bare.HCR_RW | hcr
    return table


def deny(guest: Guest, address: int, *, allowed: str = "", bus_error: bool = True) -> None:
    bare.set_region(guest.machine, 1, address, address + 0xFFF, secure=allowed, normal=allowed)
    lib.tzasc_set_control(guest.machine.native, True, bus_error)


def frame(va: int) -> int:
    return FRAME + (va - PAGE) // 0x10


def run(guest: Guest, symbol: str, address: int, *, level: int = 1, index: int = 0) -> tuple[int, int]:
    guest.enter(symbol, level)
    guest.core.x[0], guest.core.x[2] = address, index
    return guest.vector()


# --- stage 1 ----------------------------------------------------------------------------------------------------------

LOADS = [
    *("ldr_x", "ldr_w", "ldrh_w", "ldrb_w", "ldrsw_x", "ldr_post", "ldp_x", "ldp_post", "ldpsw_x", "ldnp_x", "ldr_q"),
    *("ldp_q", "ld1_four", "ld1_lane", "ldar_x", "ldxr_x", "ldxp_x", "ldtr_x", "ldtrsb_w"),
]
STORES = ["str_x", "strb_w", "stp_x", "str_q", "stp_q", "st1_two", "stlr_x", "sttr_x", "zero_block"]


@pytest.mark.parametrize("symbol", LOADS + STORES)
def test_an_unmapped_page_faults_at_the_exact_address(guest: Guest, symbol: str) -> None:
    address = GUARD + 0x40
    assert run(guest, symbol, address) == (1, CURRENT)
    assert guest["ESR_EL1"] == DATA_SAME | TRANSLATION | 3 | (WRITE if symbol in STORES else 0)
    assert guest["FAR_EL1"] == address
    assert guest["ELR_EL1"] == guest.at(symbol)
    assert guest.core.x[0] == address  # no write-back


@pytest.mark.parametrize(
    ("symbol", "base", "index", "far"),
    [
        ("ldr_x", GUARD - 4, 0, GUARD),
        ("ldr_w", GUARD - 1, 0, GUARD),
        ("ldr_offset", GUARD - 16, 0, GUARD),
        ("ldr_offset", GUARD - 20, 0, GUARD),
        ("ldur_x", GUARD + 3, 0, GUARD),
        ("ldur_x", GUARD, 0, GUARD),
        ("ldr_index", GUARD - 0x100, 0x20, GUARD),
        ("ldr_index", GUARD - 0x100, 0x21, GUARD + 8),
        ("ldr_sxtw", GUARD + 0x80, -0xF & (1 << 32) - 1, GUARD + 8),
        ("ldr_pre", GUARD - 8, 0, GUARD),
        ("ldp_x", GUARD - 8, 0, GUARD),
        ("ldp_q", GUARD - 24, 0, GUARD),
        ("ldr_q", GUARD - 8, 0, GUARD),
        ("ld1_four", GUARD - 40, 0, GUARD),
        ("sp_load", GUARD + 0x70, 0, GUARD + 0x78),
        ("str_x", GUARD - 7, 0, GUARD),
        ("stur_x", GUARD - 4, 0, GUARD),
        ("str_pre", GUARD + 7, 0, GUARD),
        ("stp_x", GUARD - 8, 0, GUARD),
        ("stp_q", GUARD - 8, 0, GUARD),
        ("str_q", GUARD - 1, 0, GUARD),
        ("st1_two", GUARD - 16, 0, GUARD),
        ("zero_block", GUARD + 0x47, 0, GUARD + 0x47),  # FAR is what the register holds (Arm ARM, FAR_EL1)
    ],
)
def test_an_access_that_runs_into_a_page_faults_where_it_enters_it(
    guest: Guest, symbol: str, base: int, index: int, far: int
) -> None:
    assert run(guest, symbol, base, index=index) == (1, CURRENT)
    assert guest["ESR_EL1"] & 0x3F == TRANSLATION | 3
    assert guest["FAR_EL1"] == far
    assert guest["ELR_EL1"] == guest.at(symbol) + (4 if symbol == "sp_load" else 0)


def test_a_literal_load_faults_at_its_own_address(guest: Guest) -> None:
    assert run(guest, "literal", 0) == (1, CURRENT)
    assert guest["FAR_EL1"] == guest.at("somewhere")


def test_a_tagged_address_is_reported_with_its_tag(guest: Guest) -> None:
    guest["TCR_EL1"] = bare.TCR_EL1 | 1 << 37  # TBI0
    tag = 0xA5 << 56
    assert run(guest, "ldr_x", GUARD + 8 | tag) == (1, CURRENT)
    assert guest["FAR_EL1"] == GUARD + 8 | tag


def test_prefetch_never_faults(guest: Guest) -> None:
    guest.enter("prefetch", 1)
    guest.core.x[0] = GUARD
    assert guest.machine.run().pc == guest.at("prefetch") + 4


@pytest.mark.parametrize(
    ("symbol", "address", "syndrome"),
    [
        ("str_x", READ_ONLY, PERMISSION | 3 | WRITE),
        ("zero_block", READ_ONLY, PERMISSION | 3 | WRITE),
        ("stxr_pair", READ_ONLY, PERMISSION | 3 | WRITE),
        ("ldtr_x", PRIVILEGED, PERMISSION | 3),
        ("sttr_x", PRIVILEGED, PERMISSION | 3 | WRITE),
        ("ldr_x", WITHOUT_FLAG, ACCESS_FLAG | 3),
        ("ldr_x", 1 << 39, TRANSLATION | 0),
        ("str_x", 1 << 38, TRANSLATION | 1 | WRITE),
        ("ldr_x", PAGE + 0x20_0000, TRANSLATION | 2),
        ("ldxr_x", PAGE + 4, ALIGNMENT),
        ("ldxp_x", PAGE + 8, ALIGNMENT),
    ],
)
def test_a_data_abort_of_stage_1_stays_at_el1(guest: Guest, symbol: str, address: int, syndrome: int) -> None:
    assert run(guest, symbol, address) == (1, CURRENT)
    assert guest["ESR_EL1"] == DATA_SAME | syndrome
    assert guest["FAR_EL1"] == address


def test_unprivileged_forms_reach_what_el0_may_reach(guest: Guest) -> None:
    guest.machine.write_physical(frame(USER), b"12345678")
    guest.enter("ldtr_x", 1)
    guest.core.x[0] = USER
    guest.machine.run(guest.machine.instructions + 1)
    assert guest.core.x[1] == int.from_bytes(b"12345678", "little")


def test_unprivileged_forms_are_judged_anew_after_a_privileged_access(guest: Guest) -> None:
    guest.enter("ldr_x", 1)
    guest.core.x[0] = PRIVILEGED
    guest.machine.run(guest.machine.instructions + 1)
    guest.core.pc = guest.at("ldtr_x")
    assert guest.vector() == (1, CURRENT)
    assert guest["ESR_EL1"] == DATA_SAME | PERMISSION | 3


@pytest.mark.parametrize(
    ("address", "level", "offset", "syndrome"),
    [
        (GUARD + 8, 1, CURRENT, FETCH_SAME | TRANSLATION | 3),
        (NEVER_EXECUTED, 1, CURRENT, FETCH_SAME | PERMISSION | 3),
        (USER, 1, CURRENT, FETCH_SAME | PERMISSION | 3),  # writable at EL0
        (1 << 40, 1, CURRENT, FETCH_SAME | TRANSLATION | 0),
        (0x00F0_DEAD_0000_0000, 1, CURRENT, FETCH_SAME | TRANSLATION | 0),
    ],
)
def test_an_instruction_abort_of_stage_1(guest: Guest, address: int, level: int, offset: int, syndrome: int) -> None:
    assert run(guest, "go", address, level=level) == (1, offset)
    assert guest["ESR_EL1"] == syndrome
    assert guest["FAR_EL1"] == guest["ELR_EL1"] == address


def test_no_address_is_the_engines_own(guest: Guest) -> None:
    assert run(guest, "ldr_x", 0x00F0_DEAD_0000_0000) == (1, CURRENT)
    assert guest["ESR_EL1"] == DATA_SAME | TRANSLATION


def test_an_abort_from_el0_uses_the_lower_vectors(guest: Guest) -> None:
    assert run(guest, "ldr_x", PRIVILEGED, level=0) == (1, LOWER)
    assert guest["ESR_EL1"] == DATA_LOWER | PERMISSION | 3


# --- stage 2 ----------------------------------------------------------------------------------------------------------


def test_a_load_from_an_unmapped_ipa_is_taken_to_el2(guest: Guest) -> None:
    with_stage2(guest)
    assert run(guest, "ldp_x", PAGE + 0x123) == (2, LOWER)
    assert guest["ESR_EL2"] == DATA_LOWER | TRANSLATION | 3
    assert guest["FAR_EL2"] == PAGE + 0x123
    assert guest["HPFAR_EL2"] == FRAME >> 12 << 4
    assert guest["ELR_EL2"] == guest.at("ldp_x")


def test_a_store_to_a_read_only_ipa_is_a_permission_fault(guest: Guest) -> None:
    with_stage2(guest).map(FRAME, FRAME, bare.STAGE2 | bare.STAGE2_READ)
    assert run(guest, "stp_x", PAGE) == (2, LOWER)
    assert guest["ESR_EL2"] == DATA_LOWER | PERMISSION | 3 | WRITE
    assert guest["HPFAR_EL2"] == FRAME >> 12 << 4


def test_a_write_only_ipa_can_be_written_but_not_read(guest: Guest) -> None:
    with_stage2(guest).map(FRAME, FRAME, bare.STAGE2 | bare.STAGE2_WRITE)
    guest.enter("str_x", 1)
    guest.core.x[0] = PAGE
    guest.machine.run(guest.machine.instructions + 1)
    guest.core.pc = guest.at("ldp_x")
    assert guest.vector() == (2, LOWER)
    assert guest["ESR_EL2"] == DATA_LOWER | PERMISSION | 3


def test_a_fetch_from_an_execute_never_ipa_is_taken_to_el2(guest: Guest) -> None:
    with_stage2(guest).map(FRAME, FRAME, bare.STAGE2_RW | bare.STAGE2_XN)
    assert run(guest, "go", PAGE + 0x10) == (2, LOWER)
    assert guest["ESR_EL2"] == FETCH_LOWER | PERMISSION | 3
    assert guest["FAR_EL2"] == PAGE + 0x10
    assert guest["HPFAR_EL2"] == FRAME >> 12 << 4


def test_a_stage_2_fault_on_a_stage_1_walk_names_the_table(guest: Guest) -> None:
    stage2 = with_stage2(guest)
    entry = PageTable(guest.machine).entry(PAGE, 3)
    stage2.unmap(entry, 2)
    for page in range(bare.TABLES, bare.TABLES + 0x20_0000, 0x1000):
        if page != entry & ~0xFFF:
            stage2.map(page, page, bare.STAGE2_RW)
    assert run(guest, "str_x", PAGE) == (2, LOWER)
    assert guest["ESR_EL2"] & ~WRITE == DATA_LOWER | TRANSLATION | 3 | ON_WALK
    assert guest["FAR_EL2"] == PAGE
    assert guest["HPFAR_EL2"] == entry >> 12 << 4


def test_a_simple_load_tells_el2_what_it_was(guest: Guest) -> None:
    """ISV: access size, sign extension, register and its width (Arm ARM, ESR_EL2, ISS for a data abort)."""
    with_stage2(guest)
    assert run(guest, "ldrsw_x", PAGE) == (2, LOWER)
    assert guest["ESR_EL2"] == DATA_LOWER | TRANSLATION | 3 | 1 << 24 | 2 << 22 | 1 << 21 | 1 << 16 | 1 << 15


@pytest.mark.parametrize("symbol", ["ldr_post", "ldp_x", "ldr_q", "ldxr_x", "zero_block"])
def test_other_loads_and_stores_do_not(guest: Guest, symbol: str) -> None:
    with_stage2(guest)
    assert run(guest, symbol, PAGE) == (2, LOWER)
    assert guest["ESR_EL2"] & ~WRITE == DATA_LOWER | TRANSLATION | 3


# --- AT ---------------------------------------------------------------------------------------------------------------

PAR_NORMAL_WRITE_BACK = 0xFF << 56 | 1 << 11 | 1 << 9 | 0b11 << 7


def translated(guest: Guest, symbol: str, address: int, level: int) -> int:
    guest.enter(symbol, level)
    guest.core.x[0] = address
    assert guest.machine.run().pc == guest.at(symbol) + 12
    return guest.core.x[1]


def fault(status: int, *, stage2: bool = False, on_walk: bool = False) -> int:
    return 1 | status << 1 | on_walk << 8 | stage2 << 9 | 1 << 11


def test_at_answers_in_par(guest: Guest) -> None:
    assert translated(guest, "at_s1e1r", PAGE + 0x123, 1) == frame(PAGE) | PAR_NORMAL_WRITE_BACK
    assert translated(guest, "at_s1e1w", READ_ONLY, 1) == fault(PERMISSION | 3)
    assert translated(guest, "at_s1e0r", PAGE, 2) == fault(PERMISSION | 3)
    assert translated(guest, "at_s1e1r", GUARD, 3) == fault(TRANSLATION | 3)


def test_at_of_stage_1_answers_with_an_ipa(guest: Guest) -> None:
    with_stage2(guest)
    assert translated(guest, "at_s1e1r", PAGE, 1) == frame(PAGE) | PAR_NORMAL_WRITE_BACK


def test_at_of_both_stages_answers_with_pa_or_stage_2_fault(guest: Guest) -> None:
    stage2 = with_stage2(guest)
    assert translated(guest, "at_s12e1r", PAGE, 2) == fault(TRANSLATION | 3, stage2=True)
    stage2.map(FRAME, 0x4240_0000, bare.STAGE2_RW)
    assert translated(guest, "at_s12e1r", PAGE, 2) & 0xFFFF_FFFF_F000 == 0x4240_0000
    assert translated(guest, "at_s12e0w", USER, 3) == fault(TRANSLATION | 3, stage2=True)


def without_stage1_table(guest: Guest) -> int:
    """Takes the level 3 table of PAGE away from stage 2: where its descriptor lies."""
    stage2 = with_stage2(guest)
    entry = PageTable(guest.machine).entry(PAGE, 3)
    stage2.unmap(entry, 2)
    for page in range(bare.TABLES, bare.TABLES + 0x20_0000, 0x1000):
        if page != entry & ~0xFFF:
            stage2.map(page, page, bare.STAGE2_RW)
    return entry


def test_at_from_el1_takes_a_stage_2_fault_on_the_walk_to_el2(guest: Guest) -> None:
    entry = without_stage1_table(guest)
    assert run(guest, "at_s1e1r", PAGE + 8) == (2, LOWER)
    assert guest["ESR_EL2"] == DATA_LOWER | TRANSLATION | 3 | ON_WALK | CACHE | WRITE
    assert guest["FAR_EL2"] == PAGE + 8
    assert guest["HPFAR_EL2"] == entry >> 12 << 4
    assert guest["ELR_EL2"] == guest.at("at_s1e1r")


def test_at_from_el2_answers_a_stage_2_fault_on_the_walk_in_par(guest: Guest) -> None:
    without_stage1_table(guest)
    assert translated(guest, "at_s1e1r", PAGE, 2) == fault(TRANSLATION | 3, stage2=True, on_walk=True)


def test_at_takes_an_external_abort_on_the_walk(guest: Guest) -> None:
    deny(guest, PageTable(guest.machine).entry(PAGE, 3) & ~0xFFF)
    assert run(guest, "at_s1e1r", PAGE) == (1, CURRENT)
    assert guest["ESR_EL1"] == DATA_SAME | EXTERNAL_ON_WALK | 3 | CACHE | WRITE
    assert guest["FAR_EL1"] == PAGE


# --- the bus ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", [name for name in LOADS if not name.startswith("ldt")])
def test_a_denied_load_is_a_synchronous_external_abort(guest: Guest, symbol: str) -> None:
    deny(guest, FRAME)
    assert run(guest, symbol, PAGE + 0x40) == (1, CURRENT)
    assert guest["ESR_EL1"] == DATA_SAME | EXTERNAL
    assert guest["FAR_EL1"] == PAGE + 0x40


def test_a_denied_fetch_is_a_synchronous_external_abort(guest: Guest) -> None:
    deny(guest, FRAME)
    assert run(guest, "go", PAGE) == (1, CURRENT)
    assert guest["ESR_EL1"] == FETCH_SAME | EXTERNAL
    assert guest["FAR_EL1"] == PAGE


def test_a_denied_descriptor_is_an_external_abort_on_the_walk(guest: Guest) -> None:
    deny(guest, PageTable(guest.machine).entry(PAGE, 2) & ~0xFFF)
    assert run(guest, "ldr_x", PAGE) == (1, CURRENT)
    assert guest["ESR_EL1"] == DATA_SAME | EXTERNAL_ON_WALK | 2
    assert guest["FAR_EL1"] == PAGE


@pytest.mark.parametrize("symbol", ["ldr_x", "go"])
def test_external_aborts_go_to_el3_with_ea(guest: Guest, symbol: str) -> None:
    guest["SCR_EL3"] = guest["SCR_EL3"] | SCR_EA
    deny(guest, FRAME)
    assert run(guest, symbol, PAGE) == (3, LOWER)
    assert guest["ESR_EL3"] == (DATA_LOWER if symbol == "ldr_x" else FETCH_LOWER) | EXTERNAL
    assert guest["FAR_EL3"] == PAGE


@pytest.mark.parametrize(("ea", "taken_to"), [(0, 2), (SCR_EA, 3)])
def test_a_denied_stage_2_descriptor_goes_to_el2_or_with_ea_to_el3(guest: Guest, ea: int, taken_to: int) -> None:
    stage2 = with_stage2(guest)
    stage2.map(FRAME, FRAME, bare.STAGE2_RW)
    guest["SCR_EL3"] = guest["SCR_EL3"] | ea
    guest.enter("ldr_x", 1)
    guest.core.x[0] = PAGE
    deny(guest, stage2.entry(FRAME, 3) & ~0xFFF)
    assert guest.vector() == (taken_to, LOWER)
    assert guest[f"ESR_EL{taken_to}"] & 0x3F == EXTERNAL_ON_WALK | 3


def test_one_denied_access_is_one_denial(guest: Guest) -> None:
    denials: list[Event] = []
    guest.machine.events.listen([EventKind.DENIED], denials.append)
    deny(guest, FRAME)
    run(guest, "ldr_x", PAGE + 0x20)
    assert [event.args[0] for event in denials] == [FRAME + 0x20]
    failure = ffi.new("struct tzasc_failure *")
    lib.tzasc_failure(guest.machine.native, failure)
    assert failure.latched and not failure.overrun
    assert failure.address == FRAME + 0x20
    assert failure.non_secure and failure.privileged and not failure.write


@pytest.mark.parametrize("page", [FRAME, FRAME + 0x1000])
def test_denied_without_an_error_reads_zeros_and_drops_writes(guest: Guest, page: int) -> None:
    """Also where only the second half of an access lies in the denied page."""
    stage1 = PageTable(guest.machine)
    stage1.map(GUARD, FRAME + 0x1000, bare.NORMAL)
    guest.machine.write_physical(FRAME, bytes([0xAA]) * 0x2000)
    deny(guest, page, bus_error=False)
    guest.enter("load_twice", 1)
    guest.core.x[0] = GUARD - 4
    assert guest.machine.run().pc == guest.at("load_twice") + 16
    seen = 0xAAAA_AAAA_0000_0000 if page == FRAME else 0xAAAA_AAAA
    assert guest.core.x[1] == seen
    assert guest.core.read_vector(1) == (((1 << 96) // 0xFF * 0xAA << 32) if page == FRAME else 0xAAAA_AAAA)
    assert guest.core.x[4] == (0xAAAA_AAAA_AAAA_AAAA if page == FRAME else 0)
    kept = guest.machine.read_physical(page, 0x1000)
    assert kept == bytes([0xAA]) * 0x1000


# --- SError -----------------------------------------------------------------------------------------------------------


def test_a_denied_store_is_an_serror(guest: Guest) -> None:
    deny(guest, FRAME)
    guest.enter("str_x", 1, masked=0)
    guest.core.x[0] = PAGE
    assert guest.vector() == (1, CURRENT | SERROR)
    assert guest["ESR_EL1"] == SERROR_CLASS
    assert guest["ELR_EL1"] == guest.at("str_x") + 4


def test_a_masked_serror_stays_pending_until_it_is_unmasked(guest: Guest) -> None:
    deny(guest, FRAME)
    assert run(guest, "store_then_unmask", PAGE) == (1, CURRENT | SERROR)
    assert guest["ELR_EL1"] == guest.at("behind_unmask")


@pytest.mark.parametrize(("scr", "hcr", "taken_to"), [(SCR_EA, 0, 3), (SCR_EA, HCR_AMO, 3), (0, HCR_AMO, 2)])
def test_an_serror_that_is_routed_upwards_cannot_be_masked_below(
    guest: Guest, scr: int, hcr: int, taken_to: int
) -> None:
    guest["SCR_EL3"], guest["HCR_EL2"] = guest["SCR_EL3"] | scr, bare.HCR_RW | hcr
    deny(guest, FRAME)
    assert run(guest, "str_x", PAGE) == (taken_to, LOWER | SERROR)
    assert guest[f"ESR_EL{taken_to}"] == SERROR_CLASS


def test_an_serror_of_el3_waits_for_the_level_that_takes_it(guest: Guest) -> None:
    """EA=0: EL3 takes no SError; it is taken at EL1 once that is entered."""
    deny(guest, FRAME)
    assert run(guest, "store_then_drop", FRAME, level=3) == (1, CURRENT | SERROR)
    assert guest["ELR_EL1"] == guest.at("dropped")


def test_an_serror_of_el3_is_taken_there_with_ea(guest: Guest) -> None:
    guest["SCR_EL3"] = guest["SCR_EL3"] | SCR_EA
    deny(guest, FRAME)
    guest.enter("store_then_unmask", 3)
    guest.core.x[0] = FRAME
    assert guest.vector() == (3, CURRENT | SERROR)
    assert guest["ELR_EL3"] == guest.at("behind_unmask")
