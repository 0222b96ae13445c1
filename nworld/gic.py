"""Driver of the interrupt controller as the normal world sees it: Group 1 alone (GICv2, IHI 0048B, 4.1).

The kernel takes an IRQ at its gate and runs `Gic.serve`, with interrupts masked until it returns to what it was at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from emulator.devices.gic import INTERRUPTS, GicCpuInterface, GicDistributor
from emulator.gate import Flow, access_all
from emulator.memory_map import GIC_CPU, GIC_DISTRIBUTOR

PER_REGISTER = 32  # interrupts of an enable register
ID = 0x3FF  # of IAR; the rest says which core sent a software-generated interrupt
SPECIAL = 1020  # numbers from here on name no interrupt; 1023: nothing is pending
GROUP1 = 1  # the Non-secure view's bit 0 of both CTLR
EVERY_PRIORITY = 0xFF  # the mask keeps nothing away

Handler: TypeAlias = Callable[[], Flow[bool]]


@dataclass
class GicState:
    """``spurious``: interrupts that were gone when they were asked for; ``unclaimed``: that no handler knew."""

    spurious: int = 0
    unclaimed: int = 0


class Gic:
    """Enables interrupts one by one and has each served by its handler.

    A handler makes its device lower the line and says whether the interrupt was its device's. One that is nobody's is
    disabled, or a line that stays high would keep the core for good; whoever wants it enables it again.
    """

    def __init__(self) -> None:
        self.state = GicState()
        self._handlers: dict[int, Handler] = {}

    def serve_by(self, interrupt: int, handler: Handler) -> None:
        """``handler`` is a flow that neither waits nor leaves this world."""
        self._handlers[interrupt] = handler

    def start(self) -> Flow[None]:
        """Out of reset, or whatever a boot loader left: nothing is enabled, all priorities are signalled."""
        every = (1 << PER_REGISTER) - 1
        banks = range(INTERRUPTS // PER_REGISTER)
        yield from access_all(
            *((GIC_DISTRIBUTOR.base + GicDistributor.ICENABLER.at(bank), every) for bank in banks),
            (GIC_CPU.base + GicCpuInterface.PMR.offset, EVERY_PRIORITY),
            (GIC_CPU.base + GicCpuInterface.CTLR.offset, GROUP1),
            (GIC_DISTRIBUTOR.base + GicDistributor.CTLR.offset, GROUP1),
        )

    def enable(self, interrupt: int) -> Flow[None]:
        bank, bit = divmod(interrupt, PER_REGISTER)
        yield from access_all((GIC_DISTRIBUTOR.base + GicDistributor.ISENABLER.at(bank), 1 << bit))

    def disable(self, interrupt: int) -> Flow[None]:
        bank, bit = divmod(interrupt, PER_REGISTER)
        yield from access_all((GIC_DISTRIBUTOR.base + GicDistributor.ICENABLER.at(bank), 1 << bit))

    def serve(self) -> Flow[None]:
        """Acknowledge, handle and end every interrupt that is pending, the most urgent first."""
        acknowledged = yield from self._acknowledge()
        if acknowledged & ID >= SPECIAL:
            self.state.spurious += 1
        while acknowledged & ID < SPECIAL:
            interrupt = acknowledged & ID
            handler = self._handlers.get(interrupt)
            if handler is None or not (yield from handler()):
                self.state.unclaimed += 1
                yield from self.disable(interrupt)
            yield from access_all((GIC_CPU.base + GicCpuInterface.EOIR.offset, acknowledged))
            acknowledged = yield from self._acknowledge()

    def _acknowledge(self) -> Flow[int]:
        (acknowledged,) = yield from access_all((GIC_CPU.base + GicCpuInterface.IAR.offset, None))
        return acknowledged
