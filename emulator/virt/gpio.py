"""PL061 general-purpose I/O (Arm DDI 0190): eight lines. Nothing drives those that are inputs: they read as zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emulator.devices.device import Device, EventSink
from emulator.memory_map import Window
from emulator.registers import RO, WO, Register

LINES = {"lines": (7, 0)}


class Gpio(Device):
    """``on_high``: what happens when an output line goes high."""

    prefix = "GPIO"

    DATA = Register(0x000, fields=LINES, count=256, what="Element n reads and writes the lines whose bits n has.")
    DIR = Register(0x400, fields=LINES)
    IS = Register(0x404, fields=LINES)
    IBE = Register(0x408, fields=LINES)
    IEV = Register(0x40C, fields=LINES)
    IE = Register(0x410, fields=LINES)
    RIS = Register(0x414, access=RO, fields=LINES)
    MIS = Register(0x418, access=RO, fields=LINES)
    IC = Register(0x41C, access=WO, fields=LINES)
    AFSEL = Register(0x420, fields=LINES)

    PERIPHERAL_ID = Register(
        0xFD0, access=RO, fields={"id": (7, 0)}, count=8, reset=(0, 0, 0, 0, 0x61, 0x10, 0x04, 0x00)
    )
    COMPONENT_ID = Register(0xFF0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x0D, 0xF0, 0x05, 0xB1))

    def __init__(
        self, window: Window, events: EventSink, on_high: Mapping[int, Callable[[], None]] | None = None
    ) -> None:
        super().__init__(window, events)
        self._on_high = on_high or {}
        self._latch = 0
        self._driven = 0

    @DATA.on_read
    def _read(self, lines: int) -> int:
        return self._latch & self.DIR.value & lines

    @DATA.on_write
    def _write(self, value: int, lines: int) -> None:
        self._latch = self._latch & ~lines | value & lines
        self._drive()

    @DIR.on_write
    def _turn(self, value: int) -> None:
        self._drive()

    def _drive(self) -> None:
        before, self._driven = self._driven, self._latch & self.DIR.value
        for line, act in self._on_high.items():
            if self._driven & ~before & 1 << line:
                act()
