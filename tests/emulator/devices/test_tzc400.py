"""TZC-400: each behaviour by the rule that it keeps (DDI 0504; docs/registers.md)."""

from __future__ import annotations

import pytest

from emulator.devices.storage import Command
from emulator.devices.tzc400 import Reaction, Tzc400
from emulator.events import EventKind, Filter
from emulator.memory_map import PAGE_SIZE, TZASC, Nsaid

from .rig import PAGE, Abort, Rig, device_number, id_access

SECURE_RW = 0xC0000000
SECURE_READ = 0x40000000
ON = 1
STATUS, OVERRUN, OVERLAP = 1 << 0, 1 << 8, 1 << 16
PRIVILEGED, NON_SECURE, WRITE = 1 << 20, 1 << 21, 1 << 24
PATTERN = 0x1122_3344_5566_7788


def status(rig: Rig) -> int:
    return rig.read(rig.board.tzasc, Tzc400.INT_STATUS)


def plant(rig: Rig, address: int = PAGE) -> None:
    rig.machine.write_physical(address, PATTERN.to_bytes(8, "little"))


def planted(rig: Rig, address: int = PAGE) -> int:
    return int.from_bytes(rig.machine.read_physical(address, 8), "little")


def test_resets_with_the_gate_closed_and_region_0_for_nobody(rig: Rig) -> None:
    rig.reaction(Reaction.BUS_ERROR)
    with pytest.raises(Abort):
        rig.load(PAGE)
    rig.gate()
    with pytest.raises(Abort):
        rig.load(PAGE)


def test_build_config_counts_regions_address_bits_and_filters(rig: Rig) -> None:
    assert rig.read(rig.board.tzasc, Tzc400.BUILD_CONFIG) == 8 | 43 << 8


def test_region_0_is_the_whole_space_always_on(rig: Rig) -> None:
    rig.region(0, 0x4000_0000, 0x4000_0FFF, attributes=SECURE_RW)
    tzasc = rig.board.tzasc
    bounds = (Tzc400.REGION_BASE_LOW, Tzc400.REGION_BASE_HIGH, Tzc400.REGION_TOP_LOW, Tzc400.REGION_TOP_HIGH)
    assert [rig.read(tzasc, bound) for bound in bounds] == [0, 0, 0xFFFFFFFF, 0xFFF]
    assert rig.read(tzasc, Tzc400.REGION_ATTRIBUTES) == SECURE_RW | ON
    rig.gate()
    plant(rig)
    assert rig.load(PAGE) == PATTERN


def test_match_in_another_region_overrides_region_0(rig: Rig) -> None:
    rig.open_dram()
    rig.region(1, PAGE, PAGE + PAGE_SIZE - 1, attributes=ON)
    with pytest.raises(Abort):
        rig.load(PAGE)
    assert rig.load(PAGE + PAGE_SIZE) == 0
    assert rig.load(PAGE - 8) == 0


def test_top_is_inclusive(rig: Rig) -> None:
    rig.open_dram()
    rig.region(1, PAGE, PAGE, attributes=ON)
    with pytest.raises(Abort):
        rig.load(PAGE + PAGE_SIZE - 8)
    rig.load(PAGE + PAGE_SIZE)


def test_disabled_region_matches_nothing(rig: Rig) -> None:
    rig.open_dram()
    rig.region(1, PAGE, PAGE, attributes=0)
    rig.load(PAGE)


def test_secure_permissions_are_read_and_write_by_themselves(rig: Rig) -> None:
    rig.open_dram()
    rig.region(1, PAGE, PAGE, attributes=ON | SECURE_READ, access=0xFFFFFFFF)
    rig.load(PAGE)
    with pytest.raises(Abort):
        rig.store(PAGE, 1)


def test_secure_access_ignores_nsaid_bits_and_non_secure_ignores_secure_bits(rig: Rig) -> None:
    rig.open_dram()
    rig.open_sram()
    rig.region(1, PAGE, PAGE, attributes=ON, access=id_access(read=(Nsaid.CPU,)))
    rig.region(2, PAGE + PAGE_SIZE, PAGE + PAGE_SIZE, attributes=ON | SECURE_RW)
    rig.load(PAGE, secure=False)
    rig.load(PAGE + PAGE_SIZE)
    with pytest.raises(Abort):
        rig.load(PAGE)
    with pytest.raises(Abort):
        rig.load(PAGE + PAGE_SIZE, secure=False)


def test_each_nsaid_has_its_own_bits(rig: Rig) -> None:
    rig.open_dram()
    rig.open_sram()
    rig.bypass_smmu()
    rig.board.storage.insert(bytearray(PAGE_SIZE), writable=True)
    rig.region(1, PAGE, PAGE, access=id_access(read=(Nsaid.CPU,), write=(Nsaid.STORAGE,)))
    rig.load(PAGE, secure=False)
    with pytest.raises(Abort):
        rig.store(PAGE, 1, secure=False)
    done, error = 1 << 1, 1 << 2
    assert rig.transfer(Command.READ, PAGE) & (done | error) == done
    assert rig.transfer(Command.WRITE, PAGE) & (done | error) == error


def test_closed_gate_blocks_everybody(rig: Rig) -> None:
    rig.open_dram()
    rig.load(PAGE)
    rig.gate(False)
    with pytest.raises(Abort):
        rig.load(PAGE)
    rig.gate(True)
    rig.load(PAGE)


def test_gate_status_follows_its_request_for_the_filter_that_exists(rig: Rig) -> None:
    tzasc = rig.board.tzasc
    assert rig.read(tzasc, Tzc400.GATE_KEEPER) == 0
    rig.write(tzasc, Tzc400.GATE_KEEPER, 0xF)
    assert rig.read(tzasc, Tzc400.GATE_KEEPER) == 0x1000F
    rig.write(tzasc, Tzc400.GATE_KEEPER, 0)
    assert rig.read(tzasc, Tzc400.GATE_KEEPER) == 0


@pytest.mark.parametrize("reaction", [Reaction.NONE, Reaction.INTERRUPT])
def test_without_a_bus_error_denied_reads_are_zero_and_writes_vanish(rig: Rig, reaction: Reaction) -> None:
    rig.open_dram()
    rig.reaction(reaction)
    rig.region(1, PAGE, PAGE, attributes=ON)
    plant(rig)
    assert rig.load(PAGE) == 0
    rig.store(PAGE, 0)
    assert planted(rig) == PATTERN


@pytest.mark.parametrize("reaction", [Reaction.BUS_ERROR, Reaction.BUS_ERROR_AND_INTERRUPT])
def test_with_a_bus_error_denied_accesses_abort(rig: Rig, reaction: Reaction) -> None:
    rig.open_dram()
    rig.reaction(reaction)
    rig.region(1, PAGE, PAGE, attributes=ON)
    with pytest.raises(Abort):
        rig.load(PAGE)


def test_first_failure_is_latched_whatever_action_says(rig: Rig) -> None:
    rig.open_dram()
    rig.reaction(Reaction.NONE)
    rig.region(1, PAGE, PAGE, attributes=ON)
    rig.store(PAGE + 0x10, 1)
    tzasc = rig.board.tzasc
    assert status(rig) == STATUS
    assert rig.read(tzasc, Tzc400.FAIL_ADDRESS_LOW) == PAGE + 0x10
    assert rig.read(tzasc, Tzc400.FAIL_ADDRESS_HIGH) == 0
    assert rig.read(tzasc, Tzc400.FAIL_CONTROL) == PRIVILEGED | WRITE
    assert rig.read(tzasc, Tzc400.FAIL_ID) == Nsaid.CPU


def test_second_failure_sets_overrun_and_overwrites_nothing(rig: Rig) -> None:
    rig.open_dram()
    rig.bypass_smmu()
    rig.board.storage.insert(bytes(PAGE_SIZE))
    rig.region(1, PAGE, PAGE + PAGE_SIZE)
    rig.transfer(Command.READ, PAGE + PAGE_SIZE)
    with pytest.raises(Abort):
        rig.load(PAGE)
    tzasc = rig.board.tzasc
    assert status(rig) == STATUS | OVERRUN
    assert rig.read(tzasc, Tzc400.FAIL_ADDRESS_LOW) == PAGE + PAGE_SIZE
    assert rig.read(tzasc, Tzc400.FAIL_CONTROL) == NON_SECURE | WRITE
    assert rig.read(tzasc, Tzc400.FAIL_ID) == Nsaid.STORAGE


def test_int_clear_releases_the_latch(rig: Rig) -> None:
    rig.open_dram()
    rig.reaction(Reaction.NONE)
    rig.region(1, PAGE, PAGE + PAGE_SIZE, attributes=ON)
    rig.load(PAGE)
    rig.load(PAGE)
    rig.write(rig.board.tzasc, Tzc400.INT_CLEAR, 0xE)
    assert status(rig) == STATUS | OVERRUN, "those filters do not exist"
    rig.write(rig.board.tzasc, Tzc400.INT_CLEAR, 1)
    assert status(rig) == 0
    rig.load(PAGE + PAGE_SIZE)
    assert status(rig) == STATUS
    assert rig.read(rig.board.tzasc, Tzc400.FAIL_ADDRESS_LOW) == PAGE + PAGE_SIZE


def test_overlap_of_two_regions_sets_the_overlap_status(rig: Rig) -> None:
    rig.open_dram()
    rig.region(1, PAGE, PAGE + PAGE_SIZE, attributes=ON | SECURE_RW)
    rig.region(2, PAGE + PAGE_SIZE, PAGE + 2 * PAGE_SIZE, attributes=ON | SECURE_RW)
    rig.load(PAGE)
    assert status(rig) == 0
    rig.load(PAGE + PAGE_SIZE)
    assert status(rig) == OVERLAP


def test_overlap_with_region_0_is_none(rig: Rig) -> None:
    rig.open_dram()
    rig.region(1, PAGE, PAGE, attributes=ON | SECURE_RW)
    rig.load(PAGE)
    assert status(rig) == 0


def test_base_and_top_have_a_granularity_of_4_kib(rig: Rig) -> None:
    tzasc = rig.board.tzasc
    rig.write(tzasc, Tzc400.REGION_BASE_LOW, 0x4000_0123, 1)
    rig.write(tzasc, Tzc400.REGION_TOP_LOW, 0x4000_0FFF, 1)
    assert rig.read(tzasc, Tzc400.REGION_BASE_LOW, 1) == 0x4000_0000
    assert rig.read(tzasc, Tzc400.REGION_TOP_LOW, 1) == 0x4000_0FFF
    strange = rig.seen(EventKind.UNDECLARED)
    assert [args[1] for args in strange] == [0x120]


def test_changes_act_at_once(rig: Rig) -> None:
    rig.open_dram()
    rig.load(PAGE)
    rig.region(8, PAGE, PAGE, attributes=ON)
    with pytest.raises(Abort):
        rig.load(PAGE)
    rig.region(8, PAGE, PAGE, attributes=0)
    rig.load(PAGE)


def test_denial_and_programming_are_events(rig: Rig) -> None:
    rig.open_dram()
    rig.forget()
    rig.region(1, PAGE, PAGE, attributes=ON)
    with pytest.raises(Abort):
        rig.load(PAGE)
    assert rig.seen(EventKind.DENIED)[0][:6] == (PAGE, Nsaid.CPU, 1, 0, Filter.TZASC, 1)
    programmed = [args[:4] for args in rig.seen(EventKind.DEVICE_WRITE)]
    assert (device_number(TZASC), 0x130, 4, ON) in programmed


def test_identification(rig: Rig) -> None:
    tzasc = rig.board.tzasc
    assert [rig.read(tzasc, Tzc400.COMPONENT_ID, i) for i in range(4)] == [0x0D, 0xF0, 0x05, 0xB1]
    part = rig.read(tzasc, Tzc400.PERIPHERAL_ID_0) | (rig.read(tzasc, Tzc400.PERIPHERAL_ID_0, 1) & 0xF) << 8
    assert part == 0x460


def test_gate_closed_still_leaves_sram_reachable(rig: Rig) -> None:
    rig.gate(False)
    rig.machine.write_physical(0x0E00_3000, b"\x07")
    assert rig.load(0x0E00_3000) == 7
