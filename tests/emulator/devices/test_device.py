"""Declared registers, and what a device does with accesses that they do not foresee."""

from __future__ import annotations

import enum

import pytest

from emulator.devices.device import BusError, Device
from emulator.memory_map import STORAGE
from emulator.registers import RO, W1C, W1S, WO, Register, RegisterMap

from .recorder import Recorder


class Mode(enum.IntEnum):
    OFF = 0
    FAST = 2


class Sample(Device):
    """A device for tests."""

    prefix = "SAMPLE"

    CONTROL = Register(0x00, fields={"mode": (1, 0, Mode), "status": (7, 4, RO), "start": (31, 31, WO)}, reset=0x30)
    FLAGS = Register(0x04, fields={"pending": (3, 0, W1C), "enabled": (7, 4, W1S)}, reset=0xF)
    BASE = Register(0x08, width=64, align=0x1000, protects=True)
    ID = Register(0x10, access=RO, reset=0xABCD)
    COMMAND = Register(0x14, access=WO)
    BANK = Register(0x20, count=3, stride=8, reset=(1, 2, 3))
    LIVE = Register(0x40, fields={"low": (7, 0)})

    def __init__(self, events: Recorder) -> None:
        super().__init__(STORAGE, events)
        self.commands: list[int] = []
        self.banked: list[tuple[int, int]] = []

    @COMMAND.on_write
    def _command(self, value: int) -> None:
        self.commands.append(value)

    @BANK.on_write
    def _bank(self, value: int, index: int) -> None:
        self.banked.append((index, value))

    @LIVE.on_read
    def _live(self) -> int:
        return 0x1FF


@pytest.fixture(name="events")
def _events() -> Recorder:
    return Recorder()


@pytest.fixture(name="sample")
def _sample(events: Recorder) -> Sample:
    return Sample(events)


def test_reset_values_are_there(sample: Sample) -> None:
    assert sample.read(0x00, 4, True) == 0x30
    assert [sample.read(0x20 + 8 * i, 4, True) for i in range(3)] == [1, 2, 3]


def test_fields_are_read_and_written_by_name(sample: Sample) -> None:
    sample.CONTROL["mode"] = Mode.FAST
    assert (sample.CONTROL["mode"], sample.CONTROL["status"], sample.CONTROL.value) == (2, 3, 0x32)


def test_read_only_field_keeps_its_value_without_a_complaint(sample: Sample, events: Recorder) -> None:
    sample.write(0x00, 4, 0xF2, True)
    assert sample.read(0x00, 4, True) == 0x32
    assert events.strange == []


def test_write_only_field_reads_as_zero(sample: Sample) -> None:
    sample.write(0x00, 4, 1 << 31, True)
    assert sample.read(0x00, 4, True) == 0x30


def test_reserved_bits_read_as_zero_ignore_writes_and_are_an_event(sample: Sample, events: Recorder) -> None:
    sample.write(0x00, 4, 0x0004_0002, True)
    assert sample.read(0x00, 4, True) == 0x32
    assert events.strange == [(0x00, 0x0004_0002, True)]


def test_aligned_register_reserves_its_low_bits(sample: Sample, events: Recorder) -> None:
    sample.write(0x08, 8, 0x1234_5678_9ABC_D123, True)
    assert sample.read(0x08, 8, True) == 0x1234_5678_9ABC_D000
    assert len(events.strange) == 1


def test_undeclared_offset_reads_as_zero_ignores_writes_and_is_an_event(sample: Sample, events: Recorder) -> None:
    assert sample.read(0x80, 4, True) == 0
    sample.write(0x24, 4, 7, True)
    assert events.strange == [(0x80, 0, False), (0x24, 7, True)]


def test_write_to_a_read_only_register_and_read_of_a_write_only_one_are_events(
    sample: Sample, events: Recorder
) -> None:
    sample.write(0x10, 4, 1, True)
    assert sample.read(0x14, 4, True) == 0
    assert sample.read(0x10, 4, True) == 0xABCD
    assert events.strange == [(0x10, 1, True), (0x14, 0, False)]


def test_ones_clear_and_set(sample: Sample) -> None:
    sample.write(0x04, 4, 0b0010_0101, True)
    sample.write(0x04, 4, 0b1000_0000, True)
    assert sample.read(0x04, 4, True) == 0b1010_1010


def test_wide_register_takes_either_half(sample: Sample) -> None:
    sample.write(0x08, 8, 0x1111_1111_2222_2000, True)
    sample.write(0x0C, 4, 0x3333_3333, True)
    assert (sample.read(0x08, 4, True), sample.read(0x0C, 4, True)) == (0x2222_2000, 0x3333_3333)
    sample.write(0x08, 4, 0x4444_4000, True)
    assert sample.read(0x08, 8, True) == 0x3333_3333_4444_4000


@pytest.mark.parametrize(("offset", "size"), [(0x00, 8), (0x00, 2), (0x01, 1), (0x02, 4), (0x0C, 8), (0x80, 1)])
def test_other_widths_are_bus_errors(sample: Sample, offset: int, size: int) -> None:
    with pytest.raises(BusError):
        sample.read(offset, size, True)
    with pytest.raises(BusError):
        sample.write(offset, size, 0, True)


def test_handlers_get_the_value_and_in_a_bank_the_index(sample: Sample) -> None:
    sample.write(0x14, 4, 0x55, True)
    sample.write(0x30, 4, 9, True)
    assert (sample.commands, sample.banked, sample.BANK.at(2).value) == ([0x55], [(2, 9)], 9)


def test_read_handler_cannot_show_reserved_bits(sample: Sample) -> None:
    assert sample.read(0x40, 4, True) == 0xFF


def test_register_that_protects_is_traced(sample: Sample, events: Recorder) -> None:
    sample.write(0x08, 8, 0x5000, True)
    sample.write(0x00, 4, 1, True)
    assert events.programmed == [(0x08, 0x5000)]


def test_element_beyond_the_bank_is_refused() -> None:
    with pytest.raises(IndexError, match="BANK has elements 0 to 2, not 3"):
        Sample.BANK.at(3)


def test_overlapping_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        Register(0, fields={"a": (3, 0), "b": (3, 2)})


def test_field_beyond_the_register_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        Register(0, fields={"a": (32, 0)})


def test_overlapping_registers_are_refused() -> None:
    with pytest.raises(ValueError, match="overlaps"):

        class _Overlap(RegisterMap):
            prefix = "OVERLAP"
            WIDE = Register(0x00, width=64)
            NARROW = Register(0x04)
