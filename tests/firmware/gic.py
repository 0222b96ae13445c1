"""Interrupts as the normal world sees them at the GIC, and as a debugger does."""

from __future__ import annotations

from emulator.events import EventKind
from emulator.memory_map import FIRST_SPI, GIC_CPU, GIC_DISTRIBUTOR, UART0

from .phone import Phone
from .test_preemption import GICC_IAR, GICC_PMR, GICD_ISENABLER, TIMER, load, store

VIRTUAL_TIMER = 27  # the normal world's other one
SECURE_TIMER = 29
CONSOLE = FIRST_SPI + 1
NPU_LINE = FIRST_SPI + 110
NOTHING = 1023  # of GICC_IAR: no interrupt is pending
GICD_ISPENDR, GICD_ISACTIVER = 0x200, 0x300
UART_DATA, UART_CONTROL, UART_MASK = (UART0.base + offset for offset in (0x0, 0x30, 0x38))
UART_ON, UART_RECEIVES = 0x301, 0x50
FIQ = 0x100  # offset among the vectors of one origin


def listen(phone: Phone) -> None:
    """The normal world lets its timers and its console interrupt it."""
    for address, value in (
        (GIC_DISTRIBUTOR.base, 1), (GIC_DISTRIBUTOR.base + GICD_ISENABLER, 1 << TIMER | 1 << VIRTUAL_TIMER),
        (GIC_DISTRIBUTOR.base + GICD_ISENABLER + 4, 1 << CONSOLE % 32),
        (GIC_CPU.base, 1), (GIC_CPU.base + GICC_PMR, 0xFF), (UART_CONTROL, UART_ON), (UART_MASK, UART_RECEIVES),
    ):  # fmt: skip
        store(phone, address, value)


def acknowledge(phone: Phone) -> int:
    """What the normal world is told to serve."""
    return load(phone, GIC_CPU.base + GICC_IAR) & 0x3FF


def is_over(phone: Phone, interrupt: int) -> bool:
    """Neither pending nor active."""
    values = phone.board.gic.distributor.values
    return not any(
        values[array + interrupt // 32 * 4] >> interrupt % 32 & 1 for array in (GICD_ISPENDR, GICD_ISACTIVER)
    )


def taken_at_el3(phone: Phone) -> int:
    """How many FIQs, since ``phone.events`` was emptied."""
    vectors = [event.args[6] for event in phone.events if event.kind is EventKind.EXCEPTION and event.args[4] == 3]
    return vectors.count(FIQ)
