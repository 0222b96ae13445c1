"""SMMUv3, stage 2: each behaviour by the rule that it keeps (IHI 0070)."""

from __future__ import annotations

import struct

import pytest

from emulator.devices.smmu import Smmu
from emulator.devices.smmu_structures import CommandError, EventCode, FaultClass, Opcode, StreamConfig
from emulator.events import EventKind
from emulator.memory_map import DRAM_BASE, GIB, MIB, PAGE_SIZE, Nsaid, StreamId
from emulator.registers import Register

from .rig import CODE, WFI, Rig
from .smmu_driver import (
    ACCESS_FLAG,
    COMMANDS,
    COMMANDS_LOG2,
    EVENTS,
    EVENTS_LOG2,
    LEVEL1,
    READ,
    STREAM_TABLE,
    TABLES,
    VMID,
    WRITE,
    SmmuDriver,
)

IPA = DRAM_BASE + 2 * MIB
FRAME = DRAM_BASE + 4 * MIB
OTHER = DRAM_BASE + 5 * MIB
COMMAND_ERROR, EVENT_QUEUE_ABORT = 1 << 0, 1 << 2
OVERFLOW = 1 << 31
EVERY_STREAM = 31
ABORT, UPDATE = 1 << 20, 1 << 31


@pytest.fixture(name="driver")
def _driver(rig: Rig) -> SmmuDriver:
    return SmmuDriver(rig)


def deny_walker(driver: SmmuDriver, base: int) -> None:
    """A TZASC region over one page that lets everybody but the SMMU's walker in."""
    access = 0xFFFFFFFF & ~(0x10001 << Nsaid.SMMU_WALKER)
    driver.rig.region(1, base, base, attributes=0xC0000001, access=access)


# --- identification and bypass -------------------------------------------------------------------------------------


def test_identifies_as_stage_2_only_without_broadcast_maintenance(rig: Rig) -> None:
    smmu = rig.board.smmu
    idr0 = rig.read(smmu, Smmu.IDR0)
    assert (idr0 & 1, idr0 >> 1 & 1, idr0 >> 2 & 3, idr0 >> 5 & 1, idr0 >> 27 & 3) == (1, 0, 2, 0, 0)
    assert rig.read(smmu, Smmu.IDR5) == 4 | 1 << 4


def test_disabled_smmu_aborts_at_reset_and_passes_once_gbpa_says_so(rig: Rig) -> None:
    driver = SmmuDriver(rig)
    rig.write(driver.smmu, Smmu.CR0, 0)
    assert rig.read(driver.smmu, Smmu.GBPA) & ABORT
    assert driver.translate(IPA) is None
    rig.write(driver.smmu, Smmu.GBPA, 0)
    assert driver.translate(IPA) is None, "without UPDATE nothing changes"
    rig.write(driver.smmu, Smmu.GBPA, UPDATE)
    assert rig.read(driver.smmu, Smmu.GBPA) == 0
    assert driver.translate(IPA) == IPA


def test_cr0_is_acknowledged(rig: Rig) -> None:
    rig.write(rig.board.smmu, Smmu.CR0, 0b1100)
    assert rig.read(rig.board.smmu, Smmu.CR0ACK) == 0b1100


@pytest.mark.parametrize(
    "register", [Smmu.STRTAB_BASE, Smmu.STRTAB_BASE_CFG, Smmu.CMDQ_BASE, Smmu.EVENTQ_BASE, Smmu.CR2]
)
def test_what_an_enable_bit_guards_cannot_change_under_it(driver: SmmuDriver, register: Register) -> None:
    before = driver.rig.read(driver.smmu, register)
    driver.rig.forget()
    driver.rig.write(driver.smmu, register, 0)
    assert driver.rig.read(driver.smmu, register) == before != 0
    assert len(driver.rig.seen(EventKind.UNDECLARED)) == 1


# --- the stream table ----------------------------------------------------------------------------------------------


def test_translates_page_by_page(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME)
    driver.map(IPA + PAGE_SIZE, OTHER)
    assert driver.translate(IPA + 0x123) == FRAME + 0x123
    assert driver.translate(IPA + PAGE_SIZE + 8, write=True) == OTHER + 8


def test_translates_blocks(driver: SmmuDriver) -> None:
    driver.map_block(IPA, FRAME)
    assert driver.translate(IPA + 0x12_3456) == FRAME + 0x12_3456


def test_stream_beyond_the_table_is_a_bad_stream_id(driver: SmmuDriver) -> None:
    assert driver.translate(IPA, stream=8) is None
    assert driver.translate(IPA, stream=0xFFFF_FFFF) is None
    events = driver.events()
    assert [event.WORD0["code"] for event in events] == [EventCode.C_BAD_STREAMID] * 2
    assert events[0].WORD0["streamid"] == 8


def test_bad_stream_id_is_recorded_only_if_cr2_asks_for_it(driver: SmmuDriver) -> None:
    driver.rig.write(driver.smmu, Smmu.CR0, 0)
    driver.rig.write(driver.smmu, Smmu.CR2, 0)
    driver.rig.write(driver.smmu, Smmu.CR0, 0b1101)
    assert driver.translate(IPA, stream=8) is None
    assert driver.codes() == []
    assert driver.rig.seen(EventKind.SMMU_FAULT)[-1][:4] == (8, IPA, EventCode.C_BAD_STREAMID, 0)


def test_invalid_entry_is_a_bad_ste(driver: SmmuDriver) -> None:
    assert driver.translate(IPA, stream=StreamId.NPU0) is None
    assert driver.codes() == [EventCode.C_BAD_STE]


@pytest.mark.parametrize(
    "fields",
    [
        {"config": StreamConfig.STAGE1},
        {"config": StreamConfig.BOTH_STAGES},
        {"s2aa64": 0},
        {"s2tg": 1},
        {"s2t0sz": 15},
        {"s2t0sz": 40},
        {"s2sl0": 3},
        {"s2sl0": 2},
        {"s2t0sz": 16},
        {"s2endi": 1},
        {"s2s": 1},
        {"s2ha": 1},
        {"s2affd": 1},
        {"s2ps": 0, "s2ttb": 1 << 40 - 4},
    ],
    ids=str,
)
def test_illegal_combination_is_a_bad_ste(driver: SmmuDriver, fields: dict[str, int]) -> None:
    driver.map(IPA, FRAME)
    driver.write_entry(driver.entry(**fields))
    assert driver.translate(IPA) is None
    assert driver.codes() == [EventCode.C_BAD_STE]


def test_abort_entry_refuses_and_records_nothing(driver: SmmuDriver) -> None:
    driver.write_entry(driver.entry(config=StreamConfig.ABORT))
    assert driver.translate(IPA) is None
    assert driver.codes() == []


def test_bypass_entry_passes_addresses_through(driver: SmmuDriver) -> None:
    driver.write_entry(driver.entry(config=StreamConfig.BYPASS))
    assert driver.translate(IPA) == IPA


def test_entry_stays_cached_until_its_own_invalidation(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME)
    assert driver.translate(IPA) == FRAME
    driver.write_entry(driver.entry(config=StreamConfig.ABORT))
    driver.command(Opcode.TLBI_NSNH_ALL)
    driver.command(Opcode.CFGI_STE, StreamId.NPU0)
    assert driver.translate(IPA) == FRAME
    driver.command(Opcode.CFGI_STE, StreamId.STORAGE)
    assert driver.translate(IPA) is None


@pytest.mark.parametrize(
    ("target", "reach", "gone"),
    [(0, 0, True), (2, 0, False), (4, 1, False), (0, 1, True), (0, EVERY_STREAM, True), (200, EVERY_STREAM, True)],
)
def test_range_invalidation_covers_an_aligned_power_of_two(
    driver: SmmuDriver, target: int, reach: int, gone: bool
) -> None:
    driver.write_entry(driver.entry(config=StreamConfig.BYPASS))
    assert driver.translate(IPA) == IPA
    driver.write_entry(driver.entry(config=StreamConfig.ABORT))
    driver.command(Opcode.CFGI_STE_RANGE, target, reach)
    assert (driver.translate(IPA) is None) == gone


def test_unreadable_stream_table_is_an_ste_fetch_fault(driver: SmmuDriver) -> None:
    deny_walker(driver, STREAM_TABLE)
    assert driver.translate(IPA) is None
    (event,) = driver.events()
    assert event.WORD0["code"] == EventCode.F_STE_FETCH
    assert event.WORD3.value == STREAM_TABLE + 64 * StreamId.STORAGE


# --- faults --------------------------------------------------------------------------------------------------------


def test_translation_fault_says_who_where_and_how(driver: SmmuDriver) -> None:
    assert driver.translate(IPA + 0x18, write=True) is None
    (event,) = driver.events()
    assert event.WORD0["code"] == EventCode.F_TRANSLATION
    assert event.WORD0["streamid"] == StreamId.STORAGE
    assert (event.WORD1["rnw"], event.WORD1["s2"], event.WORD1["class"]) == (0, 1, FaultClass.INPUT)
    assert (event.WORD2.value, event.WORD3.value) == (IPA + 0x18, IPA)
    assert driver.rig.seen(EventKind.SMMU_FAULT)[-1][:4] == (1, IPA + 0x18, EventCode.F_TRANSLATION, 1)


def test_address_beyond_the_input_size_is_a_translation_fault(driver: SmmuDriver) -> None:
    assert driver.translate(1 << 32) is None
    assert driver.codes() == [EventCode.F_TRANSLATION]


@pytest.mark.parametrize("write", [False, True])
def test_permission_fault_by_direction(driver: SmmuDriver, write: bool) -> None:
    driver.map(IPA, FRAME, ACCESS_FLAG | (READ if write else WRITE))
    assert driver.translate(IPA, write=not write) == FRAME
    assert driver.translate(IPA, write=write) is None
    (event,) = driver.events()
    assert (event.WORD0["code"], event.WORD1["rnw"]) == (EventCode.F_PERMISSION, not write)


def test_missing_access_flag_is_an_access_fault(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME, READ | WRITE)
    assert driver.translate(IPA) is None
    assert driver.codes() == [EventCode.F_ACCESS]


def test_output_beyond_s2ps_is_an_address_size_fault(driver: SmmuDriver) -> None:
    driver.write_entry(driver.entry(s2ps=0))
    driver.map(IPA, 1 << 32)
    assert driver.translate(IPA) is None
    assert driver.codes() == [EventCode.F_ADDR_SIZE]


def test_denied_walk_is_an_external_abort_of_the_walk(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME)
    deny_walker(driver, LEVEL1)
    assert driver.translate(IPA) is None
    (event,) = driver.events()
    assert (event.WORD0["code"], event.WORD1["class"]) == (EventCode.F_WALK_EABT, FaultClass.TABLE)


def test_faults_are_not_recorded_without_s2r(driver: SmmuDriver) -> None:
    driver.write_entry(driver.entry(s2r=0))
    assert driver.translate(IPA) is None
    assert driver.codes() == []


# --- the TLB -------------------------------------------------------------------------------------------------------


def test_changed_table_is_seen_only_after_an_invalidation(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME)
    assert driver.translate(IPA) == FRAME
    driver.map(IPA, OTHER)
    driver.sync()
    assert driver.translate(IPA) == FRAME
    driver.command(Opcode.TLBI_S2_IPA, VMID, IPA)
    assert driver.translate(IPA) == OTHER


def test_faults_are_not_cached(driver: SmmuDriver) -> None:
    assert driver.translate(IPA) is None
    driver.map(IPA, FRAME)
    assert driver.translate(IPA) == FRAME


@pytest.mark.parametrize(
    ("opcode", "target", "address", "gone"),
    [
        (Opcode.TLBI_S2_IPA, VMID, IPA, True),
        (Opcode.TLBI_S2_IPA, VMID, IPA | 1, True),  # Leaf
        (Opcode.TLBI_S2_IPA, VMID, IPA + PAGE_SIZE, False),
        (Opcode.TLBI_S2_IPA, VMID + 1, IPA, False),
        (Opcode.TLBI_S12_VMALL, VMID, 0, True),
        (Opcode.TLBI_S12_VMALL, VMID + 1, 0, False),
        (Opcode.TLBI_NSNH_ALL, 0, 0, True),
        (Opcode.CFGI_STE, StreamId.STORAGE, 0, False),
        (Opcode.CFGI_STE_RANGE, 0, EVERY_STREAM, False),
    ],
)
def test_entry_leaves_by_the_commands_that_cover_it(
    driver: SmmuDriver, opcode: Opcode, target: int, address: int, gone: bool
) -> None:
    driver.map(IPA, FRAME)
    assert driver.translate(IPA) == FRAME
    driver.map(IPA, OTHER)
    driver.command(opcode, target, address)
    assert driver.translate(IPA) == (OTHER if gone else FRAME)


def test_any_address_of_a_block_invalidates_it(driver: SmmuDriver) -> None:
    driver.map_block(IPA, FRAME)
    assert driver.translate(IPA) == FRAME
    driver.map_block(IPA, DRAM_BASE + 6 * MIB)
    driver.command(Opcode.TLBI_S2_IPA, VMID, IPA + MIB)
    assert driver.translate(IPA) == DRAM_BASE + 6 * MIB


def test_streams_of_another_vmid_do_not_share_translations(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME)
    driver.write_entry(driver.entry(s2vmid=VMID + 1), StreamId.NPU0)
    assert driver.translate(IPA, stream=StreamId.NPU0) == FRAME
    driver.map(IPA, OTHER)
    assert driver.translate(IPA) == OTHER
    assert driver.translate(IPA, stream=StreamId.NPU0) == FRAME


def test_commands_of_the_core_reach_nothing_here(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME)
    assert driver.translate(IPA) == FRAME
    driver.map(IPA, OTHER)
    core = driver.rig.machine.core
    driver.rig.machine.write_physical(CODE, struct.pack("<2I", 0xD50C839F, WFI))  # tlbi alle1is
    core.pc = CODE
    driver.rig.machine.run()
    assert driver.translate(IPA) == FRAME


# --- the command queue ---------------------------------------------------------------------------------------------


def test_consumer_reaches_the_producer(driver: SmmuDriver) -> None:
    for _ in range(3 << COMMANDS_LOG2):
        driver.command(Opcode.TLBI_NSNH_ALL)
        assert driver.consumer == driver.producer


def test_full_queue_is_consumed_at_once(driver: SmmuDriver) -> None:
    driver.rig.forget()
    for _ in range(1 << COMMANDS_LOG2):
        driver.put(Opcode.SYNC)
    driver.submit()
    assert driver.consumer == driver.producer
    assert len(driver.rig.seen(EventKind.SMMU_COMMAND)) == 1 << COMMANDS_LOG2


@pytest.mark.parametrize("opcode", [0x00, 0x05, 0x10, 0x11, 0x12, 0x20, 0x40, 0x41, 0x44, 0x45, 0x47, 0xFF])
def test_unknown_command_stops_the_queue_where_it_is(driver: SmmuDriver, opcode: int) -> None:
    driver.put(Opcode.SYNC)
    driver.put(opcode)
    driver.put(Opcode.TLBI_NSNH_ALL)
    driver.submit()
    assert driver.consumer == 1 | CommandError.ILL << 24
    assert driver.rig.read(driver.smmu, Smmu.GERROR) == COMMAND_ERROR


def test_queue_goes_on_once_the_error_is_acknowledged(driver: SmmuDriver) -> None:
    driver.map(IPA, FRAME)
    driver.translate(IPA)
    driver.map(IPA, OTHER)
    driver.command(0xFF)
    driver.command(Opcode.TLBI_NSNH_ALL)
    assert driver.translate(IPA) == FRAME, "nothing is consumed while the error is active"
    driver.rig.machine.write_physical(COMMANDS, bytes([Opcode.SYNC]) + bytes(15))
    driver.rig.write(driver.smmu, Smmu.GERRORN, COMMAND_ERROR)
    assert driver.consumer == driver.producer
    assert driver.translate(IPA) == OTHER


def test_reserved_completion_signal_is_illegal(driver: SmmuDriver) -> None:
    driver.command(Opcode.SYNC, sync_cs=3)
    assert driver.consumer == CommandError.ILL << 24


def test_unreadable_queue_is_an_abort(driver: SmmuDriver) -> None:
    deny_walker(driver, COMMANDS)
    driver.sync()
    assert driver.consumer == CommandError.ABT << 24
    assert driver.rig.read(driver.smmu, Smmu.GERROR) == COMMAND_ERROR


def test_disabled_queue_waits_for_its_enable_bit(driver: SmmuDriver) -> None:
    driver.rig.write(driver.smmu, Smmu.CR0, 0b0101)
    driver.sync()
    assert driver.consumer == 0
    driver.rig.write(driver.smmu, Smmu.CR0, 0b1101)
    assert driver.consumer == driver.producer == 1


# --- the event queue -----------------------------------------------------------------------------------------------


def test_full_event_queue_overflows_once_until_acknowledged(driver: SmmuDriver) -> None:
    room = 1 << EVENTS_LOG2
    for _ in range(room):
        driver.translate(IPA)
    assert driver.rig.read(driver.smmu, Smmu.EVENTQ_PROD) == room
    driver.translate(IPA)
    driver.translate(IPA)
    assert driver.rig.read(driver.smmu, Smmu.EVENTQ_PROD) == room | OVERFLOW
    assert len(driver.events()) == room
    driver.translate(IPA)
    assert driver.codes() == [EventCode.F_TRANSLATION]
    for _ in range(room + 1):
        driver.translate(IPA)
    assert not driver.rig.read(driver.smmu, Smmu.EVENTQ_PROD) & OVERFLOW, "toggles back"


def test_disabled_event_queue_records_nothing(driver: SmmuDriver) -> None:
    driver.rig.write(driver.smmu, Smmu.CR0, 0b1001)
    assert driver.translate(IPA) is None
    assert driver.rig.read(driver.smmu, Smmu.EVENTQ_PROD) == 0


def test_denied_event_queue_is_a_global_error(driver: SmmuDriver) -> None:
    deny_walker(driver, EVENTS)
    assert driver.translate(IPA) is None
    assert driver.rig.read(driver.smmu, Smmu.GERROR) == EVENT_QUEUE_ABORT


def test_structures_above_dram_are_refused_and_not_wrapped(driver: SmmuDriver) -> None:
    driver.rig.write(driver.smmu, Smmu.CR0, 0)
    driver.rig.write(driver.smmu, Smmu.STRTAB_BASE, TABLES + 16 * GIB)
    driver.rig.write(driver.smmu, Smmu.CR0, 0b1101)
    assert driver.translate(IPA) is None
    assert driver.codes() == [EventCode.F_STE_FETCH]


def test_stream_ids_end_with_sidsize_however_large_the_table(driver: SmmuDriver) -> None:
    driver.rig.write(driver.smmu, Smmu.CR0, 0)
    driver.rig.write(driver.smmu, Smmu.STRTAB_BASE_CFG, 63)
    driver.rig.write(driver.smmu, Smmu.CR0, 0b1101)
    for stream in (256, 0xFFFF_FFFF):
        assert driver.translate(IPA, stream=stream) is None
    assert driver.codes() == [EventCode.C_BAD_STREAMID] * 2
