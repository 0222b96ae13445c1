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


class NpuScene(Protocol):
    """The state of the NPU, as nobody in the guest can see it."""

    def is_secure(self) -> bool:
        """Whether its DMA reaches what is the secure world's."""

    def secure_job_under_way(self) -> bool:
        """Whether one is that has more than the present task before it: it does not end on its own at once."""

    def drains(self) -> bool:
        """Whether a normal job is under way that the secure world waits for."""

    def job_under_way(self) -> bool:
        """Anybody's."""

    def registers(self) -> dict[int, int]:
        """What core 0 holds, by offset."""

    def has_moved_data(self) -> bool:
        """Whether a core has performed DMA since the last call returned."""

    def was_aborted(self) -> bool:
        """Whether a job was, since the last `Scene.arm`."""


class Scene(Protocol):
    """The state of the machine, as nobody in the guest can see it."""

    @property
    def npu(self) -> NpuScene: ...

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

    def driver_memory(self) -> Planted:
        """A page of the driver context's."""

    def staged(self, name: str) -> Planted:
        """A page that the secure world's jobs of the NPU use: its region ``name`` of the pool."""

    def staged_address(self, name: str) -> int:
        """The NPU's address of the same page in secure mode."""

    def register(self, base: int, offset: int) -> int:
        """Address of a device register that must keep its contents."""

    def live_register(self, base: int, offset: int) -> int:
        """The same; in a lifted scene that register itself, since it protects nothing there."""

    def stage2_entry(self, page: int) -> int:
        """Address of the stage-2 descriptor of a page."""

    def stream_entry(self) -> int:
        """Address of the NPU's entry in the SMMU's stream table."""

    def npu_entry(self) -> int:
        """Address of the stage-2 descriptor by which the NPU reaches what is staged for it."""

    def plant(self, address: int, state: PageState) -> Planted:
        """Plant a page that is in ``state``, for good."""

    def reached_while_locked(self, page: int) -> bool:
        """Whether DMA has been performed on ``page`` after the LOCK that took it had returned."""

    def altered(self, address: int) -> bool:
        """Whether a target, or any protection register, is not what it was when it was handed out."""

    def served_right(self) -> bool:
        """Whether the tokens of the request that is being served are those of a phone that nobody attacks."""

    def driver_got_through(self) -> bool:
        """Whether the driver context has done what it must not be able to do."""

    def credit_checks(self) -> None:
        """Name what the secure world's check of the driver's last job found."""

    def value(self, address: int) -> int:
        """What a target holds now."""

    def interrupted(self) -> bool:
        """Whether EL3 has taken an interrupt since the last `arm`."""

    def state(self, page: int) -> PageState: ...

    def is_revoked(self, page: int) -> bool: ...

    def table_changed(self) -> bool:
        """Whether any page's ownership is not what it was at the last `arm`."""

    def believes_in(self, page: int) -> bool:
        """Whether the secure kernel takes a page for its own that is not LOCKED."""

    def is_backed(self, region: str) -> bool:
        """Whether there are pages behind it."""

    def page_of(self, region: str) -> int:
        """The first page of the pool's behind ``region``."""

    def plant_secure_registers(self, block_for: BlockFor) -> None:
        """The secure world will leave next time with the registers of a block (firmware/probe/register_block.h)."""

    def secure_registers_were_planted(self) -> bool: ...

    def arm(self) -> None:
        """What follows is the attack itself: what refuses from here on is what stopped it."""

    def credit(self, what: str) -> None:
        """Name what stopped the attack where no refusal can be seen in the event stream."""
