"""The hands of a hostile normal world: instructions at NS-EL1, DMA, and whatever a normal kernel may do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emulator.devices.gic import GicCpuInterface, GicDistributor
from emulator.devices.storage import Command, Storage
from emulator.gate import Arrival, Flow, Registers, access_all, charge, counter, execute, set_timer, write
from emulator.memory_map import GIC_CPU, GIC_DISTRIBUTOR, PAGE_SIZE, STORAGE
from monitor.abi import (
    FORCE,
    MEM_ALLOCATE,
    MEM_NEXT_RELEASED,
    MEM_RECALL,
    MEM_RECLAIM,
    MINIMUM_DEADLINE,
    PAGES_PER_CALL,
    Call,
)
from monitor.services.calls import CallFailed, invoke, succeed
from nworld.kernel import NormalKernel
from nworld.storage import TransferFailed

UPPER_HALF = 0xFFFF_FF80_0000_0000  # the lowest address that TTBR1_EL1 translates, T1SZ = 25
WARM_PAGES = 4  # of every grant
WARM_VALUE = 0x600D_C0DE
SCRATCH_BLOCKS = 2
TIMER = 30  # the normal world's physical timer, at the GIC
SPECIAL = 1020  # numbers from here on name no interrupt
ENABLE = 1  # of CTLR, in either half of the GIC
PATTERN = b"all your base   " * (PAGE_SIZE // 16)

_MOVES = ((0xD280_0000, 0), (0xF2A0_0000, 16), (0xF2C0_0000, 32), (0xF2E0_0000, 48))  # MOVZ, MOVK of x0 by shift
_RET = 0xD65F_03C0

Tamper = Callable[[int, int, int], Flow[None]]
Deceive = Callable[[Registers], Flow[Registers]]
Choose = Callable[[int], int]


def nothing() -> None:
    """To be done."""


def returning(value: int) -> bytes:
    """Code that returns ``value``, 64 bits, in x0."""
    words = [move | (value >> shift & 0xFFFF) << 5 for move, shift in _MOVES]
    return b"".join(word.to_bytes(4, "little") for word in (*words, _RET))


@dataclass(frozen=True)
class Medium:
    """Where things lie on the storage medium, in blocks: packages, and blocks that nothing else uses.

    ``layer_a`` and ``layer_b``, counted from a package's start, hold the same number of ``layer_blocks``.
    """

    slot: str
    package: int
    older: int
    other: int
    scratch: int
    layer_a: int
    layer_b: int
    layer_blocks: int


class Hostile:
    """Acts as the normal kernel ``kernel``; ``probe`` are the probe image's symbols, as absolute addresses.

    An access gives None when it was refused, as an exception or by the storage controller. ``choose``, called before
    the core is given away, comes back once for each instruction that is then executed at a level (1: the secure world's
    and the driver's; 2), each time on a phone of its own, with the guest time of that instruction.
    """

    def __init__(self, kernel: NormalKernel, probe: Mapping[str, int], medium: Medium, choose: Choose) -> None:
        self.kernel = kernel
        self.choose = choose
        self.probe = probe
        self.medium = medium
        self.warmed: set[int] = set()  # pages that the TLB knows from before their lock
        self.loaded: set[int] = set()  # pages that the SMMU's TLB knows from before their lock
        self.tamper: Tamper | None = None  # called with the block and the pages of a load, before it is answered
        self.deceive: Deceive | None = None  # called with the true answer to a request for pages
        self.look = nothing  # called when the core was taken from the secure world
        self.package_block = medium.package  # where the secure world's block 0 is taken from
        self.grant_limit: int | None = None  # pages granted at once

    # Instructions

    def load(self, address: int) -> Flow[int | None]:
        """LDR of 8 bytes."""
        return (yield from self._probe("probe_read", address))

    def store(self, address: int, value: int) -> Flow[bool]:
        """STR of 8 bytes: whether it was let through."""
        return (yield from self._probe("probe_write", address, value)) is not None

    def load_register(self, address: int) -> Flow[int | None]:
        """LDR of 4 bytes."""
        return (yield from self._probe("probe_read_word", address))

    def store_register(self, address: int, value: int) -> Flow[bool]:
        """STR of 4 bytes: whether it was let through."""
        return (yield from self._probe("probe_write_word", address, value)) is not None

    def run(self, address: int) -> Flow[int | None]:
        """BLR: x0 of the code at ``address``."""
        return (yield from self._probe("probe_exec", address))

    def load_through(self, root: int, address: int) -> Flow[int | None]:
        """LDR in the upper half, translated by the level 1 table at ``root``."""
        return (yield from self._probe("probe_walk", root, address))

    def ask_through(self, root: int, address: int) -> Flow[int | None]:
        """AT S1E1R in the upper half, translated by the level 1 table at ``root``: PAR_EL1."""
        return (yield from self._probe("probe_walk_at", root, address))

    def call_with_immediate(self, call: Call, *arguments: int) -> Flow[int | None]:
        """SMC #1: x0."""
        return (yield from self._probe("probe_smc_immediate", call.function, *arguments))

    def _probe(self, routine: str, *arguments: int) -> Flow[int | None]:
        arrival, _, _, result, *_ = yield from execute(self.probe[routine], *arguments)
        return result if arrival == Arrival.PROBE.number else None

    def warm(self, base: int, pages: int) -> Flow[None]:
        """Read, write and execute the first pages of a grant while that is allowed: the TLB will hold them."""
        for page in range(base, base + min(pages, WARM_PAGES) * PAGE_SIZE, PAGE_SIZE):
            yield from write(page, returning(WARM_VALUE))
            stored = yield from self.store(page + len(returning(0)) + 4, WARM_VALUE)
            if stored and (yield from self.load(page)) is not None and (yield from self.run(page)) == WARM_VALUE:
                self.warmed.add(page)

    # Interrupts

    def enable_interrupt(self, interrupt: int) -> Flow[None]:
        """Let ``interrupt`` come to the core."""
        yield from access_all(
            (GIC_DISTRIBUTOR.base + GicDistributor.CTLR.offset, ENABLE),
            (GIC_DISTRIBUTOR.base + GicDistributor.ISENABLER.at(interrupt // 32), 1 << interrupt % 32),
            (GIC_CPU.base + GicCpuInterface.CTLR.offset, ENABLE),
        )

    def interrupt_at(self, time: int) -> Flow[None]:
        """Have the core back at ``time``, in ticks since power-on, whoever runs then."""
        yield from self.enable_interrupt(TIMER)
        yield from set_timer(time)

    def interrupt_after(self, ticks: int) -> Flow[None]:
        yield from self.interrupt_at((yield from counter()) + ticks)

    def stop_timer(self) -> Flow[None]:
        """Nothing interrupts any more."""
        yield from set_timer(None)

    def end_interrupt(self) -> Flow[None]:
        """Serve what has taken the core: the timer as a rule. A recall's deadline leaves nothing to be served."""
        (interrupt,) = yield from access_all((GIC_CPU.base + GicCpuInterface.IAR.offset, None))
        yield from self.stop_timer()
        if interrupt < SPECIAL:
            yield from access_all((GIC_CPU.base + GicCpuInterface.EOIR.offset, interrupt))

    # Memory of our own

    def take_page(self) -> int:
        return self.kernel.pages.allocate()

    def free_page(self, page: int) -> None:
        self.kernel.pages.free(page)

    def take_extent(self, order: int) -> int:
        """2^``order`` pages, each to be freed by itself."""
        base = self.kernel.pages.allocate(order)
        self.kernel.pages.split(base)
        return base

    def free_extent(self, base: int, order: int) -> None:
        for page in range(base, base + (PAGE_SIZE << order), PAGE_SIZE):
            self.free_page(page)

    def take_allocated(self, pages: int = 1) -> Flow[int]:
        """Pages of our own that are ALLOCATED, as if for the secure world; a power of two."""
        base = self.take_extent(pages.bit_length() - 1)
        yield from succeed(MEM_ALLOCATE, base, pages)
        return base

    def drop_allocated(self, base: int, pages: int = 1) -> Flow[None]:
        yield from succeed(MEM_RECLAIM, base, pages, 0)
        for page in range(base, base + pages * PAGE_SIZE, PAGE_SIZE):
            self.free_page(page)

    # Recalls

    def recall(self, pages: int) -> Flow[int]:
        """Ask for ``pages`` pages: the deadline."""
        _, deadline, *_ = yield from succeed(MEM_RECALL, pages, MINIMUM_DEADLINE)
        return deadline

    def outlast(self, deadline: int) -> Flow[None]:
        """Compute until ``deadline`` is past, without letting the secure world run."""
        yield from charge(max(1, deadline - (yield from counter())))

    def force(self, page: int, pages: int = 1) -> Flow[Registers]:
        return (yield from invoke(MEM_RECLAIM, page, pages, FORCE))

    def released_run(self) -> Flow[tuple[int, int]]:
        """The longest run of RELEASED pages that one call reclaims: base and pages."""
        best, cursor = (0, 0), 0
        while True:
            base, pages, cursor, *_ = yield from succeed(MEM_NEXT_RELEASED, cursor)
            best = max(best, (base, pages), key=lambda run: run[1])
            if not cursor or best[1] == PAGES_PER_CALL:
                return best

    def let_hear(self) -> Flow[None]:
        """Let the secure world hear of what is new; it does not if it waits interrupted, and was taken nothing."""
        with contextlib.suppress(CallFailed):
            yield from self.kernel.secure.poll()

    def settle(self) -> Flow[None]:
        """Let the secure world pay what it owes and acknowledge what was taken, and take the pages back."""
        yield from self.kernel.secure.poll()
        yield from self.kernel.flexmem.take_back()

    def forget_granted(self, page: int, pages: int = 1) -> Flow[None]:
        """Pages that came back by our own call: they are ordinary memory again."""
        yield from self.kernel.flexmem.declined(page, pages)

    # DMA

    def dma(self, command: Command, block: int, address: int, blocks: int = 1) -> Flow[bool]:
        """Move blocks and wait: whether it ended well."""
        try:
            yield from self.kernel.storage.transfer(command, block, address, blocks)
        except TransferFailed:
            return False
        return True

    def fill_scratch(self) -> Flow[None]:
        """Put a pattern of our own into the scratch blocks, by way of a page of our own: DMA works."""
        page = self.take_page()
        yield from write(page, PATTERN)
        for block in range(SCRATCH_BLOCKS):
            moved = yield from self.dma(Command.WRITE, self.medium.scratch + block, page)
            assert moved, "storage does not take a page that is the normal world's own"
        self.free_page(page)

    def read_back(self, block: int, offset: int) -> Flow[int | None]:
        """8 bytes of a block of the medium, by way of a page of our own."""
        page = self.take_page()
        moved = yield from self.dma(Command.READ, block, page)
        value = (yield from self.load(page + offset)) if moved else None
        self.free_page(page)
        return value

    def transfer_while_calling(
        self, transfer: tuple[Command, int, int, int], turns: int, call: tuple[Call, int, int, int]
    ) -> Flow[None]:
        """Start a transfer (command, block, address, blocks), wait ``turns`` of two instructions, and make a call."""
        command, block, address, blocks = transfer
        row, *arguments = call
        yield from self.kernel.storage.prepare(block, address, blocks)
        control = STORAGE.base + Storage.CONTROL.offset
        registers = (row.function, *arguments, 0, 0, 0, 0, turns, control, command)
        yield from self._probe("probe_call_after", *registers)
        with contextlib.suppress(TransferFailed):
            yield from self.kernel.storage.finish(block)
