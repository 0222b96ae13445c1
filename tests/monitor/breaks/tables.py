"""Stage-2 tables, the NPU's table and the reverse table, in memory."""

from __future__ import annotations

import struct

from emulator.memory_map import BLOCK_SIZE, NPU_CONTROL, PAGE_SIZE, TZASC, UART0
from monitor.memory import REVERSE_WRITE, CarveOut
from tests.firmware.phone import Phone

from .by_hand import FREE, HIDDEN, IOVA, READABLE, Break, leaf, npu_leaf, put, reverse, table, turn

DRAM_PAGE, DEVICE_PAGE = 0x7FF, 1 << 54 | 0x4C7
READ, WRITE, EXECUTE_NEVER = 1 << 6, 1 << 7, 1 << 54
NPU_BLOCK = NPU_CONTROL.base // BLOCK_SIZE


def page_read_only(phone: Phone) -> None:
    turn(phone, leaf(phone, FREE), WRITE)


def page_as_a_device(phone: Phone) -> None:
    turn(phone, leaf(phone, FREE), 0xF << 2 | EXECUTE_NEVER)


def page_not_shared(phone: Phone) -> None:
    turn(phone, leaf(phone, FREE), 3 << 8)


def page_not_mapped(phone: Phone) -> None:
    put(phone, leaf(phone, FREE), 0)


def page_mapped_to_another(phone: Phone) -> None:
    put(phone, leaf(phone, FREE), HIDDEN | DRAM_PAGE)


def locked_page_mapped(phone: Phone) -> None:
    put(phone, leaf(phone, HIDDEN), HIDDEN | DRAM_PAGE)


def secure_device_mapped(phone: Phone) -> None:
    """In place of a page behind UART0."""
    index = UART0.base % BLOCK_SIZE // PAGE_SIZE + 1
    put(phone, table(phone, CarveOut.DEVICE_LEVEL3, index), TZASC.base | DEVICE_PAGE)


def device_executable(phone: Phone) -> None:
    turn(phone, table(phone, CarveOut.DEVICE_LEVEL3, UART0.base % BLOCK_SIZE // PAGE_SIZE), EXECUTE_NEVER)


def block_of_dram_linked_elsewhere(phone: Phone) -> None:
    turn(phone, table(phone, CarveOut.DRAM_LEVEL2, 3), PAGE_SIZE)


def carve_out_mapped_as_a_block(phone: Phone) -> None:
    base = phone.layout.carve_out_base
    put(phone, table(phone, CarveOut.DRAM_LEVEL2, base % (512 * BLOCK_SIZE) // BLOCK_SIZE), base | DRAM_PAGE & ~2)


def core_reaches_another_gib(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.NORMAL_ROOT, 5), 5 << 30 | DRAM_PAGE & ~2)


def window_of_the_npu_to_another_device(phone: Phone) -> None:
    index = NPU_CONTROL.base % BLOCK_SIZE // PAGE_SIZE
    put(phone, table(phone, CarveOut.NPU_WINDOWS, index), TZASC.base | DEVICE_PAGE)


def devices_mapped_for_dma(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.STORAGE_ROOT, 0), phone.layout.carve_out_base + CarveOut.DEVICE_LEVEL2 | 3)


def driver_reaches_a_locked_page(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.DRIVER_LEVEL3, 511), HIDDEN | DRAM_PAGE)


def driver_reaches_normal_devices(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.DRIVER_ROOT, 0), phone.layout.carve_out_base + CarveOut.DEVICE_LEVEL2 | 3)


def npu_linked_twice(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.DRIVER_DEVICES, NPU_BLOCK), phone.layout.carve_out_base + CarveOut.NPU_WINDOWS | 3)


def npu_linked_nowhere(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.DEVICE_LEVEL2, NPU_BLOCK), 0)


def npu_linked_in_the_normal_world(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.DEVICE_LEVEL2, NPU_BLOCK), phone.layout.carve_out_base + CarveOut.NPU_WINDOWS | 3)


def put_reverse(phone: Phone, page: int, value: int) -> None:
    phone.machine.write_physical(reverse(phone, page), struct.pack("<I", value))


def npu_maps_a_normal_page(phone: Phone) -> None:
    """Both tables agree about it."""
    put_reverse(phone, FREE, (IOVA >> 12) + 6)
    put(phone, npu_leaf(phone, IOVA + 5 * PAGE_SIZE), FREE | DRAM_PAGE & ~WRITE)


def npu_maps_two_pages_at_one_address(phone: Phone) -> None:
    put_reverse(phone, HIDDEN, (IOVA >> 12) + 1)


def npu_leaf_writable(phone: Phone) -> None:
    turn(phone, npu_leaf(phone, IOVA), WRITE)


def npu_leaf_read_only(phone: Phone) -> None:
    turn(phone, npu_leaf(phone, IOVA + PAGE_SIZE), WRITE)


def npu_leaf_to_a_page_that_is_not_the_npus(phone: Phone) -> None:
    put(phone, npu_leaf(phone, IOVA + 9 * PAGE_SIZE), HIDDEN | DRAM_PAGE)


def npu_leaf_lost(phone: Phone) -> None:
    put(phone, npu_leaf(phone, IOVA), 0)


def reverse_entry_lost(phone: Phone) -> None:
    put_reverse(phone, READABLE, 0)


def reverse_entry_says_writable(phone: Phone) -> None:
    put_reverse(phone, READABLE, (IOVA >> 12) + 1 | REVERSE_WRITE)


def reverse_entry_past_the_npus_addresses(phone: Phone) -> None:
    put_reverse(phone, HIDDEN, REVERSE_WRITE - 1)


def npu_table_linked_elsewhere(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.NPU_LEVEL2, 4), phone.layout.carve_out_base + CarveOut.DRAM_LEVEL3 | 3)


def npu_reaches_another_gib(phone: Phone) -> None:
    put(phone, table(phone, CarveOut.NPU_ROOT, 1), 1 << 30 | DRAM_PAGE & ~2)


BREAKS = (
    Break("normal_memory_is_mapped_by_owner", page_read_only),
    Break("normal_memory_is_mapped_by_owner", page_as_a_device),
    Break("normal_memory_is_mapped_by_owner", page_not_shared),
    Break("normal_memory_is_mapped_by_owner", page_not_mapped),
    Break("normal_memory_is_mapped_by_owner", page_mapped_to_another),
    Break("normal_memory_is_mapped_by_owner", locked_page_mapped),
    Break("normal_tables_link_that_memory_and_devices", secure_device_mapped),
    Break("normal_tables_link_that_memory_and_devices", device_executable),
    Break("normal_tables_link_that_memory_and_devices", block_of_dram_linked_elsewhere),
    Break("normal_tables_link_that_memory_and_devices", carve_out_mapped_as_a_block),
    Break("normal_tables_link_that_memory_and_devices", core_reaches_another_gib),
    Break("normal_tables_link_that_memory_and_devices", window_of_the_npu_to_another_device),
    Break("storage_tables_link_that_memory", devices_mapped_for_dma),
    Break("driver_tables_hold_its_own_memory", driver_reaches_a_locked_page),
    Break("driver_tables_hold_its_own_memory", driver_reaches_normal_devices),
    Break("npu_registers_are_linked_by_mode", npu_linked_twice),
    Break("npu_registers_are_linked_by_mode", npu_linked_nowhere),
    Break("npu_registers_are_linked_by_mode", npu_linked_in_the_normal_world, "secure_npu"),
    Break("npu_maps_locked_pages", npu_maps_a_normal_page),
    Break("npu_maps_locked_pages", npu_maps_two_pages_at_one_address),
    Break("npu_entries_are_the_reverse_tables", npu_leaf_writable),
    Break("npu_entries_are_the_reverse_tables", npu_leaf_read_only),
    Break("npu_entries_are_the_reverse_tables", npu_leaf_to_a_page_that_is_not_the_npus),
    Break("npu_entries_are_the_reverse_tables", npu_leaf_lost),
    Break("npu_entries_are_the_reverse_tables", reverse_entry_lost),
    Break("npu_entries_are_the_reverse_tables", reverse_entry_says_writable),
    Break("npu_entries_are_the_reverse_tables", reverse_entry_past_the_npus_addresses),
    Break("npu_tables_link_those_entries", npu_table_linked_elsewhere),
    Break("npu_tables_link_those_entries", npu_reaches_another_gib),
)
