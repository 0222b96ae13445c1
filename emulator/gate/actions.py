"""What a kernel flow may ask of its gate: the actions, and the typed steps that yield them.

A flow is a generator: it yields one action and gets that action's result back. All of a flow's input arrives this way,
so a flow is replayed by sending the same values again.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, TypeAlias

Registers: TypeAlias = tuple[int, ...]
Argument: TypeAlias = "int | float | bytes | str | tuple[Argument, ...]"


class Smc(NamedTuple):
    """SMC #0 with x0 = ``function`` and x1.. = ``arguments`` (at most 7; the rest of x1-x7 are zero)."""

    function: int
    arguments: tuple[int, ...] = ()


class Tlbi(NamedTuple):
    """TLBI VALE1IS of ``operand`` = VA >> 12 | ASID << 48, or VMALLE1IS for ``ALL_ENTRIES``, with its barriers."""

    operand: int


ALL_ENTRIES = 0xFFFF_FFFF_FFFF_FFFF


class Wait(NamedTuple):
    """WFI: guest time moves to the next event of a device."""


class Counter(NamedTuple):
    """CNTPCT_EL0."""


class SetTimer(NamedTuple):
    """EL1's physical timer interrupts once CNTPCT_EL0 has reached ``at``; None: it is switched off."""

    at: int | None


class Unmask(NamedTuple):
    """From here on an IRQ of this kernel's interrupts whatever it does, at any instruction."""


class Read(NamedTuple):
    """Copy ``size`` bytes of normal memory from virtual address ``va``."""

    va: int
    size: int


class Write(NamedTuple):
    """Copy ``data`` to virtual address ``va``."""

    va: int
    data: bytes


class Load(NamedTuple):
    """One device access of ``width`` bytes (1, 2, 4 or 8)."""

    va: int
    width: int


class Store(NamedTuple):
    """One device access of ``width`` bytes (1, 2, 4 or 8)."""

    va: int
    width: int
    value: int


class AccessAll(NamedTuple):
    """Device accesses of 4 bytes in this order: (address, value) is a store, (address, None) a load.

    The reply holds what the loads gave. An abort ends the list; what came before it has happened.
    """

    accesses: tuple[tuple[int, int | None], ...]


class Compute(NamedTuple):
    """A declared native computation over virtual addresses; its result is one small integer."""

    name: str
    arguments: tuple[Argument, ...] = ()


class Charge(NamedTuple):
    """Nothing but guest time: ``instructions`` in the busy loop."""

    instructions: int


class Execute(NamedTuple):
    """Run guest code at ``address`` with x0.. = ``arguments`` until it reaches the probe's end or faults at EL1.

    The reply is (arrival, ESR_EL1, FAR_EL1, x0-x7); arrival is a place in ``Arrival``'s order.
    """

    address: int
    arguments: tuple[int, ...] = ()


class Notice(NamedTuple):
    """Something an app shows to its user; it leaves the guest and nothing comes back."""

    kind: str
    numbers: tuple[int, ...] = ()
    data: bytes = b""


Action: TypeAlias = (
    Smc
    | Tlbi
    | Wait
    | Counter
    | SetTimer
    | Unmask
    | Read
    | Write
    | Load
    | Store
    | AccessAll
    | Compute
    | Charge
    | Execute
    | Notice
)
Reply: TypeAlias = Registers | bytes | int | None


def smc(function: int, *arguments: int) -> Generator[Action, Reply, Registers]:
    """x0-x7 as the SMC returns them, x0 read as a signed status."""
    reply = yield Smc(function, arguments)
    assert isinstance(reply, tuple)
    return (reply[0] - (reply[0] >> 63 << 64), *reply[1:])


def tlbi(operand: int) -> Generator[Action, Reply, None]:
    yield Tlbi(operand)


def wait() -> Generator[Action, Reply, None]:
    yield Wait()


def counter() -> Generator[Action, Reply, int]:
    """CNTPCT_EL0 in ticks."""
    return _integer((yield Counter()))


def set_timer(at: int | None) -> Generator[Action, Reply, None]:
    yield SetTimer(at)


def unmask() -> Generator[Action, Reply, None]:
    yield Unmask()


def read(va: int, size: int) -> Generator[Action, Reply, bytes]:
    reply = yield Read(va, size)
    assert isinstance(reply, bytes)
    return reply


def write(va: int, data: bytes) -> Generator[Action, Reply, None]:
    yield Write(va, data)


def load(va: int, width: int = 4) -> Generator[Action, Reply, int]:
    return _integer((yield Load(va, width)))


def store(va: int, value: int, width: int = 4) -> Generator[Action, Reply, None]:
    yield Store(va, width, value)


def access_all(*accesses: tuple[int, int | None]) -> Generator[Action, Reply, Registers]:
    """Many device accesses at the price of one action; what the loads among them gave."""
    reply = yield AccessAll(accesses)
    assert isinstance(reply, tuple)
    return reply


def compute(name: str, *arguments: Argument) -> Generator[Action, Reply, int]:
    return _integer((yield Compute(name, arguments)))


def charge(instructions: int) -> Generator[Action, Reply, None]:
    yield Charge(instructions)


def execute(address: int, *arguments: int) -> Generator[Action, Reply, Registers]:
    """(arrival, ESR_EL1, FAR_EL1, x0-x7) of guest code; see ``Execute``."""
    reply = yield Execute(address, arguments)
    assert isinstance(reply, tuple)
    return reply


def notice(kind: str, *numbers: int, data: bytes = b"") -> Generator[Action, Reply, None]:
    yield Notice(kind, numbers, data)


def _integer(reply: Reply) -> int:
    assert isinstance(reply, int)
    return reply
