"""All devices of the exec board on one machine, as that of QEMU's ``virt,secure=on`` come out of reset."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from emulator import memory_map
from emulator.devices.native import NativeEvents, NativeFilter, NativeProtection
from emulator.devices.tzc400 import Region
from emulator.devices.uart import Uart
from emulator.machine import Machine, MmioDevice
from emulator.memory_map import VIRT_COUNTER_HZ, Window

from .console import Console, NoInput, Source
from .empty import EmptyPci, EmptyVirtioSlots
from .flash import Flash
from .fw_cfg import FwCfg
from .gpio import Gpio
from .rtc import Rtc

POWER_OFF_LINE, RESET_LINE = 0, 1  # of the secure GPIO
ALL_NSAIDS = 0xFFFF


class Ending(enum.Enum):
    """Why a board stopped by itself."""

    EXIT = "semihosting exit"
    POWER_OFF = "power off"
    RESET = "reset"
    FORSAKEN = "waits for input, which has ended"


@dataclass
class End:
    """How the run ended, once it has; ``status`` as a process ends with."""

    why: Ending | None = None
    status: int = 0


@dataclass(frozen=True)
class Board:
    """The devices that somebody outside has to do with."""

    uart0: Uart
    uart1: Uart
    console: Console
    end: End


def populate(
    machine: Machine,
    *,
    source: Source | None = None,
    on_output: Callable[[int, int], None] = lambda uart, byte: None,
    clock_start: int = 0,
) -> Board:
    """Put every device on ``machine``.

    ``source`` is what comes in at UART0; ``on_output`` gets each byte that a UART sends, with the UART's number;
    ``clock_start`` is what the RTC shows at first, in seconds since 1970. Raises MachineError.
    """
    events, end = NativeEvents(machine.native), End()
    _open_filters(machine)

    def ends(why: Ending, status: int = 0) -> Callable[[], None]:
        def act() -> None:
            if end.why is None:
                end.why, end.status = why, status
            machine.halt()

        return act

    def seconds() -> int:
        return machine.instructions // VIRT_COUNTER_HZ

    def look() -> None:
        console.look(len(uart0.output))

    uart0 = Uart(memory_map.UART0, events, always_on=True, on_byte=lambda byte: on_output(0, byte), on_look=look)
    uart1 = Uart(memory_map.UART1, events, always_on=True, on_byte=lambda byte: on_output(1, byte))
    console = Console(source or NoInput(), uart0.receive, ends(Ending.FORSAKEN))
    power = {POWER_OFF_LINE: ends(Ending.POWER_OFF), RESET_LINE: ends(Ending.RESET)}
    flash0, flash1 = memory_map.FLASH0, memory_map.FLASH1
    machine.add_flash(flash0.base, flash1.end - flash0.base)
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
    for window in (flash0, flash1):
        machine.attach(window, Flash(window, machine, _shower(machine, window)))
    return Board(uart0, uart1, console, end)


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
