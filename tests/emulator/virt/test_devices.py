"""The exec board's devices answer as those of QEMU's virt do."""

from __future__ import annotations

import math
import struct

import pytest

from emulator.memory_map import FLASH1, GPIO, MSI, RTC, SECURE_GPIO
from emulator.virt.console import BUSY, FORSAKEN, LOOKS, PATIENCE, TIGHT, Console
from emulator.virt.empty import EmptyPci, EmptyVirtioSlots
from emulator.virt.flash import ERASED, SECTOR_BYTES, Flash
from emulator.virt.fw_cfg import DATA, DMA_HIGH, DMA_LOW, SELECTOR, FwCfg
from emulator.virt.gpio import Gpio
from emulator.virt.msi import MsiFrame
from emulator.virt.rtc import Rtc
from tests.emulator.devices.recorder import Recorder


class Memory:
    """From 0 on, ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)

    def read_physical(self, address: int, size: int) -> bytes:
        if address + size > len(self.content):
            raise ValueError(address)
        return bytes(self.content[address : address + size])

    def write_physical(self, address: int, data: bytes) -> None:
        if address + len(data) > len(self.content):
            raise ValueError(address)
        self.content[address : address + len(data)] = data


# --- flash ------------------------------------------------------------------------------------------------------------

# 0x100 bytes from 0x40 on after 0x98, and the first 8 after 0x90, read under qemu-system-aarch64 7.2.
QUERY = {
    0x40: "00510051 00520052 00590059 00010001 00000000 00310031 00000000 00000000",
    0x60: "00000000 00000000 00000000 00450045 00550055 00000000 00000000 00070007",
    0x80: "00070007 000a000a 00000000 00040004 00040004 00040004 00000000 00190019",
    0xA0: "00020002 00000000 000b000b 00000000 00010001 00ff00ff 00000000 00000000",
    0xC0: "00020002 00500050 00520052 00490049 00310031 00300030 00000000 00000000",
    0xE0: "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00010001",
    0x100: "00000000 00000000",
}
BASE = FLASH1.base


class FlashRig:
    def __init__(self) -> None:
        self.memory = Memory(BASE + 3 * SECTOR_BYTES)
        self.memory.write_physical(BASE, bytes(range(256)) * (3 * SECTOR_BYTES // 256))
        self.shown: list[bool] = []
        self.flash = Flash(FLASH1, self.memory, self.shown.append)

    def command(self, *cycles: tuple[int, int]) -> None:
        for offset, value in cycles:
            self.flash.write(offset, 4, value, True)

    def words(self, offset: int, count: int) -> str:
        return " ".join(f"{self.flash.read(offset + 4 * i, 4, True):08x}" for i in range(count))


def test_flash_describes_itself_as_on_qemu() -> None:
    rig = FlashRig()
    rig.command((0x154, 0x0098_0098))
    for offset, words in QUERY.items():
        assert rig.words(offset, len(words.split())) == words, hex(offset)
    rig.command((0, 0x0090_0090))
    assert rig.words(0, 4) == "00890089 00180018 00000000 00000000"
    assert rig.shown == [True, False, False]
    rig.command((0, 0x00FF_00FF))
    assert rig.words(0, 1) == "03020100"
    assert rig.shown[-1] is True


def test_flash_programs_a_word() -> None:
    rig = FlashRig()
    rig.command((8, 0x0040_0040), (8, 0x1234_5678))
    assert rig.words(0, 1) == "00800080"
    rig.command((0, 0x00FF_00FF))
    assert rig.words(4, 3) == "07060504 12345678 0f0e0d0c"


def test_flash_erases_a_sector_after_confirmation() -> None:
    rig = FlashRig()
    rig.command((SECTOR_BYTES + 0x100, 0x0020_0020), (SECTOR_BYTES + 0x100, 0x00D0_00D0))
    assert rig.words(0, 1) == "00800080"
    rig.command((0, 0x00FF_00FF))
    erased = rig.memory.read_physical(BASE + SECTOR_BYTES, SECTOR_BYTES)
    assert set(erased) == {ERASED}
    assert rig.memory.read_physical(BASE + SECTOR_BYTES - 1, 1) == b"\xff"[:1]
    assert rig.words(2 * SECTOR_BYTES, 1) == "03020100"


def test_flash_programs_a_buffer() -> None:
    rig = FlashRig()
    words = ((0x40 + 4 * i, 0xA000_0000 + i) for i in range(3))
    rig.command((0x40, 0x00E8_00E8), (0x40, 0x0002_0002), *words, (0x40, 0x00D0_00D0), (0, 0x00FF_00FF))
    assert rig.words(0x40, 4) == "a0000000 a0000001 a0000002 4f4e4d4c"


def test_flash_says_when_a_sequence_is_wrong() -> None:
    rig = FlashRig()
    rig.command((0, 0x0060_0060), (0, 0x0012_0012), (0, 0x0070_0070))
    assert rig.words(0, 1) == "00b000b0"
    rig.command((0, 0x0050_0050), (0, 0x0070_0070))
    assert rig.words(0, 1) == "00000000"


# --- clock and lines --------------------------------------------------------------------------------------------------


class Clock:
    now = 0

    def seconds(self) -> int:
        return self.now


def test_rtc_counts_guest_seconds_from_where_it_is_set() -> None:
    clock = Clock()
    rtc = Rtc(RTC, Recorder(), clock.seconds, 1000)
    clock.now = 7
    assert rtc.read(0, 4, False) == 1007
    rtc.write(8, 4, 5, False)
    clock.now = 10
    assert rtc.read(0, 4, False) == 8


def test_rtc_rings_once_the_match_register_is_reached_until_it_is_cleared() -> None:
    clock = Clock()
    rtc = Rtc(RTC, Recorder(), clock.seconds, 1000)
    rtc.write(0x10, 4, 1, False)
    assert (rtc.read(0x14, 4, False), rtc.read(0x18, 4, False)) == (0, 0)
    rtc.write(4, 4, 1003, False)
    clock.now = 2
    assert rtc.read(0x18, 4, False) == 0
    clock.now = 4
    assert rtc.read(0x18, 4, False) == 1
    rtc.write(0x1C, 4, 1, False)
    assert rtc.read(0x14, 4, False) == 0


def test_gpio_drives_only_output_lines_that_the_offset_names() -> None:
    risen: list[str] = []
    gpio = Gpio(SECURE_GPIO, Recorder(), {0: lambda: risen.append("off"), 1: lambda: risen.append("reset")})
    gpio.write(0b11 << 2, 4, 0b01, True)
    assert risen == []
    gpio.write(0x400, 4, 0b11, True)
    assert risen == ["off"]
    gpio.write(0b01 << 2, 4, 0b11, True)
    assert risen == ["off"]
    gpio.write(0b10 << 2, 4, 0b11, True)
    assert risen == ["off", "reset"]
    assert (gpio.read(0b10 << 2, 4, True), gpio.read(0x3FC, 4, True)) == (0b10, 0b11)


@pytest.mark.parametrize(
    ("cell", "part"), [(Rtc(RTC, Recorder(), int, 0), 0x031), (Gpio(GPIO, Recorder()), 0x061)], ids=["rtc", "gpio"]
)
def test_primecells_say_which_they_are(cell: Rtc | Gpio, part: int) -> None:
    identity = [cell.read(0xFE0 + 4 * i, 4, False) for i in range(8)]
    assert identity[0] | identity[1] << 8 & 0xF00 == part
    assert identity[4:] == [0x0D, 0xF0, 0x05, 0xB1]


def test_a_write_to_the_msi_frame_is_a_pulse_of_its_interrupts_only() -> None:
    pulses: list[tuple[int, bool]] = []
    frame = MsiFrame(MSI, Recorder(), lambda interrupt: lambda level: pulses.append((interrupt, level)))
    assert (frame.read(8, 4, False), frame.read(0xFCC, 4, False)) == (0x0050_0040, 0x0510_0000)
    for interrupt in (79, 80, 143, 144):
        frame.write(0x40, 4, interrupt, False)
    assert pulses == [(80, True), (80, False), (143, True), (143, False)]


# --- firmware configuration -------------------------------------------------------------------------------------------


def select(device: FwCfg, key: int) -> None:
    device.write(SELECTOR, 2, int.from_bytes(key.to_bytes(2, "big"), "little"), False)


def data(device: FwCfg, size: int) -> bytes:
    return b"".join(device.read(DATA, 1, False).to_bytes(1, "little") for _ in range(size))


def test_fw_cfg_gives_items_by_key_and_zeros_behind_their_end() -> None:
    device = FwCfg(Memory(0), 1 << 30, {"opt/b": b"second", "bootorder": b""})
    select(device, 0)
    assert data(device, 6) == b"QEMU\0\0"
    select(device, 3)
    assert device.read(DATA, 8, False) == 1 << 30
    select(device, 0x19)
    assert data(device, 4) == struct.pack(">I", 2)
    assert data(device, 64) == struct.pack(">IHH56s", 0, 0x20, 0, b"bootorder")
    assert data(device, 64) == struct.pack(">IHH56s", 6, 0x21, 0, b"opt/b")
    select(device, 0x21)
    assert data(device, 6) == b"second"


def test_fw_cfg_moves_items_by_dma() -> None:
    memory = Memory(0x2000)
    device = FwCfg(memory, 1 << 30, {"file": bytes(range(200))})
    assert device.read(DMA_HIGH, 8, False).to_bytes(8, "little") == b"QEMU CFG"

    def transfer(control: int, length: int, address: int) -> int:
        memory.write_physical(0x100, struct.pack(">IIQ", control, length, address))
        device.write(DMA_HIGH, 4, 0, False)
        device.write(DMA_LOW, 4, int.from_bytes(struct.pack(">I", 0x100), "little"), False)
        return int.from_bytes(memory.read_physical(0x100, 4), "big")

    assert transfer(0x20 << 16 | 0b1000, 0, 0) == 0  # select
    assert transfer(0b100, 10, 0) == 0  # skip
    assert transfer(0b10, 20, 0x1000) == 0  # read
    assert memory.read_physical(0x1000, 20) == bytes(range(10, 30))
    assert transfer(0b10, 20, 0x1FF8) == 1
    assert transfer(0b10000, 4, 0x1000) == 1  # items cannot be written


def test_empty_slots_and_empty_space() -> None:
    slots, space = EmptyVirtioSlots(), EmptyPci()
    assert [slots.read(0x1E00 + offset, 4, False) for offset in (0, 4, 8, 12, 16)] == [
        *(0x7472_6976, 1, 0, 0x554D_4551),
        0,
    ]
    assert [space.read(0, size, False) for size in (1, 2, 4, 8)] == [0xFF, 0xFFFF, 0xFFFF_FFFF, (1 << 64) - 1]


# --- console ----------------------------------------------------------------------------------------------------------


class Typist:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.wanted: list[bool] = []

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        self.wanted.append(wanted)
        if taken == len(self.content):
            return None
        return self.content[taken:] if wanted else b""


class ConsoleRig:
    """A guest with a UART. ``ended`` counts how often the console gave it up."""

    def __init__(self, typed: bytes = b"", *, listening: bool = False) -> None:
        self.output, self.got = bytearray(), bytearray()
        self.listening = listening
        self.now = self.ended = 0
        self.typist = Typist(typed)
        self.console = Console(self.typist, self, lambda: self.now, self._forsaken)

    def receive(self, data: bytes) -> None:
        self.got += data

    def listens(self) -> bool:
        return self.listening

    def _forsaken(self) -> None:
        self.ended += 1

    def look(self, count: int, apart: int = 1) -> None:
        for _ in range(count):
            self.now += apart
            self.console.look()


def test_input_comes_when_the_guest_does_nothing_but_look_for_it() -> None:
    rig = ConsoleRig(b"hi")
    for _ in range(20):  # looks before and after each byte that it sends
        rig.look(1)
        rig.output += b"x"
        rig.look(1)
    assert rig.got == b""
    rig.look(LOOKS)
    assert rig.got == b"hi"


def test_only_a_guest_that_does_nothing_else_waits_for_more_input() -> None:
    """But for the first, which may be meant to stop a count-down."""
    rig = ConsoleRig(b"first, then more")
    rig.look(LOOKS, TIGHT + 1)
    assert rig.typist.wanted == [True]
    rig.console._taken = 5
    rig.look(2 * LOOKS, TIGHT + 1)
    assert True not in rig.typist.wanted[1:]
    rig.look(LOOKS)
    assert rig.typist.wanted[-1]


def test_input_comes_to_a_waiting_guest_if_it_would_interrupt_it() -> None:
    for listening in (False, True):
        rig = ConsoleRig(b"hi", listening=listening)
        assert rig.console.wait(math.inf) is listening
        assert bool(rig.got) is listening
        assert rig.ended == 0


def test_input_interrupts_a_busy_guest_that_listens_in_the_end() -> None:
    for listening in (False, True):
        rig = ConsoleRig(b"hi", listening=listening)
        rig.console.work()
        assert rig.got == b""
        rig.now += BUSY + 1
        rig.console.work()
        assert bool(rig.got) is listening


def test_a_guest_that_waits_for_input_that_has_ended_is_forsaken() -> None:
    rig = ConsoleRig()
    rig.look(PATIENCE - 1)
    rig.output += b"x"
    rig.look(1)
    assert rig.ended == 0
    rig.look(PATIENCE - 1)
    assert rig.ended == 1


def test_an_idle_guest_is_forsaken_when_only_input_could_wake_it_or_after_long_silence() -> None:
    assert [_idle(listening, math.inf) for listening in (False, True)] == [0, 1]
    assert [_idle(listening, 1.0, after=FORSAKEN + 1) for listening in (False, True)] == [0, 1]
    assert _idle(True, 1.0, after=FORSAKEN) == 0


def _idle(listening: bool, seconds: float, after: int = 0) -> int:
    rig = ConsoleRig(listening=listening)
    rig.now = after
    rig.console.wait(seconds)
    return rig.ended


def test_a_guest_reads_input_piece_by_piece() -> None:
    console = ConsoleRig(b"hello").console
    assert [console.read(2) for _ in range(4)] == [b"he", b"ll", b"o", b""]
