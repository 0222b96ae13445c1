"""One gate: the small AArch64 image in which a Python kernel lives, driven through its symbols.

The kernel leaves the gate only by resuming the core at a site, with the registers its compiled code would have set; it
is woken by an arrival, a WFI at a symbol of its own (firmware/gate/gate.S).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Protocol

from emulator.world import World, vmid_of, world_of

from .actions import Registers

RESULT_REGISTERS = 8
ARGUMENT_REGISTERS = 8
DELAY_REGISTER = 8  # and the one after it: gate.S, pass_time


class Site(enum.Enum):
    """Where the core is resumed."""

    SMC = "gate_call"
    BUSY = "gate_busy"
    TLBI = "gate_tlbi"
    WAIT = "gate_wait"
    TOUCH = "gate_touch"
    TIMER = "gate_timer"
    UNMASK = "gate_unmask"
    ERET = "gate_eret"


class Arrival(enum.Enum):
    """Why the core stands in the gate again."""

    BOOT = "arrive_boot"
    RETURN = "arrive_return"
    IDLE = "gate_idle"
    ENTRY = "arrive_entry"
    REVOCATION = "arrive_revocation"
    SYNC = "arrive_sync"
    IRQ = "arrive_irq"
    FIQ = "arrive_fiq"
    SERROR = "arrive_serror"
    PROBE = "probe_done"  # of the probe image: guest code that a flow had executed has ended

    @property
    def number(self) -> int:
        """Its place in the order above."""
        return list(Arrival).index(self)


INSTRUCTIONS_PER_TURN = 2  # SUBS, B.NE
INSTRUCTIONS_PER_LONG_TURN = 256  # GATE_LONG_TURN in firmware/gate/gate.h
INSTRUCTIONS_AROUND_TURNS = 2  # CBZ, CBZ

TIMER_OFF, TIMER_ON = 0, 1  # CNTP_CTL_EL0


class Core(Protocol):
    """What a gate needs of a core."""

    pc: int

    @property
    def x(self) -> CoreRegisters: ...

    @property
    def context(self) -> int: ...

    def read_sysreg(self, name: str) -> int: ...


class CoreRegisters(Protocol):
    """x0-x30 by index."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...

    def first(self, count: int) -> Registers: ...

    def set_first(self, values: Registers) -> None: ...


class GateFault(Exception):
    """A kernel's gate took an exception that its kernel cannot survive."""


class Gate:
    """The gate of ``world``, loaded at ``base``; ``symbols`` are its image's, relative to address 0.

    ``probe_end`` is the address where guest code that a flow executes ends. ``vmid`` tells the gates of the normal
    world and of the driver context apart, which are both non-secure; None where there is but one.
    """

    def __init__(
        self,
        core: Core,
        world: World,
        symbols: Mapping[str, int],
        base: int,
        probe_end: int | None = None,
        vmid: int | None = None,
    ) -> None:
        self.world = world
        self.base = base
        self._vmid = vmid
        self._core = core
        self._symbols = symbols
        self._sites = {site: base + symbols[site.value] for site in Site}
        self._arrivals: dict[int, Arrival] = {
            base + symbols[arrival.value]: arrival for arrival in Arrival if arrival is not Arrival.PROBE
        }
        if probe_end is not None:
            self._arrivals[probe_end] = Arrival.PROBE

    def address(self, symbol: str) -> int:
        return self.base + self._symbols[symbol]

    def arrival(self, pc: int) -> Arrival | None:
        """The arrival a stop at ``pc`` means to this gate; None if the core stands elsewhere."""
        arrival = self._arrivals.get(pc)
        if not arrival:
            return None
        context = self._core.context
        return arrival if world_of(context) is self.world and self._vmid in (None, vmid_of(context)) else None

    def registers(self, count: int = RESULT_REGISTERS) -> Registers:
        return self._core.x.first(count)

    def outcome(self, arrival: Arrival) -> Registers:
        """How guest code ended: (arrival, ESR_EL1, FAR_EL1, x0-x7)."""
        syndromes = (self._core.read_sysreg(name) for name in ("ESR_EL1", "FAR_EL1"))
        return (arrival.number, *syndromes, *self.registers())

    def smc(self, function: int, arguments: tuple[int, ...], delay: int = 0) -> None:
        """After ``delay`` instructions."""
        if len(arguments) >= ARGUMENT_REGISTERS:
            raise ValueError(f"SMC {function:#x} has {len(arguments)} arguments, x1-x7 hold 7")
        unused = (0,) * (ARGUMENT_REGISTERS - 1 - len(arguments))
        self._core.x.set_first((function, *arguments, *unused, *_turns(delay)))
        self._resume(Site.SMC)

    def execute(self, address: int, arguments: tuple[int, ...]) -> None:
        """Guest code outside the gate."""
        self._core.x.set_first(arguments)
        self._core.pc = address

    def spin(self, instructions: int) -> None:
        """At least two; an odd count is rounded up."""
        self._delay(instructions)
        self._resume(Site.BUSY)

    def wait(self, delay: int = 0) -> None:
        """WFI, after ``delay`` instructions; arrives as IDLE."""
        self._delay(delay)
        self._resume(Site.WAIT)

    def tlbi(self, operand: int) -> None:
        self._core.x[0] = operand
        self._resume(Site.TLBI)

    def touch(self, address: int) -> None:
        """Load a byte, to take the abort that the port reported; comes back as RETURN if there is none."""
        self._core.x[0] = address
        self._resume(Site.TOUCH)

    def set_timer(self, at: int | None) -> None:
        self._core.x.set_first((0, TIMER_OFF) if at is None else (at, TIMER_ON))
        self._resume(Site.TIMER)

    def unmask(self) -> None:
        self._resume(Site.UNMASK)

    def end_interrupt(self) -> None:
        """From an IRQ arrival back to what was interrupted, its registers intact."""
        self._resume(Site.ERET)

    def _delay(self, instructions: int) -> None:
        self._core.x[DELAY_REGISTER], self._core.x[DELAY_REGISTER + 1] = _turns(instructions)

    def _resume(self, site: Site) -> None:
        self._core.pc = self._sites[site]


def _turns(instructions: int) -> tuple[int, int]:
    """Long and short turns of a gate's loops that take so long, with what is around them."""
    if not instructions:
        return 0, 0
    turns = max(0, -(-(instructions - INSTRUCTIONS_AROUND_TURNS) // INSTRUCTIONS_PER_TURN))
    long_turns, rest = divmod(turns * INSTRUCTIONS_PER_TURN, INSTRUCTIONS_PER_LONG_TURN)
    return long_turns, rest // INSTRUCTIONS_PER_TURN
