"""What an attack needs to know to be no empty gesture: the judge beside the machine, who sees all of it.

The scene hands out targets that hold what they are said to hold, and afterwards says what became of them. It acts only
while the core stands still. In a scene that is ``lifted`` every target is an ordinary page of normal memory: the same
attack must get through there, or its failure would mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from emulator.memory_map import DramLayout
from monitor.abi import PageState

VALUE_OFFSET = 0x20
TABLE_OFFSET = 0x800  # of the entries below in a level 1 table
SECRET_ENTRY = TABLE_OFFSET // 8  # a 1 GiB block at ``Planted.block``
WINDOW_ENTRY = SECRET_ENTRY + 1  # a 1 GiB block that maps the start of DRAM


@dataclass(frozen=True)
class Planted:
    """A page that holds, from ``address`` on: code that returns ``secret``; ``secret`` itself; part of a page table."""

    address: int
    secret: int
    block: int

    @property
    def value(self) -> int:
        return self.address + VALUE_OFFSET


BlockFor = Callable[[int, tuple[int, ...]], bytes]  # of an SMC's function and arguments


class Scene(Protocol):
    """The state of the machine, as nobody in the guest can see it."""

    @property
    def lifted(self) -> bool: ...

    @property
    def layout(self) -> DramLayout: ...

    def locked(self, among: Iterable[int] | None = None) -> Planted:
        """A LOCKED page of the pool (one of ``among``), planted until the attack is over."""

    def pool_pages(self, pages: int = 1) -> int:
        """Adjacent LOCKED pages of the pool, as they are, in a lifted scene as well."""

    def secure_dram(self) -> Planted: ...

    def carve_out(self) -> Planted:
        """A page of the monitor's normal-memory carve-out."""

    def secure_sram(self) -> Planted: ...

    def register(self, base: int, offset: int) -> int:
        """Address of a device register that must keep its contents."""

    def stage2_entry(self, page: int) -> int:
        """Address of the stage-2 descriptor of a page."""

    def plant(self, address: int, state: PageState) -> Planted:
        """Plant a page that is in ``state``, for good."""

    def reached_while_locked(self, page: int) -> bool:
        """Whether DMA has been performed on ``page`` after the LOCK that took it had returned."""

    def altered(self, address: int) -> bool:
        """Whether a target, or any protection register, is not what it was when it was handed out."""

    def state(self, page: int) -> PageState: ...

    def is_revoked(self, page: int) -> bool: ...

    def table_changed(self) -> bool:
        """Whether any page's ownership is not what it was at the last `arm`."""

    def plant_secure_registers(self, block_for: BlockFor) -> None:
        """The secure world will leave next time with the registers of a block (firmware/probe/register_block.h)."""

    def secure_registers_were_planted(self) -> bool: ...

    def arm(self) -> None:
        """What follows is the attack itself: what refuses from here on is what stopped it."""

    def credit(self, what: str) -> None:
        """Name what stopped the attack where no refusal can be seen in the event stream."""
