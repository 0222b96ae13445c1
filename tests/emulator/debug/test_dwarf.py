"""Lines, functions and frames of the firmware, against its sources and its instructions."""

from __future__ import annotations

from pathlib import Path

import pytest
from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs

from emulator.debug.dwarf import DebugInfo, SourceLine
from emulator.debug.source import SourceMap
from emulator.image import Image
from firmware.build import ELF_FOLDER, FOLDER


@pytest.fixture(scope="module")
def monitor() -> DebugInfo:
    return DebugInfo.load(ELF_FOLDER / "monitor.elf")


def line_of(path: str, text: str) -> int:
    return (FOLDER / path).read_text().splitlines().index(text) + 1


def test_every_instruction_of_the_monitor_has_a_line(monitor: DebugInfo) -> None:
    code = Image.load(ELF_FOLDER / "monitor.elf").segments[0]
    disassembler = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
    disassembler.skipdata = True
    instructions = [
        found
        for found in disassembler.disasm(code.data, code.address)
        if not found.mnemonic.startswith((".", "udf", "nop"))
    ]
    assert len(instructions) > 1000
    assert [found.address for found in instructions if monitor.line_at(found.address) is None] == []


def test_an_assembly_line_and_its_instruction_find_each_other(monitor: DebugInfo) -> None:
    line = line_of("el3/vectors.S", "\tbl\tsmc_entry")
    (address,) = monitor.addresses_of("vectors.S", line)
    assert monitor.line_at(address) == SourceLine("firmware/el3/vectors.S", line)
    assert monitor.addresses_of("el3/vectors.S", line) == (address,)
    assert monitor.addresses_of("ctors.S", line) == ()


def test_a_line_without_code_stands_for_the_next_that_has_some(monitor: DebugInfo) -> None:
    line = line_of("el3/vectors.S", "vectors:")
    (address,) = monitor.addresses_of("vectors.S", line)
    assert address == {name: place for place, name in monitor.symbols}["vectors"]
    assert monitor.addresses_of("vectors.S", 100_000) == ()


def test_a_function_is_where_its_symbol_is(monitor: DebugInfo) -> None:
    symbols = {name: address for address, name in monitor.symbols}
    assert len(monitor.functions) > 30
    for function in monitor.functions:
        assert symbols[function.name] == function.address
        assert monitor.function_at(function.address) == monitor.function_at(function.end - 4) == function
        text = (FOLDER.parent / function.source.path).read_text().splitlines()[function.source.line - 1]
        assert f"{function.name}(" in text
    assert monitor.function_at(symbols["vectors"]) is None


def test_a_call_frame_says_where_the_return_address_was_pushed(monitor: DebugInfo) -> None:
    """Behind `stp x29, x30, [sp, #-n]!` ... `mov x29, sp` the pair lies at x29, and the frame address is beyond it."""
    code = Image.load(ELF_FOLDER / "monitor.elf").segments[0]
    disassembler = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
    checked = 0
    for function in monitor.functions:
        first = function.address - code.address
        instructions = list(disassembler.disasm(code.data[first : first + 8], function.address))
        if [found.mnemonic for found in instructions] != ["stp", "mov"]:
            continue
        if not instructions[0].op_str.startswith("x29, x30, [sp, #-"):
            continue
        size = int(instructions[0].op_str.split("#-")[1].rstrip("]!"), 0)
        frame = monitor.call_frame_at(function.address + 8)
        assert frame is not None
        assert (frame.base, frame.offset, frame.saved[29], frame.saved[30]) == (29, size, -size, -size + 8)
        at_entry = monitor.call_frame_at(function.address)
        assert at_entry is not None
        assert (at_entry.base, at_entry.offset) == (31, 0)
        checked += 1
    assert checked > 3


def test_an_image_is_found_where_it_was_loaded(monitor: DebugInfo) -> None:
    symbols = {name: address for address, name in monitor.symbols}
    bias = 0x4000_0000
    sources = SourceMap(FOLDER.parent)
    sources.add("copy", monitor, symbols["vectors"] + bias, symbols["vectors"] + bias + 0x800, bias)
    line = line_of("el3/vectors.S", "\tbl\tsmc_entry")
    (address,) = sources.addresses_of_line("vectors.S", line)
    assert sources.line_at(address) == SourceLine("firmware/el3/vectors.S", line)
    assert sources.text_at(SourceLine("firmware/el3/vectors.S", line)) == "\tbl\tsmc_entry"
    assert sources.addresses_of_symbol("vectors") == (symbols["vectors"] + bias,)
    assert sources.addresses_of_symbol("copy:vectors") == (symbols["vectors"] + bias,)
    assert sources.addresses_of_symbol("other:vectors") == ()
    assert sources.addresses_of_symbol("smc_entry") == ()  # outside the part that was copied
    assert sources.name_at(symbols["vectors"] + bias + 4) == "copy:vectors+0x4"
    assert sources.name_at(symbols["vectors"]) is None


def test_a_source_that_is_not_there_is_no_text(tmp_path: Path) -> None:
    assert SourceMap(tmp_path).text("firmware/el3/smc.c") is None
    assert SourceMap(tmp_path).text_at(SourceLine("firmware/el3/smc.c", 1)) is None
