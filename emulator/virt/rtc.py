"""PL031 real-time clock (Arm DDI 0224): counts seconds of guest time."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.device import Device, EventSink
from emulator.memory_map import Window
from emulator.registers import RO, WO, Register

ALARM = 1
NEVER = -1
MASK = 0xFFFF_FFFF


class Rtc(Device):
    """``seconds`` gives guest time; ``start`` is what the clock shows when that is 0, in seconds since 1970."""

    prefix = "RTC"
    held = ("_offset", "_armed_at")
    takes_narrow = True

    DR = Register(0x000, access=RO)
    MR = Register(0x004)
    LR = Register(0x008)
    CR = Register(0x00C, fields={"start": (0, 0, RO)}, reset=1)
    IMSC = Register(0x010, fields={"alarm": (0, 0)})
    RIS = Register(0x014, access=RO, fields={"alarm": (0, 0)})
    MIS = Register(0x018, access=RO, fields={"alarm": (0, 0)})
    ICR = Register(0x01C, access=WO, fields={"alarm": (0, 0)})

    PERIPHERAL_ID = Register(0xFE0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x31, 0x10, 0x14, 0x00))
    COMPONENT_ID = Register(0xFF0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x0D, 0xF0, 0x05, 0xB1))

    def __init__(self, window: Window, events: EventSink, seconds: Callable[[], int], start: int) -> None:
        super().__init__(window, events)
        self._seconds = seconds
        self.LR.value = start & MASK
        self._offset = start
        self._armed_at = NEVER  # what the clock showed when the match register was written

    @DR.on_read
    def _now(self) -> int:
        return (self._offset + self._seconds()) & MASK

    @LR.on_write
    def _set(self, value: int) -> None:
        self._offset = value - self._seconds()

    @MR.on_write
    def _arm(self, value: int) -> None:
        self._armed_at = self._now()

    @RIS.on_read
    def _raw(self) -> int:
        """The alarm rings once the clock has reached the match register, and until it is cleared."""
        if self._armed_at == NEVER:
            return 0
        return int(self._now() - self._armed_at >= (self.MR.value - self._armed_at) & MASK)

    @MIS.on_read
    def _masked(self) -> int:
        return self._raw() & self.IMSC.value

    @ICR.on_write
    def _clear(self, value: int) -> None:
        if value & ALARM and self._raw():
            self._armed_at = NEVER
