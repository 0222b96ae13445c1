"""The SMMU's registers, its stream table and its copy of it, and DMA under way."""

from __future__ import annotations

from emulator.devices.smmu import Smmu
from emulator.devices.smmu_structures import StreamConfig
from emulator.devices.storage import Command, Storage
from emulator.memory_map import PAGE_SIZE, StreamId
from emulator.native import lib
from monitor.memory import CarveOut
from tests.firmware.phone import PAGE, Phone
from tests.firmware.test_npu_in_flight import FIRST_SUMS, IN_THE_FIRST_STEP, prepare, start

from .by_hand import FREE, Break, lock, npu_leaf, own, put, reverse, stream, translate_dma, turn, word

UNUSED = 5  # a stream that nobody has
BYPASS = 1 | StreamConfig.BYPASS << 1
S2R, S2PS, S2T0SZ, S2VMID = 1 << 58, 1 << 48, 1 << 32, 1 << 2


def smmu_off(phone: Phone) -> None:
    phone.board.smmu.write(Smmu.CR0.offset, 4, 0, secure=True)


def stream_table_moved(phone: Phone) -> None:
    lib.smmu_registers(phone.machine.native).strtab_base += PAGE_SIZE


def stream_table_larger(phone: Phone) -> None:
    lib.smmu_registers(phone.machine.native).strtab_base_cfg = 8


def unknown_streams_not_recorded(phone: Phone) -> None:
    lib.smmu_registers(phone.machine.native).cr2 = 0


def walks_not_cached(phone: Phone) -> None:
    phone.board.smmu.CR1.value = 0


def commands_waiting(phone: Phone) -> None:
    lib.smmu_registers(phone.machine.native).cmdq_prod += 1


def monitor_counts_another_command(phone: Phone) -> None:
    address = phone.images.monitor.symbols["producer"]
    phone.machine.write_physical(address, b"\x7f\0\0\0")


def command_in_error(phone: Phone) -> None:
    lib.smmu_registers(phone.machine.native).gerror ^= 1


def unused_stream_bypasses(phone: Phone) -> None:
    put(phone, stream(phone, UNUSED), BYPASS)


def storage_faults_not_recorded(phone: Phone) -> None:
    turn(phone, stream(phone, StreamId.STORAGE, 2), S2R)


def storage_with_another_output_size(phone: Phone) -> None:
    turn(phone, stream(phone, StreamId.STORAGE, 2), S2PS)


def npu_with_another_vmid(phone: Phone) -> None:
    turn(phone, stream(phone, StreamId.NPU1, 2), S2VMID)


def npu_with_wider_addresses(phone: Phone) -> None:
    turn(phone, stream(phone, StreamId.NPU0, 2), S2T0SZ)


def storage_with_the_cores_table(phone: Phone) -> None:
    put(phone, stream(phone, StreamId.STORAGE, 3), phone.layout.carve_out_base + CarveOut.NORMAL_ROOT)


def secure_npu_with_the_normal_table(phone: Phone) -> None:
    for at in range(4):
        put(phone, stream(phone, StreamId.NPU2, at), word(phone, stream(phone, StreamId.STORAGE, at)))


def entry_of_a_stream_not_zero_behind(phone: Phone) -> None:
    put(phone, stream(phone, StreamId.STORAGE, 6), 1)


def bypass_cached(phone: Phone) -> None:
    """The table is right again, and no command was given."""
    entry = word(phone, stream(phone, UNUSED))
    put(phone, stream(phone, UNUSED), BYPASS)
    translate_dma(phone, UNUSED, PAGE)
    put(phone, stream(phone, UNUSED), entry)


def storage_brings_a_page_that_is_locked(phone: Phone) -> None:
    """It was its own when the burst was translated."""
    _begin(phone, Command.READ)
    lock(phone, FREE)


def storage_takes_a_page_that_is_locked(phone: Phone) -> None:
    """What it reads from memory goes to the medium."""
    _begin(phone, Command.WRITE)
    lock(phone, FREE)


def _begin(phone: Phone, command: Command) -> None:
    for register, value in ((Storage.ADDRESS, FREE), (Storage.COUNT, 2), (Storage.CONTROL, command)):
        phone.board.storage.write(register.offset, register.width // 8, value, secure=False)


def npu_posted_sums_for_a_page_that_is_not_its(phone: Phone) -> None:
    """Neither table maps it any more; only CMD_SYNC would have written the sums before."""
    prepare(phone)
    start(phone)
    phone.wait(IN_THE_FIRST_STEP)
    page = PAGE + FIRST_SUMS * PAGE_SIZE
    put(phone, npu_leaf(phone, FIRST_SUMS * PAGE_SIZE), 0)
    phone.machine.write_physical(reverse(phone, page), bytes(4))
    own(phone, page, 3)


BREAKS = (
    Break("smmu_is_on", smmu_off),
    Break("smmu_is_on", stream_table_moved),
    Break("smmu_is_on", stream_table_larger),
    Break("smmu_is_on", unknown_streams_not_recorded),
    Break("smmu_is_on", walks_not_cached),
    Break("smmu_has_done_every_command", commands_waiting),
    Break("smmu_has_done_every_command", monitor_counts_another_command),
    Break("smmu_has_done_every_command", command_in_error),
    Break("streams_have_their_owners_table", unused_stream_bypasses),
    Break("streams_have_their_owners_table", storage_faults_not_recorded),
    Break("streams_have_their_owners_table", storage_with_another_output_size),
    Break("streams_have_their_owners_table", npu_with_another_vmid),
    Break("streams_have_their_owners_table", npu_with_wider_addresses),
    Break("streams_have_their_owners_table", storage_with_the_cores_table),
    Break("streams_have_their_owners_table", secure_npu_with_the_normal_table, "secure_npu"),
    Break("streams_have_their_owners_table", entry_of_a_stream_not_zero_behind),
    Break("smmu_has_cached_todays_streams", bypass_cached),
    Break("transfers_land_where_they_may", storage_brings_a_page_that_is_locked),
    Break("transfers_land_where_they_may", storage_takes_a_page_that_is_locked),
    Break("transfers_land_where_they_may", npu_posted_sums_for_a_page_that_is_not_its, "booted"),
)
