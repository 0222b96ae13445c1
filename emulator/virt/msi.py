"""GICv2m frame (Arm Server Base System Architecture, appendix E): a write to it is a message-signalled interrupt."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.device import Device, EventSink
from emulator.memory_map import FIRST_SPI, Window
from emulator.registers import RO, WO, Register

COUNT = 64


class MsiFrame(Device):
    """``line`` gives the input of an interrupt by its GIC ID, as `NativeGic.line` does. The first is its window's."""

    prefix = "MSI"

    TYPER = Register(0x008, access=RO, fields={"count": (9, 0), "first": (25, 16)})
    SETSPI = Register(0x040, access=WO, fields={"interrupt": (9, 0)})
    IIDR = Register(0xFCC, access=RO, reset=0x0510_0000, what="As QEMU's.")

    def __init__(self, window: Window, events: EventSink, line: Callable[[int], Callable[[bool], None]]) -> None:
        super().__init__(window, events)
        assert window.spi is not None, "its window says which interrupts it has"
        self._line = line
        self._first = FIRST_SPI + window.spi
        self.TYPER.value = self._first << 16 | COUNT

    @SETSPI.on_write
    def _ring(self, interrupt: int) -> None:
        """A pulse; interrupts that the frame does not have are ignored."""
        if self._first <= interrupt < self._first + COUNT:
            self._line(interrupt)(True)
            self._line(interrupt)(False)
