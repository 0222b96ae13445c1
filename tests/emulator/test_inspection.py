"""What the hardware holds, looked up past it: each entry is one that is still in use, and no look changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

import numpy as np
import pytest

from emulator import inspection
from emulator.core import SYSTEM_REGISTERS
from emulator.devices.gic import GicCpuInterface, GicDistributor
from emulator.devices.npu import NpuControl, NpuCore
from emulator.devices.smmu_structures import Opcode
from emulator.devices.storage import Command, Storage
from emulator.devices.tzc400 import Tzc400
from emulator.devices.tzpc import Tzpc
from emulator.inspection import Inspection, Memory, Regime, Registers, TlbKind
from emulator.memory_map import DEVICES, DRAM_BASE, MIB, PAGE_SIZE, SECURE_SRAM, SMMU, StreamId
from emulator.native import ffi, lib

from . import bare
from .devices.rig import Rig, rig
from .devices.smmu_driver import VMID, SmmuDriver

STAGE1, STAGE2, OTHER_STAGE2 = (DRAM_BASE + index * MIB for index in (1, 2, 3))
VA, IPA, PA = 0x12_3456_7000, DRAM_BASE + 6 * MIB, DRAM_BASE + 7 * MIB
ASID, CORE_VMID = 3, 7
VAE1, ASIDE1, VMALLE1, IPAS2E1, VMALLS12E1 = (0, 7, 1), (0, 7, 2), (0, 7, 0), (4, 4, 1), (4, 7, 6)  # op1, CRm, op2
OF_ASID = ASID << 48
NOT_GLOBAL = 1 << 11


@pytest.fixture(name="board")
def _board() -> Iterator[Rig]:
    """Everybody reaches all of DRAM; EL1 translates by two tables, VA to IPA to PA."""
    with rig() as made:
        made.open_dram()
        core = made.machine.core
        first, second = bare.PageTable(made.machine, STAGE1), bare.PageTable(made.machine, STAGE2)
        first.map(VA, IPA, bare.NORMAL | NOT_GLOBAL)
        second.map(IPA, PA, bare.STAGE2_RW)
        for page in range(STAGE1, STAGE1 + 4 * PAGE_SIZE, PAGE_SIZE):
            second.map(page, page, bare.STAGE2_RW)
        for register, value in (
            ("SCR_EL3", bare.SCR_RW | bare.SCR_NS), ("HCR_EL2", bare.HCR_RW | 1), ("TCR_EL1", bare.TCR_EL1 | 1 << 36),
            ("MAIR_EL1", bare.MAIR), ("TTBR0_EL1", STAGE1 | OF_ASID), ("VTCR_EL2", bare.VTCR),
            ("VTTBR_EL2", STAGE2 | CORE_VMID << 48), ("SCTLR_EL1", 1),
        ):  # fmt: skip
            core.write_sysreg(register, value)
        yield made


@pytest.fixture(name="inspected")
def _inspected(board: Rig) -> Inspection:
    return Inspection(board.machine.native)


def translate(board: Rig, address: int = VA) -> None:
    probe = ffi.new("struct probe *")
    lib.translate_probe(board.machine.native, address, 0, 1, probe)
    assert probe.allowed


def entries(inspected: Inspection) -> dict[TlbKind, set[int]]:
    """Input addresses, by kind."""
    found = np.frombuffer(inspected.core_tlb.read(), inspection.TLB_ENTRY)
    return {kind: set(found[found["kind"] == kind]["address"].tolist()) for kind in TlbKind}


def invalidate(board: Rig, operation: tuple[int, int, int], operand: int = 0) -> None:
    lib.tlb_maintain(board.machine.native, *operation, operand)


def test_types_are_those_of_the_native_structures() -> None:
    """Each field is found where the native side has put it."""
    for kind, structure in (
        (inspection.TLB_ENTRY, ffi.new("struct inspect_entry *")),
        (inspection.REGION, ffi.new("struct inspect_region *")),
        (inspection.FILTERS, ffi.new("struct inspect_filters *")),
        (inspection.STREAM, ffi.new("struct inspect_stream *")),
        (inspection.TRANSFER, ffi.new("struct inspect_transfer *")),
        (inspection.GIC, ffi.new("struct inspect_interrupts *")),
        (inspection.NPU, ffi.new("struct inspect_npu *")),
        (inspection.SMMU_REGISTERS, ffi.new("struct smmu_registers *")),
    ):
        numbers = [name for name in kind.names or () if kind[name].shape == ()]
        for number, name in enumerate(numbers):
            setattr(structure, name, number + 1)
        data = bytes(ffi.buffer(structure))
        assert len(data) == kind.itemsize
        assert [np.frombuffer(data, kind)[0][name] for name in numbers] == list(range(1, len(numbers) + 1))


# --- the core's TLB -------------------------------------------------------------------------------------------------


def test_entries_are_what_was_translated(board: Rig, inspected: Inspection) -> None:
    assert inspected.core_tlb.read() == b""
    translate(board)
    found = np.frombuffer(inspected.core_tlb.read(), inspection.TLB_ENTRY)
    assert set(found["regime"].tolist()) == {Regime.EL1_NORMAL}
    (both,) = found[found["kind"] == TlbKind.COMBINED]
    (first,) = found[found["kind"] == TlbKind.STAGE1]
    names = ("address", "output", "vmid", "asid", "shift", "permissions", "attributes", "shareability")
    assert itemgetter(*names)(both) == (VA, PA, CORE_VMID, ASID, 12, 7, 0xF, 3)
    assert itemgetter("address", "output", "asid", "is_global", "attributes")(first) == (VA, IPA, ASID, 0, 0xFF)
    assert entries(inspected)[TlbKind.STAGE2] >= {IPA, STAGE1}


def test_combined_entry_goes_with_its_parent(board: Rig, inspected: Inspection) -> None:
    translate(board)
    before = entries(inspected)
    assert before[TlbKind.STAGE1] == before[TlbKind.COMBINED] == {VA}
    invalidate(board, VAE1, VA >> 12 | OF_ASID)
    after = entries(inspected)
    assert after == {**before, TlbKind.STAGE1: set(), TlbKind.COMBINED: set()}
    translate(board)  # a new parent does not revive the old child
    assert entries(inspected) == before


def test_combined_entry_outlives_its_second_stage(board: Rig, inspected: Inspection) -> None:
    translate(board)
    invalidate(board, IPAS2E1, IPA >> 12)
    found = entries(inspected)
    assert found[TlbKind.COMBINED] == {VA}
    assert IPA not in found[TlbKind.STAGE2]


@pytest.mark.parametrize(("operation", "operand"), [(VMALLS12E1, 0), (VMALLE1, 0), (ASIDE1, OF_ASID)])
def test_what_was_invalidated_is_not_seen(
    board: Rig, inspected: Inspection, operation: tuple[int, int, int], operand: int
) -> None:
    translate(board)
    invalidate(board, operation, operand)
    found = entries(inspected)
    assert found[TlbKind.STAGE1] == found[TlbKind.COMBINED] == set()
    assert (found[TlbKind.STAGE2] == set()) == (operation == VMALLS12E1)


def test_more_entries_than_there_was_room_for(board: Rig, inspected: Inspection) -> None:
    table, count = bare.PageTable(board.machine, OTHER_STAGE2), 3 * inspection.FIRST_ROOM
    board.machine.core.write_sysreg("VTTBR_EL2", OTHER_STAGE2 | CORE_VMID << 48)
    board.machine.core.write_sysreg("SCTLR_EL1", 0)
    pages = [DRAM_BASE + 16 * MIB + page * PAGE_SIZE for page in range(count)]
    for page in pages:
        table.map(page, page, bare.STAGE2_RW)
        translate(board, page)
    assert entries(inspected)[TlbKind.STAGE2] == set(pages)


def test_what_is_known_is_read_again_when_something_has_come_or_gone(board: Rig, inspected: Inspection) -> None:
    translate(board)
    known = inspected.core_tlb.read()
    translate(board)  # finds what is there
    assert inspected.core_tlb.read() is known
    state = board.machine.save()
    invalidate(board, VMALLE1)
    gone = inspected.core_tlb.read()
    assert gone != known
    board.machine.restore(state)
    assert inspected.core_tlb.read() == known


# --- the SMMU and DMA -----------------------------------------------------------------------------------------------


def test_smmu_shows_what_it_has_cached_until_it_is_told_to_forget(board: Rig, inspected: Inspection) -> None:
    driver = SmmuDriver(board)
    driver.map(IPA, PA)
    assert (inspected.streams(), inspected.smmu_tlb.read()) == (b"", b"")
    assert driver.translate(IPA) == PA
    (stream,) = np.frombuffer(inspected.streams(), inspection.STREAM)
    assert stream["stream"] == StreamId.STORAGE
    assert list(stream["word"]) == [driver.entry().values[offset] for offset in range(0, 32, 8)]
    (entry,) = np.frombuffer(inspected.smmu_tlb.read(), inspection.TLB_ENTRY)
    assert itemgetter("address", "output", "vmid", "kind")(entry) == (IPA, PA, VMID, TlbKind.STAGE2)
    driver.command(Opcode.TLBI_S2_IPA, VMID, IPA)
    driver.command(Opcode.CFGI_STE, StreamId.STORAGE)
    assert (inspected.streams(), inspected.smmu_tlb.read()) == (b"", b"")


def test_burst_that_is_translated_is_under_way_until_it_is_performed(board: Rig, inspected: Inspection) -> None:
    driver = SmmuDriver(board)
    driver.map(IPA, PA)
    board.board.storage.insert(bytes(PAGE_SIZE))
    assert inspected.transfers() == b""
    for register, value in ((Storage.ADDRESS, IPA), (Storage.COUNT, 1), (Storage.CONTROL, Command.READ)):
        board.write(board.board.storage, register, value)
    (one,) = np.frombuffer(inspected.transfers(), inspection.TRANSFER)
    assert itemgetter("output", "bytes", "stream", "write")(one) == (PA, PAGE_SIZE, StreamId.STORAGE, 1)
    driver.command(Opcode.SYNC)
    assert inspected.transfers() == b""


# --- memory, registers, devices -------------------------------------------------------------------------------------


def test_memory_is_read_and_compared_range_by_range(board: Rig) -> None:
    machine = board.machine
    memory = Memory(machine.native, [(PA, 8), (SECURE_SRAM.base, 4), (PA + PAGE_SIZE - 4, 8)])
    machine.write_physical(PA, b"01234567")
    machine.write_physical(PA + PAGE_SIZE, b"89ab")
    data = memory.read()
    assert data == b"01234567" + machine.read_physical(SECURE_SRAM.base, 4) + bytes(4) + b"89ab"
    assert memory.holds(data)
    machine.write_physical(PA + 8, b"!")
    assert memory.holds(data)
    machine.write_physical(PA + PAGE_SIZE + 3, b"!")
    assert not memory.holds(data)


@pytest.mark.parametrize("place", [(0x1000, 8), (DRAM_BASE + 64 * MIB - 8, 16), ((1 << 64) - 8, 8)])
def test_what_is_not_memory_is_no_memory(board: Rig, place: tuple[int, int]) -> None:
    memory = Memory(board.machine.native, [(DRAM_BASE, 8), place])
    with pytest.raises(ValueError, match="not memory"):
        memory.read()
    assert not memory.holds(bytes(8 + place[1]))


def test_registers_are_the_cores(board: Rig) -> None:
    values = np.frombuffer(Registers(board.machine.native, list(SYSTEM_REGISTERS)).read(), np.uint64)
    assert values.tolist() == [board.machine.core.read_sysreg(name) for name in SYSTEM_REGISTERS]


def test_filters_are_what_was_programmed(board: Rig, inspected: Inspection) -> None:
    board.region(5, PA, PA, attributes=1 | 1 << 31, access=0x0003_0005)
    board.write(board.board.tzpc, Tzpc.R0SIZE, 3)
    board.write(board.board.tzpc, Tzpc.DECPROT_SET, 1 << DEVICES.index(SMMU))
    board.write(board.board.tzasc, Tzc400.ACTION, 0)
    found = np.frombuffer(inspected.filters(), inspection.FILTERS)[0]
    assert tuple(found["region"][5])[:7] == (PA, PA + PAGE_SIZE - 1, 5, 3, 1, 0, 1)
    assert (found["secure_sram_pages"], found["gate_open"], found["bus_error"]) == (3, 1, 0)
    assert int(found["normal_devices"]) >> DEVICES.index(SMMU) & 1


def test_interrupts_are_the_gics(board: Rig, inspected: Inspection) -> None:
    gic, interrupt = board.board.gic, 70
    for register, value in (
        (GicDistributor.IGROUPR, 1 << interrupt % 32), (GicDistributor.ISENABLER, 1 << interrupt % 32),
        (GicDistributor.ISACTIVER, 1 << interrupt % 32),
    ):  # fmt: skip
        gic.distributor.write(register.at(interrupt // 32), 4, value, True)
    gic.distributor.write(GicDistributor.IPRIORITYR.offset + interrupt, 1, 0x50, True)
    gic.distributor.write(GicDistributor.CTLR.offset, 4, 3, True)
    for register, value in ((GicCpuInterface.CTLR, 9), (GicCpuInterface.PMR, 0xF0), (GicCpuInterface.BPR, 2)):
        gic.interface.write(register.offset, 4, value, True)
    found = np.frombuffer(inspected.interrupts(), inspection.GIC)[0]
    flags = [np.nonzero(found[name][16:])[0].tolist() for name in ("group1", "enabled", "active", "priority")]
    assert flags == [[interrupt - 16]] * 4
    assert found["priority"][interrupt] == 0x50
    controls = ("distributor_control", "control", "priority_mask", "binary_point")
    assert itemgetter(*controls)(found) == (3, 9, 0xF0, 2)


def test_npu_is_used_until_it_is_reset(board: Rig, inspected: Inspection) -> None:
    npu = board.board.npu

    def found() -> tuple[int, ...]:
        return tuple(int(value) for value in np.frombuffer(inspected.npu(), inspection.NPU)[0])

    assert found() == (0, 0, 0, 0)
    for register in (NpuControl.POWER, NpuControl.CLOCK):
        npu.control.write(register.offset, 4, 6, False)
    npu.cores[2].write(NpuCore.PC_BASE_ADDRESS.offset, 4, PAGE_SIZE, False)
    assert found() == (6, 6, 0, 4)
    for register, value in ((NpuCore.PC_TASK_CON, 1), (NpuCore.PC_OPERATION_ENABLE, 1)):
        npu.cores[1].write(register.offset, 4, value, False)
    assert found() == (6, 6, 2, 6)
    npu.control.write(NpuControl.RESET.offset, 4, 7, False)
    assert found() == (6, 6, 0, 0)


def test_looking_changes_nothing(board: Rig, inspected: Inspection) -> None:
    driver = SmmuDriver(board)
    driver.map(IPA, PA)
    driver.translate(IPA)
    translate(board)
    invalidate(board, VAE1, VA >> 12 | OF_ASID)
    before = board.machine.save()
    board.machine.events.drain()
    board.events.clear()
    for _ in range(2):
        for look in (
            inspected.core_tlb.read, inspected.smmu_tlb.read, inspected.filters, inspected.smmu_registers,
            inspected.streams, inspected.transfers, inspected.interrupts, inspected.npu,
            Registers(board.machine.native, list(SYSTEM_REGISTERS)).read,
            Memory(board.machine.native, [(DRAM_BASE, 64 * MIB)]).read,
        ):  # fmt: skip
            look()
    after = board.machine.save()
    assert (after.core, after.devices, after.pages) == (before.core, before.devices, before.pages)
    board.machine.events.drain()
    assert board.events == []
