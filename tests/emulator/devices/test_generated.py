"""Headers and documentation agree with the declarations."""

from __future__ import annotations

import re

import pytest

from emulator.devices import documentation, generate
from emulator.devices.smmu import Smmu
from emulator.devices.tzc400 import Tzc400
from emulator.memory_map import DEVICES, PAGE_SIZE
from emulator.registers import RegisterMap


def test_generated_files_are_fresh() -> None:
    assert generate.stale() == [], "run `python -m emulator.devices.generate`"


def test_no_macro_is_defined_twice() -> None:
    names = re.findall(r"#define (\w+)", documentation.firmware_header())
    assert len(names) == len(set(names))


def test_header_has_offsets_arrays_masks_and_named_values() -> None:
    lines = {" ".join(line.split()) for line in documentation.firmware_header().splitlines()}
    assert "#define TZC400_ACTION 0x004" in lines
    assert "#define TZC400_REGION_BASE_LOW(n) (0x100 + (n) * 0x20)" in lines
    assert "#define TZC400_GATE_KEEPER_OPEN_STATUS_SHIFT 16" in lines
    assert "#define TZC400_GATE_KEEPER_OPEN_STATUS_MASK 0xf0000" in lines
    assert "#define SMMU_EVENTQ_PROD 0x100a8" in lines
    assert "#define SMMU_CMD_OPCODE_TLBI_S2_IPA 0x2a" in lines
    assert "#define SMMU_STE_S2T0SZ_SHIFT 32" in lines


@pytest.mark.parametrize("registers", documentation.DEVICE_MAPS, ids=lambda registers: registers.prefix)
def test_document_lists_every_register(registers: type[RegisterMap]) -> None:
    text = documentation.document()
    assert all(f"| {register.name}" in text for register in registers.registers)


def test_registers_lie_in_their_windows() -> None:
    by_name = {window.name: window for window in DEVICES}
    windows = {"UART": "UART0", "TZC400": "TZASC"}
    for registers in documentation.DEVICE_MAPS:
        size = by_name[windows.get(registers.prefix, registers.prefix)].size
        assert all(offset + PAGE_SIZE // 1024 <= size for _, _, offset in registers.elements())


def test_names_of_the_map_are_those_of_the_specifications() -> None:
    assert Tzc400.REGION_ATTRIBUTES.at(8) == 0x210
    assert (Smmu.CMDQ_PROD.offset, Smmu.CMDQ_CONS.offset, Smmu.STRTAB_BASE.width) == (0x98, 0x9C, 64)
