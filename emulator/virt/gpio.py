"""PL061 general-purpose I/O (Arm DDI 0190): eight lines. Nothing drives those that are inputs: they read as zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emulator.devices.device import Device, EventSink
from emulator.memory_map import Window
from emulator.registers import RO, WO, Register

LINES = {"lines": (7, 0)}
ALL_LINES = 0xFF << 2  # where DATA means all of them


class Gpio(Device):
    """``on_high``: what happens when an output line goes high."""

    prefix = "GPIO"
    held = ("_latch", "_driven")
    takes_narrow = True  # Linux drives it with bytes

    DATA = Register(ALL_LINES, fields=LINES, what="At lower offsets only the lines whose bits the offset has, times 4.")
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

    def read(self, offset: int, size: int, secure: bool) -> int:
        if offset < ALL_LINES:
            return super().read(ALL_LINES, size, secure) & offset >> 2
        return super().read(offset, size, secure)

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        if offset < ALL_LINES:
            offset, value = ALL_LINES, self._latch & ~(offset >> 2) | value & offset >> 2
        super().write(offset, size, value, secure)

    @DATA.on_read
    def _read(self) -> int:
        return self._latch & self.DIR.value

    @DATA.on_write
    def _write(self, value: int) -> None:
        self._latch = value
        self._drive()

    @DIR.on_write
    def _turn(self, value: int) -> None:
        self._drive()

    def _drive(self) -> None:
        before, self._driven = self._driven, self._latch & self.DIR.value
        for line, act in self._on_high.items():
            if self._driven & ~before & 1 << line:
                act()
