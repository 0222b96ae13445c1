"""Rules of translation and of TLB maintenance one by one; each answer is also the model's (translation_model.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from emulator.native import ffi, lib
from tests.emulator import bare
from tests.emulator.bare import Guest, PageTable
from tests.emulator.test_translation_model import Twins, twins
from tests.emulator.translation_model import Access, Result

STAGE1, STAGE2, STAGE2_B = (DRAM_BASE + 0x10_0000 * index for index in range(1, 4))
OLD, NEW = DRAM_BASE + 0x80_0000, DRAM_BASE + 0x81_0000
VA = 0x12_3456_7000
PAGE_OPERAND = VA >> 12
NOT_GLOBAL = 1 << 11
RIGHTS = bare.NORMAL
SECURE, NORMAL = bare.SCR_RW, bare.SCR_RW | bare.SCR_NS
PERMISSION, TRANSLATION, ADDRESS_SIZE, EXTERNAL_ON_WALK = 0x0C, 0x04, 0x00, 0x14


@pytest.fixture
def pair() -> Iterator[Twins]:
    """NS-EL1 with stage 1 on, ASID 1, VMID 1."""
    with twins() as pair:
        pair.set_register("SCR_EL3", NORMAL)
        pair.set_register("TCR_EL1", bare.TCR_EL1 | 1 << 36)
        pair.set_register("TTBR0_EL1", STAGE1 | 1 << 48)
        pair.set_register("VTCR_EL2", bare.VTCR)
        pair.set_register("VTTBR_EL2", STAGE2 | 1 << 48)
        pair.set_register("SCTLR_EL1", 1)
        yield pair


def stage1(pair: Twins, base: int = STAGE1) -> PageTable:
    return PageTable(pair.machine, base)


def stage2(pair: Twins, base: int = STAGE2) -> PageTable:
    """On, with an identity map of the pages that hold stage-1 tables."""
    table = PageTable(pair.machine, base)
    for page in range(STAGE1, STAGE1 + 0x8000, PAGE_SIZE):
        table.map(page, page, bare.STAGE2_RW)
    pair.set_register("HCR_EL2", bare.HCR_RW | 1)
    return table


def read(pair: Twins, va: int = VA, level: int = 1) -> int | None:
    """Where a read of ``va`` ends up; None: nowhere."""
    result = pair.probe(va, Access.READ, level)
    return result.physical if result.allowed else None


def refused(status: int, *, ipa: int | None = None, on_stage1_walk: bool = False) -> Result:
    return Result(allowed=False, status=status, stage2=ipa is not None, ipa=ipa or 0, on_stage1_walk=on_stage1_walk)


# --- entries stay until a TLBI covers them ----------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["VMALLE1", "VAE1", "VAAE1", "VALE1", "VAALE1", "ASIDE1", "ALLE1", "VMALLS12E1"])
def test_a_changed_descriptor_shows_only_after_a_tlbi(pair: Twins, operation: str) -> None:
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS | NOT_GLOBAL)
    assert read(pair) == OLD
    table.map(VA, NEW, RIGHTS | NOT_GLOBAL)
    assert read(pair) == OLD
    pair.tlbi(operation, PAGE_OPERAND | 1 << 48)
    assert read(pair) == NEW


@pytest.mark.parametrize(
    ("operation", "operand"),
    [
        ("VAE1", PAGE_OPERAND + 1 | 1 << 48),
        ("VAE1", PAGE_OPERAND | 2 << 48),
        ("ASIDE1", 2 << 48),
        ("IPAS2E1", OLD >> 12),
        ("ALLE2", 0),
        ("ALLE3", 0),
        ("VAE3", PAGE_OPERAND),
    ],
)
def test_a_tlbi_that_does_not_cover_an_entry_leaves_it(pair: Twins, operation: str, operand: int) -> None:
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS | NOT_GLOBAL)
    assert read(pair) == OLD
    table.unmap(VA)
    pair.tlbi(operation, operand)
    assert read(pair) == OLD


def test_a_fault_is_never_remembered(pair: Twins) -> None:
    assert read(pair) is None
    stage1(pair).map(VA, NEW, RIGHTS)
    assert read(pair) == NEW


@pytest.mark.parametrize("operation", ["ALLE1", "VMALLS12E1", "VMALLE1", "VAAE1"])
def test_a_tlbi_at_el3_reaches_the_world_that_scr_names(pair: Twins, operation: str) -> None:
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS)
    assert read(pair) == OLD
    table.unmap(VA)
    pair.set_register("SCR_EL3", SECURE)
    pair.tlbi(operation, PAGE_OPERAND)
    pair.set_register("SCR_EL3", NORMAL)
    assert read(pair) == OLD
    pair.tlbi(operation, PAGE_OPERAND)
    assert read(pair) is None


def test_the_worlds_have_entries_of_their_own(pair: Twins) -> None:
    stage1(pair).map(VA, OLD, RIGHTS)
    assert read(pair) == OLD
    stage1(pair).map(VA, NEW, RIGHTS | bare.NS)
    pair.set_register("SCR_EL3", SECURE)
    assert pair.probe(VA, Access.READ, 1) == Result(allowed=True, physical=NEW, non_secure=True)
    pair.set_register("SCR_EL3", NORMAL)
    assert read(pair) == OLD


def test_asids_have_entries_of_their_own_and_share_global_ones(pair: Twins) -> None:
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS | NOT_GLOBAL)
    table.map(VA + PAGE_SIZE, OLD, RIGHTS)
    assert read(pair) == read(pair, VA + PAGE_SIZE) == OLD
    table.map(VA, NEW, RIGHTS | NOT_GLOBAL)
    table.map(VA + PAGE_SIZE, NEW, RIGHTS)
    pair.set_register("TTBR0_EL1", STAGE1 | 2 << 48)
    assert read(pair) == NEW
    assert read(pair, VA + PAGE_SIZE) == OLD
    pair.tlbi("ASIDE1", 2 << 48)
    assert read(pair, VA + PAGE_SIZE) == OLD
    pair.tlbi("VAE1", PAGE_OPERAND + 1 | 3 << 48)  # whatever the ASID, a global entry matches
    assert read(pair, VA + PAGE_SIZE) == NEW


def test_asids_have_eight_bits_unless_tcr_says_sixteen(pair: Twins) -> None:
    pair.set_register("TCR_EL1", bare.TCR_EL1)
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS | NOT_GLOBAL)
    assert read(pair) == OLD
    table.map(VA, NEW, RIGHTS | NOT_GLOBAL)
    pair.set_register("TTBR0_EL1", STAGE1 | 0x701 << 48)
    assert read(pair) == OLD
    pair.tlbi("ASIDE1", 0x301 << 48)
    assert read(pair) == NEW


def test_secure_reads_of_normal_tables_are_never_global(pair: Twins) -> None:
    """Arm ARM D8.6.2: NSTable makes what lies below it non-global."""
    pair.set_register("SCR_EL3", SECURE)
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS)
    root = table.entry(VA, 1)
    descriptor = int.from_bytes(pair.machine.read_physical(root, 8), "little")
    pair.machine.write_physical(root, (descriptor | 1 << 63).to_bytes(8, "little"))
    assert read(pair) == OLD
    table.map(VA, NEW, RIGHTS)
    pair.set_register("TTBR0_EL1", STAGE1 | 2 << 48)
    assert read(pair) == NEW


def test_a_disabled_table_still_serves_what_the_tlb_holds(pair: Twins) -> None:
    stage1(pair).map(VA, OLD, RIGHTS)
    assert read(pair) == OLD
    pair.set_register("TCR_EL1", bare.TCR_EL1 | 1 << 36 | 1 << 7)  # EPD0
    assert read(pair) == OLD
    pair.tlbi("VMALLE1")
    assert pair.probe(VA, Access.READ, 1) == refused(TRANSLATION)


@pytest.mark.parametrize("operation", ["ALLE1", "VMALLE1"])
def test_alle1_reaches_every_vmid_vmalle1_its_own(pair: Twins, operation: str) -> None:
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS)
    assert read(pair) == OLD
    table.unmap(VA)
    pair.set_register("VTTBR_EL2", STAGE2 | 2 << 48)
    pair.tlbi(operation)
    pair.set_register("VTTBR_EL2", STAGE2 | 1 << 48)
    assert read(pair) == (None if operation == "ALLE1" else OLD)


def test_aside1_spares_global_entries_of_the_same_asid(pair: Twins) -> None:
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS)
    assert read(pair) == OLD
    table.unmap(VA)
    pair.tlbi("ASIDE1", 1 << 48)
    assert read(pair) == OLD


def test_aside1_reaches_the_current_vmid_only(pair: Twins) -> None:
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS | NOT_GLOBAL)
    assert read(pair) == OLD
    table.unmap(VA)
    pair.set_register("VTTBR_EL2", STAGE2 | 2 << 48)
    pair.tlbi("ASIDE1", 1 << 48)
    pair.set_register("VTTBR_EL2", STAGE2 | 1 << 48)
    assert read(pair) == OLD


def test_no_number_of_entries_is_too_many(pair: Twins) -> None:
    table = stage1(pair)
    pages = range(VA, VA + 5000 * PAGE_SIZE, PAGE_SIZE)
    for page in pages:
        table.map(page, OLD + page % 7 * PAGE_SIZE, RIGHTS)
    before = [native_read(pair, page) for page in pages]
    for page in pages:
        table.unmap(page)
    assert None not in before
    assert [native_read(pair, page) for page in pages] == before
    lib.tlb_maintain(pair.machine.native, 0, 7, 3, (VA >> 12) + 3000)  # VAAE1
    assert [native_read(pair, page) for page in pages] == [*before[:3000], None, *before[3001:]]


def native_read(pair: Twins, va: int) -> int | None:
    """Without the model, which is too slow for thousands of entries."""
    answer = ffi.new("struct probe *")
    lib.translate_probe(pair.machine.native, va, Access.READ, 1, answer)
    return int(answer.physical) if answer.allowed else None


@pytest.mark.parametrize(("tcr_bit", "upper"), [(37, False), (38, True)])
def test_top_byte_ignore_is_for_one_range_at_a_time(pair: Twins, tcr_bit: int, upper: bool) -> None:
    pair.set_register("TTBR1_EL1", STAGE1)
    stage1(pair).map(VA, OLD, RIGHTS)
    va = VA | (0x00FF_FF80_0000_0000 if upper else 0)
    canonical = va | (0xFF << 56 if upper else 0)
    assert read(pair, canonical) == OLD
    for tag in (0x00, 0x5A, 0xFF):
        tagged = va | tag << 56
        assert read(pair, tagged) == (OLD if tagged == canonical else None)
    pair.set_register("TCR_EL1", bare.TCR_EL1 | 1 << 36 | 1 << tcr_bit)
    assert [read(pair, va | tag << 56) for tag in (0x00, 0x5A, 0xFF)] == [OLD] * 3
    pair.set_register("TCR_EL1", bare.TCR_EL1 | 1 << 36 | 1 << (75 - tcr_bit))
    assert read(pair, va | 0x5A << 56) is None


@pytest.mark.parametrize("level", [2, 3])
def test_higher_levels_have_one_range_and_their_own_tables(pair: Twins, level: int) -> None:
    pair.set_register(f"TCR_EL{level}", bare.TCR_HIGHER | 1 << 20)
    pair.set_register(f"TTBR0_EL{level}", STAGE1)
    pair.set_register(f"SCTLR_EL{level}", 1)
    stage1(pair).map(VA, OLD, RIGHTS)
    assert read(pair, VA | 0x5A << 56, level) == OLD
    assert pair.probe(VA | 1 << 55, Access.READ, level) == refused(TRANSLATION)
    stage1(pair).unmap(VA)
    pair.tlbi("ALLE1")
    pair.tlbi(f"VAE{5 - level}", PAGE_OPERAND)
    assert read(pair, VA, level) == OLD
    pair.tlbi(f"VAE{level}", PAGE_OPERAND)
    assert read(pair, VA, level) is None


# --- both stages ------------------------------------------------------------------------------------------------------


def test_ipas2e1_alone_leaves_the_combined_translation_in_use(pair: Twins) -> None:
    stage1(pair).map(VA, OLD, RIGHTS)
    stage1(pair).map(VA + PAGE_SIZE, OLD, RIGHTS)
    second = stage2(pair)
    second.map(OLD, NEW, bare.STAGE2_RW)
    assert read(pair) == NEW
    second.unmap(OLD)
    pair.tlbi("IPAS2E1", OLD >> 12)
    assert read(pair) == NEW
    assert pair.probe(VA + PAGE_SIZE, Access.READ, 1) == refused(TRANSLATION | 3, ipa=OLD)
    pair.tlbi("VMALLE1")
    assert pair.probe(VA, Access.READ, 1) == refused(TRANSLATION | 3, ipa=OLD)


def test_vmalle1_alone_leaves_stage_2(pair: Twins) -> None:
    stage1(pair).map(VA, OLD, RIGHTS)
    second = stage2(pair)
    second.map(OLD, NEW, bare.STAGE2_RW)
    assert read(pair) == NEW
    second.unmap(OLD)
    pair.tlbi("VMALLE1")
    assert read(pair) == NEW
    pair.tlbi("VMALLS12E1")
    assert read(pair) is None


def test_vmalls12e1_reaches_the_current_vmid_only(pair: Twins) -> None:
    stage1(pair).map(VA, OLD, RIGHTS)
    second = stage2(pair)
    second.map(OLD, NEW, bare.STAGE2_RW)
    assert read(pair) == NEW
    second.unmap(OLD)
    pair.set_register("VTTBR_EL2", STAGE2 | 2 << 48)
    assert read(pair) is None
    pair.tlbi("VMALLS12E1")
    pair.set_register("VTTBR_EL2", STAGE2 | 1 << 48)
    assert read(pair) == NEW
    pair.tlbi("ALLE1")
    assert read(pair) is None


def test_one_address_of_a_block_that_stage_2_fractures_takes_all_of_it(pair: Twins) -> None:
    """A 1 GiB block of stage 1 over 4 KiB pages of stage 2: a TLBI of any address in it covers the whole."""
    block = DRAM_BASE
    stage1(pair).map(block, block, RIGHTS, 1 << 30)
    second = stage2(pair)
    pages = [OLD + index * 0x3000 for index in range(8)]
    for page in pages:
        second.map(page, page ^ 0x10_0000, bare.STAGE2_RW)
    assert [read(pair, page) for page in pages] == [page ^ 0x10_0000 for page in pages]
    for page in pages:
        second.unmap(page)
    for page in pages:
        pair.tlbi("IPAS2E1", page >> 12)
    assert [read(pair, page) for page in pages] == [page ^ 0x10_0000 for page in pages]
    pair.tlbi("VAE1", (block + (1 << 30) - PAGE_SIZE) >> 12 | 1 << 48)
    assert [read(pair, page) for page in pages] == [None] * 8


def test_a_stage_2_block_leaves_with_any_of_its_addresses(pair: Twins) -> None:
    stage1(pair).map(VA, OLD, RIGHTS)
    second = PageTable(pair.machine, STAGE2)
    second.map(DRAM_BASE, DRAM_BASE, bare.STAGE2_RW, 1 << 30)
    pair.set_register("HCR_EL2", bare.HCR_RW | 1)
    assert read(pair) == OLD
    second.unmap(DRAM_BASE, 1)
    pair.tlbi("VMALLE1")
    assert read(pair) == OLD
    pair.tlbi("IPAS2E1", (DRAM_BASE + 0x3FFF_F000) >> 12)
    pair.tlbi("VMALLE1")
    assert read(pair) is None


def test_a_walk_reads_through_stage_2(pair: Twins) -> None:
    table, second = stage1(pair), stage2(pair)
    table.map(VA, OLD, RIGHTS)
    second.map(OLD, OLD, bare.STAGE2_RW)
    level3 = table.entry(VA, 3)
    second.map(level3 & ~0xFFF, level3 & ~0xFFF, bare.STAGE2 | bare.STAGE2_WRITE)
    assert pair.probe(VA, Access.READ, 1) == refused(PERMISSION | 3, ipa=level3, on_stage1_walk=True)


@pytest.mark.parametrize(
    ("sl0", "size", "start"),
    [
        *((1, 25, 1), (1, 33, 1), (1, 34, None), (1, 21, 1), (1, 20, None)),
        *((0, 30, 2), (0, 29, None), (0, 39, 2)),
        *((2, 16, 0), (2, 24, 0), (2, 25, None), (3, 25, None)),
    ],
)
def test_the_first_level_of_stage_2_must_fit_its_size(pair: Twins, sl0: int, size: int, start: int | None) -> None:
    """The first look-up resolves 1 to 13 bits; else, and for the reserved SL0, nothing is reachable."""
    pair.set_register("SCTLR_EL1", 0)
    pair.set_register("HCR_EL2", bare.HCR_RW | 1)
    pair.set_register("VTCR_EL2", size | sl0 << 6 | 0b101 << 16)
    pair.write_descriptor(STAGE2, 0, STAGE2_B | 0b11)  # the next table is empty
    assert pair.probe(0, Access.READ, 1) == refused(TRANSLATION | (0 if start is None else start + 1), ipa=0)


# --- walks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(16, 40))
def test_every_input_size_starts_at_its_level_and_ends_at_its_limit(pair: Twins, size: int) -> None:
    """A first table need not be a page: it is aligned to what it holds."""
    pair.set_register("TCR_EL1", bare.TCR_EL1 & ~0x3F | size)
    level = 4 - -(-(64 - size - 12) // 9)
    shift = 39 - 9 * level
    index_bits = 64 - size - shift
    base = STAGE1 + max(8 << index_bits, 0x40) % PAGE_SIZE
    pair.set_register("TTBR0_EL1", base)
    va = (1 << 64 - size) - PAGE_SIZE
    tables = [base, STAGE1 + 0x2000, STAGE1 + 0x3000, STAGE1 + 0x4000]
    for step in range(level, 4):
        at = tables[step - level] + (va >> 39 - 9 * step & (1 << (index_bits if step == level else 9)) - 1) * 8
        following = tables[step - level + 1] | 0b11 if step < 3 else NEW | RIGHTS | 0b11
        pair.machine.write_physical(at, following.to_bytes(8, "little"))
    assert read(pair, va) == NEW
    assert pair.probe(va + PAGE_SIZE, Access.READ, 1) == refused(TRANSLATION)


@pytest.mark.parametrize(("shift", "level"), [(12, 3), (21, 2), (30, 1)])
def test_a_block_maps_all_of_itself(pair: Twins, shift: int, level: int) -> None:
    size = 1 << shift
    stage1(pair).map(VA & -size, 0x80_0000_0000, RIGHTS, size)
    assert read(pair, (VA & -size) + size - 1) == 0x80_0000_0000 + size - 1
    pair.machine.write_physical(stage1(pair).entry(VA, level), bytes(8))
    assert read(pair, VA & -size) == 0x80_0000_0000
    pair.tlbi("VAE1", PAGE_OPERAND | 1 << 48)
    assert pair.probe(VA, Access.READ, 1) == refused(TRANSLATION | level)


@pytest.mark.parametrize("where", ["base", 1, 2, 3])
def test_an_address_beyond_the_output_size_is_an_address_size_fault(pair: Twins, where: str | int) -> None:
    """TCR_EL1.IPS says 36 bits: of the table's base (level 0), of a table, of a page."""
    pair.set_register("TCR_EL1", bare.TCR_EL1 & ~(7 << 32) | 1 << 32)
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS)
    if where == "base":
        pair.set_register("TTBR0_EL1", 1 << 36 | STAGE1)
    else:
        at = table.entry(VA, int(where))
        descriptor = int.from_bytes(pair.machine.read_physical(at, 8), "little")
        pair.machine.write_physical(at, (descriptor | 1 << 36).to_bytes(8, "little"))
    assert pair.probe(VA, Access.READ, 1) == refused(ADDRESS_SIZE | (0 if where == "base" else int(where)))


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("world", [SECURE, NORMAL])
def test_a_walk_meets_the_filter(pair: Twins, level: int, world: int) -> None:
    pair.set_register("SCR_EL3", world)
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS)
    page = table.entry(VA, level) & ~0xFFF
    pair.set_filter(page, secure=world == NORMAL, normal=world == SECURE, bus_error=True)
    assert pair.probe(VA, Access.READ, 1) == refused(EXTERNAL_ON_WALK | level)
    pair.set_filter(page, secure=world == NORMAL, normal=world == SECURE, bus_error=False)
    assert pair.probe(VA, Access.READ, 1) == refused(TRANSLATION | level)  # a descriptor of zeros
    pair.set_filter(page, secure=world == SECURE, normal=world == NORMAL, bus_error=True)
    assert read(pair) == OLD


def test_below_nstable_a_secure_walk_is_non_secure(pair: Twins) -> None:
    pair.set_register("SCR_EL3", SECURE)
    table = stage1(pair)
    table.map(VA, OLD, RIGHTS)
    root = table.entry(VA, 1)
    descriptor = int.from_bytes(pair.machine.read_physical(root, 8), "little")
    pair.machine.write_physical(root, (descriptor | 1 << 63).to_bytes(8, "little"))
    pair.set_filter(table.entry(VA, 2) & ~0xFFF, secure=True, normal=False, bus_error=True)
    assert pair.probe(VA, Access.READ, 1) == refused(EXTERNAL_ON_WALK | 2)


@pytest.mark.parametrize(
    ("flags", "sctlr", "scr", "level", "permitted"),
    [
        (0, 0, NORMAL, 1, True),
        (bare.PXN, 0, NORMAL, 1, False),
        (bare.PXN, 0, NORMAL, 0, True),
        (bare.UXN, 0, NORMAL, 0, False),
        (bare.UXN, 0, NORMAL, 1, True),
        (bare.EL0, 0, NORMAL, 1, False),  # what EL0 may write EL1 may not execute
        (bare.EL0 | bare.READ_ONLY, 0, NORMAL, 1, True),
        (0, 1 << 19, NORMAL, 1, False),  # WXN
        (bare.READ_ONLY, 1 << 19, NORMAL, 1, True),
        (bare.EL0, 1 << 19, NORMAL, 0, False),
        (0, 1 << 19, NORMAL, 0, True),  # EL0 cannot write it
        (bare.NS, 0, SECURE, 1, True),
        (bare.NS, 0, SECURE | 1 << 9, 1, False),  # SIF
        (bare.NS, 0, SECURE | 1 << 9, 0, False),
        (0, 0, SECURE | 1 << 9, 1, True),
        (0, 0, NORMAL | 1 << 9, 1, True),
    ],
)
def test_who_may_execute(pair: Twins, flags: int, sctlr: int, scr: int, level: int, permitted: bool) -> None:
    pair.set_register("SCTLR_EL1", 1 | sctlr)
    pair.set_register("SCR_EL3", scr)
    stage1(pair).map(VA, OLD, RIGHTS | flags)
    result = pair.probe(VA, Access.FETCH, level)
    assert result.allowed == permitted
    assert permitted or result == refused(PERMISSION | 3)


# --- TLBI as the guest executes it ------------------------------------------------------------------------------------

OPERATIONS = {
    "vmalle1": (1, True),
    "vmalle1is": (1, True),
    "vae1, x1": (1, True),
    "vae1is, x1": (1, True),
    "vaae1, x1": (1, True),
    "vale1is, x1": (1, True),
    "vaale1, x1": (1, True),
    "aside1, x1": (1, True),
    "alle1": (2, True),
    "alle1is": (3, True),
    "vmalls12e1": (2, True),
    "vmalls12e1is": (3, True),
    "ipas2e1, x2": (2, False),
    "alle2": (2, False),
    "vae2, x2": (2, False),
    "alle3": (3, False),
    "vae3, x2": (3, False),
}
SOURCE = (
    "\n".join(f"tlbi{number}: tlbi {form}\n dsb sy\n isb\n wfi" for number, form in enumerate(OPERATIONS))
    + """
load:   ldr x3, [x0]
        wfi
twice:  ldr x3, [x0]
        str x5, [x4]
        ldr x6, [x0]
        tlbi vaae1, x1
        dsb sy
        isb
        ldr x7, [x0]
        wfi
// takes the ground from under its own feet
own_page: str xzr, [x4]
        tlbi vmalle1
        dsb sy
        isb
        nop
        nop
        wfi
"""
)


@pytest.fixture
def guest() -> Iterator[Guest]:
    """NS-EL1 with stage 1 on; its tables are mapped for it to write."""
    guest = Guest(SOURCE)
    table = PageTable(guest.machine)
    for start in (bare.CODE, bare.TABLES):
        for page in range(start, start + 0x8000, PAGE_SIZE):
            table.map(page, page, bare.NORMAL)
    table.map(VA, OLD, bare.NORMAL | NOT_GLOBAL)
    guest.machine.write_physical(OLD, b"old.....")
    guest.machine.write_physical(NEW, b"new.....")
    guest["MAIR_EL1"], guest["TCR_EL1"], guest["TTBR0_EL1"] = bare.MAIR, bare.TCR_EL1, bare.TABLES
    guest["SCTLR_EL1"] = 1
    yield guest
    guest.machine.close()


def run_at(guest: Guest, symbol: str, level: int) -> bytes:
    guest.enter(symbol, level)
    guest.core.x[0], guest.core.x[1], guest.core.x[2] = VA, PAGE_OPERAND, PAGE_OPERAND
    guest.machine.run(guest.machine.instructions + 100)
    return guest.core.x[3].to_bytes(8, "little")


@pytest.mark.parametrize("form", OPERATIONS)
def test_a_tlbi_instruction_reaches_the_translation_in_use(guest: Guest, form: str) -> None:
    level, covers = OPERATIONS[form]
    assert run_at(guest, "load", 1) == b"old....."
    PageTable(guest.machine)._write(table_entry(guest), NEW | bare.NORMAL | NOT_GLOBAL | 0b11)
    assert run_at(guest, "load", 1) == b"old....."
    run_at(guest, f"tlbi{list(OPERATIONS).index(form)}", level)
    assert run_at(guest, "load", 1) == (b"new....." if covers else b"old.....")


def table_entry(guest: Guest, address: int = VA) -> int:
    return PageTable(guest.machine).entry(address, 3)


def test_a_tlbi_for_the_other_world_changes_nothing(guest: Guest) -> None:
    run_at(guest, "load", 1)
    PageTable(guest.machine)._write(table_entry(guest), NEW | bare.NORMAL | NOT_GLOBAL | 0b11)
    normal = guest["SCR_EL3"]
    guest["SCR_EL3"] = normal & ~bare.SCR_NS
    run_at(guest, "tlbi8", 3)  # alle1
    guest["SCR_EL3"] = normal
    assert run_at(guest, "load", 1) == b"old....."


def test_a_guest_that_edits_its_table_sees_the_old_page_until_its_tlbi(guest: Guest) -> None:
    guest.enter("twice", 1)
    guest.core.x[0], guest.core.x[1] = VA, PAGE_OPERAND
    guest.core.x[4], guest.core.x[5] = table_entry(guest), NEW | bare.NORMAL | NOT_GLOBAL | 0b11
    guest.machine.run()
    assert [guest.core.x[index].to_bytes(8, "little")[:3] for index in (3, 6, 7)] == [b"old", b"old", b"new"]


def test_code_that_unmaps_itself_runs_until_its_tlbi(guest: Guest) -> None:
    page = guest.at("own_page") & ~0xFFF
    guest["VBAR_EL1"] = bare.VECTORS[1]
    assert page != bare.VECTORS[1] & ~0xFFF
    guest.enter("own_page", 1)
    guest.core.x[4] = table_entry(guest, page)
    assert guest.vector() == (1, 0x200)
    assert guest["ESR_EL1"] == 0x21 << 26 | 1 << 25 | TRANSLATION | 3
    assert guest["FAR_EL1"] - guest.at("own_page") in {8, 12, 16}  # at the ISB at the latest


@pytest.mark.parametrize(("form", "level"), [("vae2, x2", 1), ("alle3", 2), ("vmalle1", 0), ("alle1", 1)])
def test_a_tlbi_below_its_level_is_undefined(guest: Guest, form: str, level: int) -> None:
    guest.enter(f"tlbi{list(OPERATIONS).index(form)}", level)
    guest["SCTLR_EL1"] = 0
    taken_to = max(level, 1)
    assert guest.vector() == (taken_to, 0x200 if level else 0x400)
    assert guest[f"ESR_EL{taken_to}"] == 1 << 25
