"""The storage controller and its DMA: bursts, what stops them, and what the SMMU can and cannot take back."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from emulator.devices.smmu_structures import EventCode, Opcode
from emulator.devices.storage import Cause, Command, Storage
from emulator.events import EventKind
from emulator.memory_map import DRAM_BASE, MIB, PAGE_SIZE, UART0, StreamId
from emulator.native import lib

from .rig import CODE, PAGE, Rig
from .smmu_driver import VMID, SmmuDriver

BURST = 2048  # DMA_BURST_INSTRUCTIONS
BUSY, DONE, ERROR = 1, 2, 4
IPA = DRAM_BASE + 2 * MIB
FRAME = DRAM_BASE + 4 * MIB
CONTENT = b"".join(bytes([block + 1]) * PAGE_SIZE for block in range(8))


def failed(cause: Cause) -> int:
    return ERROR | cause << 4


@pytest.fixture(name="direct")
def _direct(rig: Rig) -> Rig:
    """No SMMU in the way, a medium of 8 blocks."""
    rig.open_dram()
    rig.bypass_smmu()
    rig.board.storage.insert(CONTENT)
    return rig


@pytest.fixture(name="driver")
def _driver(rig: Rig) -> SmmuDriver:
    driver = SmmuDriver(rig)
    rig.board.storage.insert(bytearray(CONTENT), writable=True)
    for page in range(8):
        driver.map(IPA + page * PAGE_SIZE, FRAME + page * PAGE_SIZE)
    return driver


def status(rig: Rig) -> int:
    return rig.read(rig.board.storage, Storage.STATUS)


def moved(rig: Rig) -> int:
    return rig.read(rig.board.storage, Storage.BYTES_DONE)


def let_pass(rig: Rig, instructions: int) -> None:
    """Guest time passes while the core waits."""
    lib.core_advance(rig.machine.native, rig.machine.instructions + instructions)
    rig.machine.core.pc = CODE + 4
    rig.machine.run()


# --- transfers -----------------------------------------------------------------------------------------------------


def test_reads_blocks_into_memory(direct: Rig) -> None:
    assert direct.transfer(Command.READ, PAGE, blocks=3, block=2) == DONE
    assert direct.machine.read_physical(PAGE, 3 * PAGE_SIZE) == CONTENT[2 * PAGE_SIZE : 5 * PAGE_SIZE]
    assert direct.machine.read_physical(PAGE + 3 * PAGE_SIZE, 16) == bytes(16)
    assert moved(direct) == 3 * PAGE_SIZE


def test_writes_memory_onto_the_medium(direct: Rig) -> None:
    medium = bytearray(4 * PAGE_SIZE)
    direct.board.storage.insert(medium, writable=True)
    direct.machine.write_physical(PAGE, CONTENT[: 2 * PAGE_SIZE])
    assert direct.transfer(Command.WRITE, PAGE, blocks=2, block=1) == DONE
    assert medium == bytes(PAGE_SIZE) + CONTENT[: 2 * PAGE_SIZE] + bytes(PAGE_SIZE)


def test_last_block_is_filled_up_with_zeros(direct: Rig) -> None:
    direct.board.storage.insert(b"abc")
    direct.machine.write_physical(PAGE, b"\xff" * PAGE_SIZE)
    assert direct.read(direct.board.storage, Storage.CAPACITY_BLOCKS) == 1
    assert direct.transfer(Command.READ, PAGE) == DONE
    assert direct.machine.read_physical(PAGE, PAGE_SIZE) == b"abc".ljust(PAGE_SIZE, b"\0")


def test_mapped_file_serves_as_medium(direct: Rig, tmp_path: Path) -> None:
    path = tmp_path / "flash"
    path.write_bytes(CONTENT)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        direct.board.storage.insert(mapped)
        assert direct.transfer(Command.READ, PAGE, block=7) == DONE
        direct.board.storage.unplug()
    assert direct.machine.read_physical(PAGE, PAGE_SIZE) == CONTENT[-PAGE_SIZE:]


def test_unaligned_address_moves_in_bursts_that_do_not_cross_pages(direct: Rig) -> None:
    assert direct.transfer(Command.READ, PAGE + 0x100, blocks=2) == DONE
    assert direct.machine.read_physical(PAGE + 0x100, 2 * PAGE_SIZE) == CONTENT[: 2 * PAGE_SIZE]
    assert [args[3] for args in direct.seen(EventKind.DMA)] == [PAGE_SIZE - 0x100, PAGE_SIZE, 0x100]


def test_whoever_waits_sees_the_end_when_time_has_come_to_it(direct: Rig) -> None:
    """Without another instruction: a second wait would last until something else happens."""
    direct.start(Command.READ, PAGE)
    assert status(direct) == BUSY
    assert direct.machine.advance_to_next_event()
    assert status(direct) == DONE
    assert not direct.machine.advance_to_next_event()


def test_zero_blocks_are_done_at_once(direct: Rig) -> None:
    direct.start(Command.READ, PAGE, blocks=0)
    assert status(direct) == DONE


def test_never_started_is_neither_busy_nor_done(direct: Rig) -> None:
    assert status(direct) == 0


@pytest.mark.parametrize(("block", "blocks"), [(8, 1), (7, 2), (0, 9), (0xFFFF_FFFF, 0xFFFF_FFFF)])
def test_range_beyond_the_medium_is_refused(direct: Rig, block: int, blocks: int) -> None:
    assert direct.transfer(Command.READ, PAGE, blocks, block) == failed(Cause.OUT_OF_RANGE)
    assert direct.machine.read_physical(PAGE, PAGE_SIZE) == bytes(PAGE_SIZE)


def test_read_only_medium_refuses_writes(direct: Rig) -> None:
    assert direct.transfer(Command.WRITE, PAGE) == failed(Cause.READ_ONLY)


def test_unknown_command_is_an_error(direct: Rig) -> None:
    storage = direct.board.storage
    direct.write(storage, Storage.CONTROL, 3)
    assert status(direct) == failed(Cause.BAD_COMMAND)
    assert direct.transfer(Command.READ, PAGE) == DONE


def test_start_while_busy_is_ignored(direct: Rig) -> None:
    direct.start(Command.READ, PAGE, blocks=2)
    direct.start(Command.READ, PAGE + MIB, blocks=1)
    assert direct.finish() == DONE
    assert direct.machine.read_physical(PAGE + MIB, 16) == bytes(16)


def test_writable_medium_must_have_whole_blocks(direct: Rig) -> None:
    with pytest.raises(ValueError, match="pad its last block"):
        direct.board.storage.insert(bytearray(100), writable=True)


def test_causes_are_numbered_as_the_native_errors() -> None:
    natives = (lib.DMA_NO_ERROR, lib.DMA_FAULT, lib.DMA_NO_MEDIUM, lib.DMA_OUT_OF_RANGE, lib.DMA_READ_ONLY)
    assert natives == (Cause.NONE, Cause.DMA_FAULT, Cause.NO_MEDIUM, Cause.OUT_OF_RANGE, Cause.READ_ONLY)


# --- the medium goes away ------------------------------------------------------------------------------------------


def test_no_medium_is_an_error(rig: Rig) -> None:
    assert rig.read(rig.board.storage, Storage.CAPACITY_BLOCKS) == 0
    assert rig.transfer(Command.READ, PAGE) == failed(Cause.NO_MEDIUM)


def test_unplugging_ends_a_transfer_with_an_error(direct: Rig) -> None:
    direct.start(Command.READ, PAGE, blocks=8)
    let_pass(direct, 3 * BURST)
    direct.board.storage.unplug()
    assert direct.finish() == failed(Cause.NO_MEDIUM)
    assert moved(direct) == 3 * PAGE_SIZE
    assert direct.machine.read_physical(PAGE + 3 * PAGE_SIZE, PAGE_SIZE) == bytes(PAGE_SIZE)


# --- bursts in guest time ------------------------------------------------------------------------------------------


def test_one_burst_is_performed_every_step(direct: Rig) -> None:
    direct.start(Command.READ, PAGE, blocks=4)
    assert (status(direct), moved(direct)) == (BUSY, 0)
    let_pass(direct, BURST - 200)
    assert moved(direct) == 0
    let_pass(direct, 400)
    assert moved(direct) == PAGE_SIZE
    let_pass(direct, BURST)
    assert moved(direct) == 2 * PAGE_SIZE


def test_steps_happen_at_their_exact_instruction(direct: Rig) -> None:
    begun = direct.machine.instructions
    direct.start(Command.READ, PAGE, blocks=3)
    direct.finish()
    direct.machine.events.drain()
    times = [event.instruction - begun for event in direct.events if event.kind is EventKind.DMA]
    assert times == [BURST, 2 * BURST, 3 * BURST]


def test_transfer_goes_on_while_the_core_executes(direct: Rig) -> None:
    spin = 0x14000000  # b .
    direct.machine.write_physical(CODE, spin.to_bytes(4, "little"))
    direct.start(Command.READ, PAGE, blocks=4)
    direct.machine.core.pc = CODE
    direct.machine.run(direct.machine.instructions + 2 * BURST + 100)
    assert moved(direct) == 2 * PAGE_SIZE


def test_code_that_dma_overwrites_is_forgotten(direct: Rig) -> None:
    nop, wfi, set_x5 = 0xD503201F, 0xD503207F, 0xD28000E5  # mov x5, #7
    direct.machine.write_physical(PAGE, nop.to_bytes(4, "little") + wfi.to_bytes(4, "little"))
    core = direct.machine.core
    core.pc, core.x[5] = PAGE, 0
    direct.machine.run()
    block = set_x5.to_bytes(4, "little") + wfi.to_bytes(4, "little")
    direct.board.storage.insert(block)
    direct.transfer(Command.READ, PAGE)
    core.pc = PAGE
    direct.machine.run()
    assert core.x[5] == 7


# --- the filters and the SMMU --------------------------------------------------------------------------------------


def test_transfers_go_through_stage_2(driver: SmmuDriver) -> None:
    assert driver.rig.transfer(Command.READ, IPA, blocks=2) == DONE
    assert driver.rig.machine.read_physical(FRAME, 2 * PAGE_SIZE) == CONTENT[: 2 * PAGE_SIZE]
    first = driver.rig.seen(EventKind.DMA)[0]
    assert first[:5] == (StreamId.STORAGE, IPA, FRAME, PAGE_SIZE, 1)


def test_refused_translation_ends_the_transfer(driver: SmmuDriver) -> None:
    driver.map(IPA + PAGE_SIZE, 0, 0)
    assert driver.rig.transfer(Command.READ, IPA, blocks=4) == failed(Cause.DMA_FAULT)
    assert moved(driver.rig) == PAGE_SIZE
    assert driver.codes() == [EventCode.F_TRANSLATION]


def test_filter_is_asked_when_the_burst_is_performed(driver: SmmuDriver) -> None:
    driver.rig.start(Command.READ, IPA)
    driver.rig.region(1, FRAME, FRAME)
    assert driver.rig.finish() == failed(Cause.DMA_FAULT)
    assert driver.rig.machine.read_physical(FRAME, PAGE_SIZE) == bytes(PAGE_SIZE)


def test_device_registers_are_no_dma_target(direct: Rig) -> None:
    direct.write(direct.board.tzpc, direct.board.tzpc.DECPROT_SET.register, 0xFF)
    assert direct.transfer(Command.READ, UART0.base) == failed(Cause.DMA_FAULT)


def test_secure_sram_is_no_dma_target(direct: Rig) -> None:
    assert direct.transfer(Command.READ, 0x0E00_0000) == failed(Cause.DMA_FAULT)


@pytest.mark.parametrize("command", [Command.READ, Command.WRITE])
def test_translated_burst_lands_after_an_unmap_without_sync(driver: SmmuDriver, command: Command) -> None:
    """The attack that CMD_SYNC is there for: without it the burst arrives in a page that is no longer the master's."""
    driver.rig.start(command, IPA, blocks=2)
    unmap(driver)
    secret = b"secret".ljust(PAGE_SIZE, b"!")
    driver.rig.machine.write_physical(FRAME, secret)
    assert driver.rig.finish() == failed(Cause.DMA_FAULT)
    assert moved(driver.rig) == PAGE_SIZE
    landed = driver.rig.machine.read_physical(FRAME, PAGE_SIZE)
    assert landed == (CONTENT[:PAGE_SIZE] if command is Command.READ else secret)


def test_sync_drains_the_burst_that_is_in_flight(driver: SmmuDriver) -> None:
    driver.rig.start(Command.READ, IPA, blocks=2)
    unmap(driver)
    driver.sync()
    assert moved(driver.rig) == PAGE_SIZE
    driver.rig.machine.write_physical(FRAME, bytes(PAGE_SIZE))
    assert driver.rig.finish() == failed(Cause.DMA_FAULT)
    assert driver.rig.machine.read_physical(FRAME, PAGE_SIZE) == bytes(PAGE_SIZE)


def test_sync_ends_a_transfer_whose_last_burst_it_performs(driver: SmmuDriver) -> None:
    driver.rig.start(Command.READ, IPA)
    driver.sync()
    assert status(driver.rig) == DONE
    assert not driver.rig.machine.advance_to_next_event()


def unmap(driver: SmmuDriver) -> None:
    for page in range(8):
        driver.map(IPA + page * PAGE_SIZE, 0, 0)
    driver.command(Opcode.TLBI_S12_VMALL, VMID)
