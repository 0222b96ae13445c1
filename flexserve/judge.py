"""The judge of attacks: plants secrets behind the system's back, and sees in physical memory what became of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from emulator.memory_map import (
    DRAM_BASE,
    DRIVER_BYTES,
    GIC_DISTRIBUTOR,
    PAGE_SIZE,
    SECURE_SRAM,
    SMMU,
    TZASC,
    TZPC,
    DramLayout,
)
from monitor.abi import PageState
from monitor.checker import Broken, Checker
from monitor.invariants import RULES
from monitor.invariants.contexts import secure_world_has_its_own_tables
from monitor.view import Ownership, read_ownership
from nworld.attacks.drivers import BadDriver
from nworld.attacks.hostile import Hostile, returning
from nworld.attacks.scene import TABLE_OFFSET, VALUE_OFFSET, BlockFor, Planted

from .evidence import Evidence
from .judged_kernel import JudgedKernel
from .npu_judge import NpuJudge
from .planted_registers import RegisterPlanter
from .system import MONITOR_LEVEL, System

GIB_SHIFT = 30
BLOCK_DESCRIPTOR = 1 | 1 << 2 | 3 << 8 | 1 << 10  # level 1: normal memory, EL1 read/write, inner shareable, accessed
ENTRY_BYTES = 8
ENTRIES = PAGE_SIZE // ENTRY_BYTES
NONE = len(RULES)  # of their numbers
TABLE_ADDRESS = 0x0000_FFFF_FFFF_F000  # of a table descriptor, and of VTTBR_EL2


class Judge:
    """The `nworld.attacks.scene.Scene` of ``system``, for ``hostile``; ``tokens`` are what a phone in peace gives."""

    def __init__(
        self,
        system: System,
        hostile: Hostile,
        planter: RegisterPlanter,
        checker: Checker,
        tokens: Callable[[], tuple[int, ...]],
        *,
        lifted: bool = False,
    ) -> None:
        self.evidence = Evidence(system.machine.events)
        self._npu = NpuJudge(system, self.evidence)
        self._tokens = tokens
        self._lifted = lifted
        self._system = system
        self._hostile = hostile
        self._planter = planter
        self._checker = checker
        self._before: dict[int, bytes] = {}  # pages to be put right at the end of the attack
        self._handed_out: dict[int, bytes] = {}  # what targets held
        self._spare: int | None = None
        self._broken = NONE
        self._excused: set[str] = set()  # names of rules that the judge itself breaks
        self._ownership: Ownership
        self.arm()

    def begin(self) -> None:
        """An attack is about to be tried."""
        self._checker.forget()
        self._broken = NONE
        self._excused.clear()
        self.look()
        self.arm()

    def look(self) -> None:
        """Ask for the rules that look back: to be called wherever the core stops while an attack is tried."""
        if self._system.machine.core.level < MONITOR_LEVEL:
            self._broken = self._system.machine.ask(lambda: self._first_broken(self._checker.moved()))

    def broken_rule(self) -> str | None:
        """The name of a rule of monitor/invariants that does not hold, or has not held since the attack began."""
        number = self._system.machine.ask(lambda: self._first_broken(self._checker.broken()))
        return None if number == NONE else RULES[number].name

    def _first_broken(self, found: Iterable[Broken]) -> int:
        """What was broken before, or the first rule of ``found``."""
        names = {one.rule for one in found} - self._excused
        if self._broken != NONE:
            return self._broken
        return next((number for number, rule in enumerate(RULES) if rule.name in names), NONE)

    def end(self) -> None:
        """The attack is over: everything holds again what it held before."""
        for address, content in self._before.items():
            self._system.machine.write_physical(address, content)
        self._before.clear()
        self._handed_out.clear()
        if self._spare is not None:
            self._hostile.free_page(self._spare)
            self._spare = None

    @property
    def lifted(self) -> bool:
        return self._lifted

    @property
    def layout(self) -> DramLayout:
        return self._system.machine.layout

    @property
    def npu(self) -> NpuJudge:
        return self._npu

    def locked(self, among: Iterable[int] | None = None) -> Planted:
        pages = self._locked_pages()
        if among is not None:
            pages = sorted(set(pages) & set(among))
        assert pages, "the attack wants a locked page, and there is none"
        return self._target(pages[len(pages) // 2])

    def pool_pages(self, pages: int = 1) -> int:
        locked = set(self._locked_pages())
        for base in sorted(locked, reverse=True):
            if all(base + index * PAGE_SIZE in locked for index in range(pages)):
                return base
        raise AssertionError(f"the pool has no {pages} adjacent locked pages")

    def secure_dram(self) -> Planted:
        return self._target(self.layout.secure_end - PAGE_SIZE)

    def carve_out(self) -> Planted:
        return self._target(self.layout.secure_base - PAGE_SIZE)

    def secure_sram(self) -> Planted:
        return self._target(SECURE_SRAM.end - PAGE_SIZE)

    def driver_memory(self) -> Planted:
        return self._target(self.layout.driver_base + DRIVER_BYTES - PAGE_SIZE)

    def staged(self, name: str) -> Planted:
        return self._target(self._npu.page_of(name))

    def staged_address(self, name: str) -> int:
        page = self._npu.page_of(name)
        return self._target(page).address if self.lifted else self._npu.iova(page)

    def register(self, base: int, offset: int) -> int:
        return self._watched(base + offset)

    def live_register(self, base: int, offset: int) -> int:
        return self._remembered(base + offset)

    def stream_entry(self) -> int:
        return self._watched(self._npu.stream_entry())

    def npu_entry(self) -> int:
        return self._watched(self._npu.table_entry(self._npu.page_of("npu features")))

    def stage2_entry(self, page: int) -> int:
        table = self._system.machine.core.read_sysreg("VTTBR_EL2")
        for shift in (30, 21):
            entry = self._read((table & TABLE_ADDRESS) + (page >> shift) % ENTRIES * ENTRY_BYTES, ENTRY_BYTES)
            table = int.from_bytes(entry, "little")
        return self._watched((table & TABLE_ADDRESS) + page // PAGE_SIZE % ENTRIES * ENTRY_BYTES)

    def plant(self, address: int, state: PageState) -> Planted:
        assert self.state(address) is state, f"page {address:#x} is {self.state(address).name}, not {state.name}"
        planted, content = planted_page(address)
        self._system.machine.write_physical(address, content)
        self.arm()
        return planted

    def reached_while_locked(self, page: int) -> bool:
        timing = self.evidence.dma_at(page)
        assert timing.locked, f"page {page:#x} was not locked in the meantime"
        if timing.during_lock and not timing.after_lock:
            self.credit("CMD_SYNC: LOCK returned when the burst in flight had been performed")
        return timing.after_lock

    def altered(self, address: int) -> bool:
        before = self._handed_out[address]
        return self._read(address, len(before)) != before

    def value(self, address: int) -> int:
        return int.from_bytes(self._read(address, ENTRY_BYTES), "little")

    def interrupted(self) -> bool:
        return self.evidence.interrupt_taken()

    def state(self, page: int) -> PageState:
        return self._read_ownership().state(page)

    def is_revoked(self, page: int) -> bool:
        return self._read_ownership().is_revoked(page)

    def believes_in(self, page: int) -> bool:
        state = self._system.secure.pool.state
        behind = (frames for one in state.regions for frames in (one.frames, one.leaving))
        granted = (one.ours() for one in state.grants)
        return page in state.free.union(*behind, *granted) and self.state(page) is not PageState.LOCKED

    def is_backed(self, region: str) -> bool:
        return any(one.name == region and one.frames for one in self._system.secure.pool.state.regions)

    def page_of(self, region: str) -> int:
        return self._npu.page_of(region)

    def table_changed(self) -> bool:
        return bool((self._read_ownership().entries != self._ownership.entries).any())

    def plant_secure_registers(self, block_for: BlockFor) -> None:
        self._excused.add(secure_world_has_its_own_tables.__name__)
        self._planter.plant(block_for)

    def secure_registers_were_planted(self) -> bool:
        return self._planter.has_planted

    def served_right(self) -> bool:
        served = self._system.normal.client.generation.tokens
        return tuple(served) == self._tokens()[: len(served)]

    def driver_got_through(self) -> bool:
        driver = self._system.driver
        return isinstance(driver, BadDriver) and driver.got_through

    def credit_checks(self) -> None:
        kernel = self._system.secure
        if isinstance(kernel, JudgedKernel) and kernel.verdict is not None:
            self.credit(f"check of the sums: {kernel.verdict.name}")

    def arm(self) -> None:
        self.evidence.clear()
        self._ownership = self._read_ownership()

    def credit(self, what: str) -> None:
        self.evidence.credit(what)

    def _target(self, address: int) -> Planted:
        """Plant ``address`` for the time of the attack; a page of the attacker's own if the scene is lifted."""
        address = self._own_page() if self.lifted else address
        planted, content = planted_page(address)
        self._before.setdefault(address, self._read(address, PAGE_SIZE))
        self._system.machine.write_physical(address, content)
        self._handed_out[address] = content
        self.arm()
        return planted

    def _watched(self, address: int) -> int:
        return self._target(address).address if self.lifted else self._remembered(address)

    def _remembered(self, address: int) -> int:
        self._handed_out[address] = self._read(address, ENTRY_BYTES)
        self.arm()
        return address

    def _own_page(self) -> int:
        if self._spare is None:
            self._spare = self._hostile.take_page()
        assert self.state(self._spare) is PageState.NORMAL
        return self._spare

    def _read(self, address: int, size: int) -> bytes:
        """Memory, or a device's register without its side effects."""
        for window in (TZASC, TZPC, SMMU, GIC_DISTRIBUTOR):
            if address in window:
                return self._system.machine.read_register(window, address - window.base).to_bytes(ENTRY_BYTES, "little")
        return self._system.machine.read_physical(address, size)

    def _locked_pages(self) -> list[int]:
        return [int(page) for page in self._read_ownership().pages_in(PageState.LOCKED)]

    def _read_ownership(self) -> Ownership:
        return read_ownership(self._system.machine, self.layout)


def planted_page(address: int) -> tuple[Planted, bytes]:
    """What a planted page at ``address`` holds: bytes that occur nowhere else."""
    seed = hashlib.sha256(f"planted at {address:#x}".encode()).digest()
    secret = int.from_bytes(seed[:8], "little")
    block = (seed[8] % 62 + 2) << GIB_SHIFT  # within 36 bits, and neither devices nor the first GiB of DRAM
    content = bytearray((seed * (PAGE_SIZE // len(seed)))[:PAGE_SIZE])
    code = returning(secret)
    content[: len(code)] = code
    content[VALUE_OFFSET : VALUE_OFFSET + ENTRY_BYTES] = secret.to_bytes(ENTRY_BYTES, "little")
    entries = b"".join((base | BLOCK_DESCRIPTOR).to_bytes(ENTRY_BYTES, "little") for base in (block, DRAM_BASE))
    content[TABLE_OFFSET : TABLE_OFFSET + len(entries)] = entries
    return Planted(address, secret, block), bytes(content)
