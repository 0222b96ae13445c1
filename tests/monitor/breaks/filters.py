"""TZASC and TZPC, by their registers."""

from __future__ import annotations

from emulator.devices.tzc400 import Tzc400
from emulator.devices.tzpc import Tzpc
from emulator.memory_map import DEVICES, SMMU, UART0
from emulator.registers import Register
from tests.firmware.phone import Phone

from .by_hand import Break

EVERYBODY = 0xFFFF_FFFF


def tzasc(phone: Phone, register: Register, value: int, region: int = 0) -> None:
    phone.board.tzasc.write(register.at(region), 4, value, secure=True)


def secure_dram_open_to_every_master(phone: Phone) -> None:
    tzasc(phone, Tzc400.REGION_ID_ACCESS, EVERYBODY, 3)


def carve_out_open_to_dma(phone: Phone) -> None:
    tzasc(phone, Tzc400.REGION_ID_ACCESS, EVERYBODY, 2)


def rest_of_dram_open(phone: Phone) -> None:
    tzasc(phone, Tzc400.REGION_ID_ACCESS, EVERYBODY, 0)


def normal_memory_takes_secure_accesses(phone: Phone) -> None:
    tzasc(phone, Tzc400.REGION_ATTRIBUTES, 1 | 3 << 30, 1)


def secure_dram_read_only(phone: Phone) -> None:
    tzasc(phone, Tzc400.REGION_ATTRIBUTES, 1 | 1 << 30, 3)


def normal_memory_reaches_into_the_carve_out(phone: Phone) -> None:
    tzasc(phone, Tzc400.REGION_TOP_LOW, phone.layout.carve_out_base, 1)


def another_region_on(phone: Phone) -> None:
    tzasc(phone, Tzc400.REGION_ATTRIBUTES, 1, 7)


def gate_closed(phone: Phone) -> None:
    tzasc(phone, Tzc400.GATE_KEEPER, 0)


def denials_go_unnoticed(phone: Phone) -> None:
    tzasc(phone, Tzc400.ACTION, 0)


def sram_normal(phone: Phone) -> None:
    phone.board.tzpc.write(Tzpc.R0SIZE.offset, 4, 0, secure=True)


def smmu_normal(phone: Phone) -> None:
    phone.board.tzpc.write(Tzpc.DECPROT_SET.offset, 4, 1 << DEVICES.index(SMMU), secure=True)


def console_taken_from_the_normal_world(phone: Phone) -> None:
    phone.board.tzpc.write(Tzpc.DECPROT_CLR.offset, 4, 1 << DEVICES.index(UART0), secure=True)


BREAKS = (
    Break("tzasc_has_three_regions", secure_dram_open_to_every_master),
    Break("tzasc_has_three_regions", carve_out_open_to_dma),
    Break("tzasc_has_three_regions", rest_of_dram_open),
    Break("tzasc_has_three_regions", normal_memory_takes_secure_accesses),
    Break("tzasc_has_three_regions", secure_dram_read_only),
    Break("tzasc_has_three_regions", normal_memory_reaches_into_the_carve_out),
    Break("tzasc_has_three_regions", another_region_on),
    Break("tzasc_is_open_and_reports", gate_closed),
    Break("tzasc_is_open_and_reports", denials_go_unnoticed),
    Break("tzpc_protects_sram_and_secure_devices", sram_normal),
    Break("tzpc_protects_sram_and_secure_devices", smmu_normal),
    Break("tzpc_protects_sram_and_secure_devices", console_taken_from_the_normal_world),
)
