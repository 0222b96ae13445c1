"""Code and constants of EL2 and EL3, and EL3's own tables."""

from __future__ import annotations

from emulator.memory_map import BLOCK_SIZE, DRAM_BASE, PAGE_SIZE, SECURE_SRAM, SMMU
from monitor.memory import CarveOut
from tests.firmware.phone import Phone

from .by_hand import Break, el3_entry, put, turn, variable

READ_ONLY, NON_SECURE, EXECUTE_NEVER = 1 << 7, 1 << 5, 1 << 54


def stub_overwritten(phone: Phone) -> None:
    phone.machine.write_physical(phone.layout.carve_out_base + CarveOut.EL2_STUB + 0x800, bytes(64))


def monitor_code_patched(phone: Phone) -> None:
    turn(phone, phone.images.monitor.symbols["smc_entry"], 1)


def monitor_constant_patched(phone: Phone) -> None:
    turn(phone, phone.images.monitor.symbols["kinds"], 1)


def monitor_code_writable(phone: Phone) -> None:
    turn(phone, el3_entry(phone, "sram_level3", 0), READ_ONLY)


def monitor_data_executable(phone: Phone) -> None:
    index = (phone.images.monitor.symbols["contexts"] - SECURE_SRAM.base) // PAGE_SIZE
    turn(phone, el3_entry(phone, "sram_level3", index), EXECUTE_NEVER)


def stack_guard_mapped(phone: Phone) -> None:
    guard = phone.images.monitor.symbols["__stack_guard"]
    put(phone, el3_entry(phone, "sram_level3", (guard - SECURE_SRAM.base) // PAGE_SIZE), guard | 0x0040_0000_0000_0747)


def flex_mem_mapped_as_secure(phone: Phone) -> None:
    turn(phone, el3_entry(phone, "dram_level2", 0), NON_SECURE)


def ownership_mapped_as_normal(phone: Phone) -> None:
    index = (phone.layout.ownership_base - DRAM_BASE) // BLOCK_SIZE
    turn(phone, el3_entry(phone, "dram_level2", index), NON_SECURE)


def smmu_mapped_as_memory(phone: Phone) -> None:
    turn(phone, el3_entry(phone, "uart_level3", SMMU.base % BLOCK_SIZE // PAGE_SIZE), 1 << 2)


def el3_maps_another_gib(phone: Phone) -> None:
    put(phone, el3_entry(phone, "level1", 2), 0x8000_0000 | 0x0040_0000_0000_0765)


def ownership_table_elsewhere(phone: Phone) -> None:
    variable(phone, "table", phone.layout.secure_base)


def carve_out_among_normal_pages(phone: Phone) -> None:
    variable(phone, "normal_pages", phone.layout.pages)


def npu_has_more_addresses(phone: Phone) -> None:
    variable(phone, "iova_pages", 1 << 20)


BREAKS = (
    Break("el2_runs_the_stub", stub_overwritten),
    Break("el3_runs_the_image", monitor_code_patched),
    Break("el3_runs_the_image", monitor_constant_patched),
    Break("el3_knows_its_tables", ownership_table_elsewhere),
    Break("el3_knows_its_tables", carve_out_among_normal_pages),
    Break("el3_knows_its_tables", npu_has_more_addresses),
    Break("el3_maps_what_it_needs", monitor_code_writable),
    Break("el3_maps_what_it_needs", monitor_data_executable),
    Break("el3_maps_what_it_needs", stack_guard_mapped),
    Break("el3_maps_what_it_needs", flex_mem_mapped_as_secure),
    Break("el3_maps_what_it_needs", ownership_mapped_as_normal),
    Break("el3_maps_what_it_needs", smmu_mapped_as_memory),
    Break("el3_maps_what_it_needs", el3_maps_another_gib),
)
