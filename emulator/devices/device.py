"""What every device is to the bus: declared registers, access widths, and nothing that happens unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from emulator.memory_map import Window, device_windows
from emulator.registers import WORD, Register, RegisterMap

Line = Callable[[bool], None]  # sets the level of an interrupt


class BusError(Exception):
    """The device refuses the access: the master sees an external abort."""


class EventSink(Protocol):
    """Where a device's part of the event stream goes. ``device`` is its place in `memory_map.device_windows`."""

    def device_write(self, device: int, offset: int, size: int, value: int, secure: bool) -> None:
        """A register was programmed that decides who may reach what."""

    def undeclared(self, device: int, offset: int, size: int, value: int, write: bool, secure: bool) -> None:
        """An access met no declared register, or bits of it that nothing declares."""


class Device(RegisterMap):
    """Registers behind a window of the physical memory map.

    A 32-bit register takes 32-bit accesses, a 64-bit one 64 bits or either half. What nothing declares reads as zero,
    ignores writes, and is an event.
    """

    held: ClassVar[tuple[str, ...]] = ()  # attributes that are state beside the registers
    takes_narrow: ClassVar[bool] = False  # 8- and 16-bit accesses to the low end of a register

    def __init__(self, window: Window, events: EventSink) -> None:
        super().__init__()
        self.window = window
        self.number = device_windows().index(window)
        self._events = events
        self._interrupt: Line | None = None

    def connect(self, line: Line) -> None:
        """Give the device's interrupt an input of the interrupt controller."""
        self._interrupt = line
        self.signal()

    def interrupts(self) -> bool:
        """The level of the device's interrupt, as its registers stand."""
        return False

    def signal(self) -> None:
        """What the interrupt depends on may have changed."""
        if self._interrupt is not None:
            self._interrupt(self.interrupts())

    def read(self, offset: int, size: int, secure: bool) -> int:
        """Read ``size`` bytes at ``offset``. Raises BusError for a width that the register does not take."""
        found = self._find(offset, size)
        if found is None or not found[0].readable:
            self._events.undeclared(self.number, offset, size, 0, False, secure)
            return 0
        register, index = found
        shift = (offset - register.at(index)) * 8
        value = self.load(register, index) >> shift & _mask(size)
        self.signal()
        return value

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        """Write the low ``size`` bytes of ``value`` at ``offset``. Raises BusError like `read`."""
        value &= _mask(size)
        found = self._find(offset, size)
        if found is None or not found[0].writable:
            self._events.undeclared(self.number, offset, size, value, True, secure)
            return
        register, index = found
        shift = (offset - register.at(index)) * 8
        if value << shift & ~register.declared:
            self._events.undeclared(self.number, offset, size, value, True, secure)
        if register.protects:
            self._events.device_write(self.number, offset, size, value, secure)
        kept = 0
        if size * 8 < register.width:
            kept = self.values[register.at(index)] & ~(_mask(size) << shift) & register.kept_by_part_write
        self.store(register, index, value << shift | kept)
        self.signal()

    def _find(self, offset: int, size: int) -> tuple[Register, int] | None:
        if offset % size or (size < WORD and not self.takes_narrow):
            raise BusError(f"{self.window.name} refuses {size} bytes at {offset:#x}")
        found = self.find(offset)
        if found is not None and (size > found[0].width // 8 or (size < WORD and offset != found[0].at(found[1]))):
            raise BusError(f"{self.window.name}.{found[0].name} refuses {size} bytes at {offset:#x}")
        return found


def _mask(size: int) -> int:
    return (1 << size * 8) - 1
