"""Registers in words: what the declared fields and the syndrome say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.core import SYSTEM_REGISTERS
from emulator.debug import system_registers
from emulator.debug.devices import find_window, read_device
from emulator.debug.registers import read_registers
from emulator.debug.syndrome import describe_syndrome
from emulator.machine import Machine
from emulator.memory_map import DRAM_MIN, TRUSTED, TZASC
from emulator.world import World
from flexserve.system import System


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    system = System(DRAM_MIN)
    system.boot()
    yield system.machine
    system.dispose()


@pytest.mark.parametrize("name", system_registers.FIELDS)
def test_fields_of_a_register_lie_apart_and_within_it(name: str) -> None:
    assert name == "PSTATE" or name in SYSTEM_REGISTERS
    taken = 0
    for bits in system_registers.declared(name):
        assert 0 <= bits.lsb <= bits.msb < 64
        mask = (2 << bits.msb) - (1 << bits.lsb)
        assert not taken & mask, bits.name
        taken |= mask


def test_every_register_decodes_whatever_it_holds() -> None:
    for name in ("PSTATE", *SYSTEM_REGISTERS):
        for value in (0, (1 << 64) - 1, 0xA5A5_5A5A_1234_8765):
            decoded = system_registers.decode(name, value)
            for field in decoded.fields:
                assert value >> field.lsb & (1 << field.msb - field.lsb + 1) - 1 == field.value


def test_registers_at_the_normal_gate(machine: Machine) -> None:
    registers = read_registers(machine.core)
    assert (registers.level, registers.world, registers.place) == (1, World.NORMAL, "EL1 normal")
    assert registers.flags.endswith("DAiF")
    assert registers.named()["pc"] == machine.core.pc
    assert "NS=1 (normal world)" in str(system_registers.read(machine.core, "SCR_EL3"))
    assert "VM=1 (stage 2 on)" in str(system_registers.read(machine.core, "HCR_EL2"))


@pytest.mark.parametrize(
    ("syndrome", "words"),
    [
        (0x5E00_0000, "SMC: #0x0"),
        (0x9200_0047, "data abort from a lower level: write, translation fault, level 3"),
        (0x9381_0010, "data abort from a lower level: read, 4 bytes, x1, external abort"),
        (0x8600_000F, "instruction abort: permission fault, level 3"),
        (
            0x9200_0086,
            "data abort from a lower level: read, translation fault, level 2, on a stage-1 table walk (stage 2)",
        ),
        (0x6232_F8A1, "system instruction trapped: read of S3_3_C14_C0_1, x5"),
        (0x0400_0001, "WFI or WFE trapped: WFE"),
        (0xFC00_0000, "exception class 0x3f"),
    ],
)
def test_a_syndrome_in_words(syndrome: int, words: str) -> None:
    assert describe_syndrome(syndrome) == words


def test_reading_a_device_changes_nothing_in_it(machine: Machine) -> None:
    """The TRNG gives another word to each read of the bus, but not to a debugger's."""
    assert read_device(machine, TRUSTED) == read_device(machine, TRUSTED)
    regions = {register.name: register for register in read_device(machine, find_window(machine, "tzasc"))}
    assert find_window(machine, "tzasc") == TZASC
    assert [str(field) for field in regions["REGION_ATTRIBUTES(3)"].fields][:2] == ["secure_write=1", "secure_read=1"]
    with pytest.raises(KeyError, match="there are UART0, UART1, SMMU"):
        find_window(machine, "toaster")
