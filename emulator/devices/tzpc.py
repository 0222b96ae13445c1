"""BP147 protection controller (Arm DTO 0015): which devices non-secure masters reach, and how much SRAM is secure."""

from __future__ import annotations

import enum
from typing import Protocol

from emulator.memory_map import Window
from emulator.registers import RO, WO, Register

from .device import Device, EventSink

GROUPS = 3
GROUP_STRIDE = 0xC
GROUP_BITS = 8
EVERY_PAGE = (1 << 32) - 1


class SecurePages(enum.IntEnum):
    """R0SIZE: pages of 4 KiB from the RAM's base, up to 2 MiB; from here on it means the RAM as a whole."""

    WHOLE_RAM = 0x200


class Protection(Protocol):
    """The native filter in front of SRAM and devices."""

    def set(self, secure_sram_pages: int, normal_devices: int) -> None:
        """``normal_devices``: a bit for each device that non-secure masters may reach."""


class Tzpc(Device):
    """BP147. Bit n of DECPROT(0) is device n of `memory_map.DEVICES`, and so on through DECPROT(2)."""

    prefix = "TZPC"

    R0SIZE = Register(
        0x000,
        fields={"secure_pages": (9, 0, SecurePages)},
        reset=SecurePages.WHOLE_RAM,
        protects=True,
        what="Secure RAM in pages of 4 KiB; 0x200 and above: all of it.",
    )
    DECPROT_STAT = Register(
        0x800,
        access=RO,
        count=GROUPS,
        stride=GROUP_STRIDE,
        fields={"normal": (7, 0)},
        what="1: non-secure accesses pass.",
    )
    DECPROT_SET = Register(
        0x804, access=WO, count=GROUPS, stride=GROUP_STRIDE, fields={"normal": (7, 0)}, protects=True
    )
    DECPROT_CLR = Register(
        0x808, access=WO, count=GROUPS, stride=GROUP_STRIDE, fields={"normal": (7, 0)}, protects=True
    )

    PERIPHERAL_ID = Register(0xFE0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x70, 0x18, 0x04, 0x00))
    COMPONENT_ID = Register(0xFF0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x0D, 0xF0, 0x05, 0xB1))

    def __init__(self, window: Window, events: EventSink, protection: Protection) -> None:
        super().__init__(window, events)
        self._protection = protection
        self._apply()

    @R0SIZE.on_write
    def _size_written(self, value: int) -> None:
        self._apply()

    @DECPROT_SET.on_write
    def _set(self, value: int, index: int) -> None:
        self.DECPROT_STAT.at(index).value |= value
        self._apply()

    @DECPROT_CLR.on_write
    def _clear(self, value: int, index: int) -> None:
        self.DECPROT_STAT.at(index).value &= ~value
        self._apply()

    def _apply(self) -> None:
        pages = self.R0SIZE["secure_pages"]
        normal = sum(self.DECPROT_STAT.at(index).value << GROUP_BITS * index for index in range(GROUPS))
        self._protection.set(EVERY_PAGE if pages >= SecurePages.WHOLE_RAM else pages, normal)
