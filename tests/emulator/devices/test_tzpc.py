"""BP147: DECPROT and R0SIZE."""

from __future__ import annotations

import pytest

from emulator.devices.tzpc import SecurePages, Tzpc
from emulator.events import EventKind, Filter
from emulator.memory_map import DEVICES, PAGE_SIZE, SECURE_SRAM, TRUSTED, UART0, UART1

from .rig import Abort, Rig

FLAG_REGISTER = 0x18


def allow(rig: Rig, *numbers: int) -> None:
    for number in numbers:
        rig.write(rig.board.tzpc, Tzpc.DECPROT_SET, 1 << number % 8, number // 8)


def test_all_is_secure_at_reset(rig: Rig) -> None:
    tzpc = rig.board.tzpc
    assert [rig.read(tzpc, Tzpc.DECPROT_STAT, i) for i in range(3)] == [0, 0, 0]
    assert rig.read(tzpc, Tzpc.R0SIZE) == SecurePages.WHOLE_RAM


def test_bit_of_a_device_is_its_place_in_the_memory_map(rig: Rig) -> None:
    rig.open_sram()
    with pytest.raises(Abort):
        rig.load(UART0.base + FLAG_REGISTER, 4, secure=False)
    allow(rig, DEVICES.index(UART0))
    rig.load(UART0.base + FLAG_REGISTER, 4, secure=False)
    with pytest.raises(Abort):
        rig.load(UART1.base + FLAG_REGISTER, 4, secure=False)
    assert rig.seen(EventKind.DENIED)[-1][4] == Filter.TZPC


def test_secure_accesses_always_pass(rig: Rig) -> None:
    rig.load(UART1.base + FLAG_REGISTER, 4)
    rig.load(UART0.base + FLAG_REGISTER, 4)


def test_set_and_clear_are_write_one(rig: Rig) -> None:
    tzpc = rig.board.tzpc
    rig.write(tzpc, Tzpc.DECPROT_SET, 0b1010, 1)
    rig.write(tzpc, Tzpc.DECPROT_SET, 0b0001, 1)
    rig.write(tzpc, Tzpc.DECPROT_CLR, 0b0010, 1)
    assert [rig.read(tzpc, Tzpc.DECPROT_STAT, i) for i in range(3)] == [0, 0b1001, 0]


def test_cleared_bit_acts_at_once(rig: Rig) -> None:
    rig.open_sram()
    allow(rig, DEVICES.index(UART0))
    rig.load(UART0.base + FLAG_REGISTER, 4, secure=False)
    rig.write(rig.board.tzpc, Tzpc.DECPROT_CLR, 1 << DEVICES.index(UART0))
    with pytest.raises(Abort):
        rig.load(UART0.base + FLAG_REGISTER, 4, secure=False)


@pytest.mark.parametrize("pages", [3, 0x1FF])
def test_r0size_counts_secure_pages_from_the_base(rig: Rig, pages: int) -> None:
    rig.run_from_dram()
    rig.write(rig.board.tzpc, Tzpc.R0SIZE, pages)
    border = SECURE_SRAM.base + pages * PAGE_SIZE
    rig.load(border, secure=False)
    with pytest.raises(Abort):
        rig.load(border - 8, secure=False)
    assert rig.seen(EventKind.DENIED)[-1][4] == Filter.TZPC


@pytest.mark.parametrize("value", [0x200, 0x3FF])
def test_r0size_from_0x200_on_is_the_whole_ram(rig: Rig, value: int) -> None:
    rig.run_from_dram()
    rig.write(rig.board.tzpc, Tzpc.R0SIZE, value)
    with pytest.raises(Abort):
        rig.load(SECURE_SRAM.end - 8, secure=False)
    rig.write(rig.board.tzpc, Tzpc.R0SIZE, 4)
    rig.load(SECURE_SRAM.end - 8, secure=False)


def test_r0size_has_ten_bits(rig: Rig) -> None:
    rig.write(rig.board.tzpc, Tzpc.R0SIZE, 4096)
    assert rig.read(rig.board.tzpc, Tzpc.R0SIZE) == 0
    assert rig.seen(EventKind.UNDECLARED)


def test_fuses_refuse_the_normal_world_even_when_the_tzpc_lets_it_in(rig: Rig) -> None:
    rig.open_sram()
    allow(rig, DEVICES.index(TRUSTED))
    assert rig.load(TRUSTED.base, 4, secure=False) == rig.machine.layout.pages
    with pytest.raises(Abort):
        rig.load(TRUSTED.base + 0x20, 4, secure=False)


def test_identification(rig: Rig) -> None:
    tzpc = rig.board.tzpc
    assert [rig.read(tzpc, Tzpc.PERIPHERAL_ID, i) for i in range(4)] == [0x70, 0x18, 0x04, 0x00]
    assert [rig.read(tzpc, Tzpc.COMPONENT_ID, i) for i in range(4)] == [0x0D, 0xF0, 0x05, 0xB1]
