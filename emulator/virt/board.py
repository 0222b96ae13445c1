"""All devices of the exec board on one machine, as that of QEMU's ``virt,secure=on`` come out of reset."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emulator import memory_map
from emulator.devices.device import EventSink
from emulator.devices.gic import Gic
from emulator.devices.native import NativeEvents, NativeFilter, NativeGic, NativeProtection
from emulator.devices.tzc400 import Region
from emulator.devices.uart import Uart
from emulator.machine import Machine, MmioDevice
from emulator.memory_map import VIRT_COUNTER_HZ, Window
from emulator.native import lib

from .console import Console, Source
from .empty import EmptyPci, EmptyVirtioSlots
from .flash import Flash
from .fw_cfg import FwCfg
from .gpio import Gpio
from .msi import MsiFrame
from .rtc import Rtc

POWER_OFF_LINE, RESET_LINE = 0, 1  # of the secure GPIO
ALL_NSAIDS = 0xFFFF


class Ending(enum.IntEnum):
    """Why a board stopped by itself."""

    NONE = 0
    EXIT = 1
    POWER_OFF = 2
    RESET = 3
    FORSAKEN = 4


class End:
    """How the run ended, once it has (``why``); ``status`` as a process ends with."""

    held = ("why", "status")

    def __init__(self, halt: Callable[[], None]) -> None:
        self.values: dict[int, int] = {}
        self.why = 0
        self.status = 0
        self._halt = halt

    def come(self, why: Ending, status: int = 0) -> None:
        """The machine stops; the first reason counts."""
        if not self.why:
            self.why, self.status = why, status
        self._halt()


class Listener(Protocol):
    """Who hears what the UARTs send: ``uart`` is 0 or 1."""

    def sent(self, uart: int, byte: int) -> None: ...

    def sent_line(self, uart: int, line: bytes) -> None:
        """A line is complete; it comes without its newline."""


@dataclass(frozen=True)
class Board:
    """What somebody outside has to do with."""

    console: Console
    end: End


def populate(machine: Machine, source: Source, listener: Listener, *, clock_start: int = 0) -> Board:
    """Put every device on ``machine``.

    ``source`` is what comes in at UART0; ``clock_start`` is what the RTC shows at first, in seconds since 1970. Raises
    MachineError.
    """
    events, end = NativeEvents(machine.native), End(machine.halt)
    _open_filters(machine)
    lib.machine_let_stores_wait(machine.native)

    def seconds() -> int:
        return machine.instructions // VIRT_COUNTER_HZ

    def look() -> None:
        console.look()

    uart0 = _uart(0, memory_map.UART0, events, listener, look)
    uart1 = _uart(1, memory_map.UART1, events, listener)
    console = Console(source, uart0, lambda: machine.instructions, lambda: end.come(Ending.FORSAKEN))
    power = {POWER_OFF_LINE: lambda: end.come(Ending.POWER_OFF), RESET_LINE: lambda: end.come(Ending.RESET)}
    devices: dict[Window, MmioDevice] = {
        memory_map.UART0: uart0,
        memory_map.UART1: uart1,
        memory_map.RTC: Rtc(memory_map.RTC, events, seconds, clock_start),
        memory_map.FW_CFG: FwCfg(machine, machine.layout.size, {"bootorder": b""}),
        memory_map.GPIO: Gpio(memory_map.GPIO, events),
        memory_map.SECURE_GPIO: Gpio(memory_map.SECURE_GPIO, events, power),
        memory_map.VIRTIO: EmptyVirtioSlots(),
    }
    devices |= dict.fromkeys(_PCIE, EmptyPci())
    for window, device in devices.items():
        machine.attach(window, device)
    flash0, flash1 = memory_map.FLASH0, memory_map.FLASH1
    machine.add_flash(flash0.base, flash1.end - flash0.base)
    native_gic = NativeGic(machine.native)
    gic = Gic(native_gic)
    for window, frame in gic.frames:
        machine.attach(window, frame)
    for uart in (uart0, uart1):
        gic.connect(uart)
    machine.attach(memory_map.MSI, MsiFrame(memory_map.MSI, events, native_gic.line))
    for window in (flash0, flash1):
        machine.attach(window, Flash(window, machine, _shower(machine, window)))
    machine.keep(console)
    machine.keep(end)
    return Board(console, end)


def _uart(
    number: int, window: Window, events: EventSink, listener: Listener, look: Callable[[], None] | None = None
) -> Uart:
    return Uart(
        window,
        events,
        always_on=True,
        on_byte=lambda byte: listener.sent(number, byte),
        on_line=lambda line: listener.sent_line(number, line),
        on_look=look,
    )


_PCIE = (memory_map.PCIE_MMIO, memory_map.PCIE_PIO, memory_map.PCIE_ECAM, memory_map.PCIE_MMIO_HIGH)


def _shower(machine: Machine, window: Window) -> Callable[[bool], None]:
    return lambda shown: machine.show_array(window, shown)


def _open_filters(machine: Machine) -> None:
    """This board has no TZASC; its secure RAM is secure, its DRAM everybody's, and UART0 is not protected."""
    everyone = Region(
        base=0, top=(1 << 44) - 1, enabled=True, secure_read=True, secure_write=True, normal_read=ALL_NSAIDS,
        normal_write=ALL_NSAIDS,
    )  # fmt: skip
    protection = NativeFilter(machine.native)
    protection.set_region(0, everyone)
    protection.set_control(gate_open=True, bus_error=True)
    normal = 1 << memory_map.DEVICES.index(memory_map.UART0)
    NativeProtection(machine.native).set(memory_map.SECURE_SRAM.size // memory_map.PAGE_SIZE, normal)
