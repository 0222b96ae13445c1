"""The 64 KiB granule: blocks of 512 MiB, pages of 64 KiB, three levels; and 16 KiB, which a Cortex-A72 has not."""

from __future__ import annotations

import pytest

from emulator.machine import Machine
from emulator.memory_map import DRAM_BASE
from emulator.native import ffi, lib
from tests.emulator.bare import AF, MAIR, TABLES, bare_machine, write_register

SIZE_39_BITS = 25 | 25 << 16 | 0b101 << 32
TG0_64K, TG0_16K, TG1_4K = 0b01 << 14, 0b10 << 14, 0b10 << 30
PAGE, BLOCK = 0x1_0000, 0x2000_0000
PAGE_TABLE = TABLES + PAGE
TRANSLATION, ACCESS_FLAG = 0b0100, 0b1000


@pytest.fixture
def machine() -> Machine:
    machine = bare_machine()
    write_register(machine, "SCR_EL3", 1 << 10 | 1)
    write_register(machine, "MAIR_EL1", MAIR)
    write_register(machine, "TTBR0_EL1", TABLES)
    write_register(machine, "TCR_EL1", SIZE_39_BITS | TG1_4K | TG0_64K)
    write_register(machine, "SCTLR_EL1", 0x30D5_0839)
    return machine


def put(machine: Machine, table: int, index: int, descriptor: int) -> None:
    machine.write_physical(table + index * 8, descriptor.to_bytes(8, "little"))


def probe(machine: Machine, address: int) -> tuple[bool, int, int]:
    """Whether EL1 may read it; where it lies; the fault status code."""
    answer = ffi.new("struct probe *")
    lib.translate_probe(machine.native, address, 0, 1, answer)
    return bool(answer.allowed), int(answer.physical), int(answer.syndrome) & 0x3F


def test_a_block_is_of_512_mib(machine: Machine) -> None:
    put(machine, TABLES, 4, DRAM_BASE | AF | 0b01)
    assert probe(machine, 4 * BLOCK + 0x123_4567)[:2] == (True, DRAM_BASE + 0x123_4567)
    assert probe(machine, 5 * BLOCK) == (False, 0, TRANSLATION | 2)


def test_a_page_is_of_64_kib(machine: Machine) -> None:
    put(machine, TABLES, 4, PAGE_TABLE | 0b11)
    put(machine, PAGE_TABLE, 1, DRAM_BASE + 5 * PAGE | AF | 0b11)
    put(machine, PAGE_TABLE, 2, DRAM_BASE + 6 * PAGE | 0b11)
    assert probe(machine, 4 * BLOCK + PAGE + 0xFFF8)[:2] == (True, DRAM_BASE + 5 * PAGE + 0xFFF8)
    assert probe(machine, 4 * BLOCK + 2 * PAGE) == (False, 0, ACCESS_FLAG | 3)
    assert probe(machine, 4 * BLOCK) == (False, 0, TRANSLATION | 3)


def test_a_translation_is_kept_until_a_tlbi(machine: Machine) -> None:
    put(machine, TABLES, 4, DRAM_BASE | AF | 0b01)
    assert probe(machine, 4 * BLOCK)[0]
    put(machine, TABLES, 4, 0)
    assert probe(machine, 4 * BLOCK + 0x1FFF_0000)[0]
    other = bare_machine()
    other.restore(machine.save())
    assert probe(other, 4 * BLOCK + 0x1FFF_0000)[0], "the machine that went on forgot it"


def test_16_kib_behave_as_4_kib(machine: Machine) -> None:
    write_register(machine, "TCR_EL1", SIZE_39_BITS | TG1_4K | TG0_16K)
    put(machine, TABLES, 2, DRAM_BASE | AF | 0b01)
    assert probe(machine, 2 * 0x4000_0000 + 0x1000)[:2] == (True, DRAM_BASE + 0x1000)
