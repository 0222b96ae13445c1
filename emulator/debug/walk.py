"""A translation explained: stage 1, stage 2 and the filters step by step, from what is in registers and memory now.

A second implementation beside native/walk.c, which says why; tests hold the two against each other. It reads the tables
as they are now, and says so where the TLB still holds something else. It changes nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from emulator.debug.bus_filter import judge
from emulator.debug.fields import cut
from emulator.debug.tables import (
    ADDRESS,
    OUTPUT_BITS,
    SMALL,
    Table,
    first_level,
    granule_of,
    is_leaf,
    size_in_range,
    stage1_bits,
)
from emulator.machine import Machine
from emulator.memory_map import PAGE_SIZE
from emulator.native import ffi, lib
from emulator.world import World

PHYSICAL_BITS = 44  # Cortex-A72
_TG0_64K, _TG1_64K = 1, 3
_VM, _PTW, _DC, _TGE = 1 << 0, 1 << 2, 1 << 12, 1 << 27  # HCR_EL2


class Access(enum.Enum):
    """What is attempted; in the order of the bits of struct cached."""

    READ = "read"
    WRITE = "write"
    FETCH = "fetch"


@dataclass(frozen=True)
class Step:
    """One thing that was looked up: by whom (``stage 1``, ``stage 2``, ``TZASC``...), and what it said.

    ``depth`` is 1 for the stage-2 walk that a stage-1 table's own address needs; ``descriptor``: where the one that was
    fetched lies.
    """

    stage: str
    text: str
    allowed: bool = True
    depth: int = 0
    descriptor: int | None = None


@dataclass(frozen=True)
class Explanation:
    """``physical`` is None where translation ended before there was one; ``verdict`` is one line.

    ``stale``: the TLB holds something else than the tables say, and the core goes by that until a TLBI.
    """

    address: int
    access: Access
    level: int
    world: World
    steps: tuple[Step, ...]
    allowed: bool
    physical: int | None
    verdict: str
    stale: bool = False


class _Refused(Exception):
    """Translation ends here."""


@dataclass
class _Walk:
    """One explanation in the making."""

    machine: Machine
    access: Access
    level: int
    world: World
    steps: list[Step] = field(default_factory=list)

    @property
    def secure(self) -> bool:
        return self.level == 3 or self.world is World.SECURE

    @property
    def hcr(self) -> int:
        """HCR_EL2, where it counts: at Non-secure EL1 and EL0."""
        return self.register("HCR_EL2") if self.level < 2 and not self.secure else 0

    @property
    def has_stage2(self) -> bool:
        return bool(self.hcr & (_VM | _DC))

    def register(self, name: str) -> int:
        return self.machine.core.read_sysreg(name)

    def own(self, name: str) -> int:
        """The register of the regime's own level."""
        return self.register(f"{name}_EL{max(self.level, 1)}")

    def say(self, stage: str, text: str, depth: int = 0, descriptor: int | None = None) -> None:
        self.steps.append(Step(stage, text, depth=depth, descriptor=descriptor))

    def refuse(self, stage: str, text: str, depth: int = 0, descriptor: int | None = None) -> _Refused:
        self.steps.append(Step(stage, text, allowed=False, depth=depth, descriptor=descriptor))
        return _Refused(f"{stage}: {text}")

    def run(self, address: int) -> tuple[int, bool]:
        """The physical address and whether the access is non-secure."""
        output, non_secure = self._first_stage(address)
        if self.has_stage2:
            output = self._second_stage(output, self.access, 0)
        return output, non_secure

    # --- stage 1 ---------------------------------------------------------------------------------------------------

    def _first_stage(self, address: int) -> tuple[int, bool]:
        core = self.machine.core
        if self.level < 2 and self.world is not core.world:
            self.say("stage 1", "the other world's registers are in the monitor's context: address taken as its output")
            return address, not self.secure
        off_by = "HCR_EL2.DC or TGE = 1" if self.hcr & (_DC | _TGE) else f"SCTLR_EL{max(self.level, 1)}.M = 0"
        if self.hcr & (_DC | _TGE) or not self.own("SCTLR") & 1:
            if address >> PHYSICAL_BITS:
                raise self.refuse("stage 1", f"off, and the address has more than {PHYSICAL_BITS} bits: address size")
            self.say("stage 1", f"off ({off_by}): the address is the output")
            return address, not self.secure
        address, table = self._first_table(address)
        descriptor, level, tables = self._walk("stage 1", address, table, 0)
        non_secure = not self.secure or bool(descriptor >> 5 & 1 or tables >> 63 & 1)
        rights = self._rights(descriptor, tables, non_secure)
        shown = f"level {level} leaf: {stage1_bits(descriptor, tables, two_privileges=self.level < 2)}"
        if self.access not in rights:
            raise self.refuse("stage 1", f"{shown}: no {self.access.value} at EL{self.level}: permission fault")
        self.say("stage 1", f"{shown}: {self.access.value} at EL{self.level} allowed")
        return table.output(descriptor, level, address), non_secure

    def _first_table(self, address: int) -> tuple[int, Table]:
        tcr, two = self.own("TCR"), self.level < 2
        upper = two and bool(address >> 55 & 1)
        if tcr >> (38 if upper else 37 if two else 20) & 1:  # TBI
            address = cut(address, 55, 0) | (0xFF << 56 if upper else 0)
        name = "TTBR1_EL1" if upper else f"TTBR0_EL{max(self.level, 1)}"
        size = cut(tcr, 21, 16) if upper else cut(tcr, 5, 0)
        if not size_in_range(size):
            raise self.refuse("stage 1", f"T{int(upper)}SZ = {size} is out of range: translation fault, level 0")
        bits = 64 - size
        if address >> bits != ((1 << 64 - bits) - 1 if upper else 0):
            raise self.refuse("stage 1", f"outside the {bits}-bit range of {name}: translation fault, level 0")
        if two and tcr >> (23 if upper else 7) & 1:
            raise self.refuse("stage 1", f"EPD{int(upper)}: walks with {name} are off: translation fault, level 0")
        base = self.register(name)
        self.say("stage 1", f"{name} = {base:#x}, {bits}-bit addresses")
        granule = granule_of(cut(tcr, 31, 30), _TG1_64K) if upper else granule_of(cut(tcr, 15, 14), _TG0_64K)
        output_bits = OUTPUT_BITS[cut(tcr, 34, 32) if two else cut(tcr, 18, 16)]
        return address, Table(cut(base, 47, 0), granule, bits, first_level(granule, bits), output_bits)

    def _rights(self, descriptor: int, tables: int, non_secure: bool) -> set[Access]:
        """D8.4: AP, APTable, XN, WXN and SIF, for the level that asks."""
        writable = not (descriptor >> 7 & 1 or tables >> 62 & 1)
        el0 = self.level < 2 and bool(descriptor >> 6 & 1) and not tables >> 61 & 1
        wxn = bool(self.own("SCTLR") >> 19 & 1)
        outside = self.secure and non_secure and bool(self.register("SCR_EL3") >> 9 & 1)
        uxn, pxn = (bool((descriptor >> leaf | tables >> table) & 1) for leaf, table in ((54, 60), (53, 59)))
        if self.level == 0:
            readable, may_write = el0, el0 and writable
            never = uxn or (may_write and wxn)
        else:
            readable, may_write = True, writable
            never = ((pxn or (el0 and writable)) if self.level == 1 else uxn) or (writable and wxn)
        rights = {Access.READ} if readable else set()
        rights |= {Access.WRITE} if may_write else set()
        return rights | (set() if never or outside else {Access.FETCH})

    # --- stage 2 ---------------------------------------------------------------------------------------------------

    def _second_stage(self, ipa: int, access: Access, depth: int) -> int:
        vtcr, vttbr = self.register("VTCR_EL2"), self.register("VTTBR_EL2")
        size, granule = cut(vtcr, 5, 0), granule_of(cut(vtcr, 15, 14), _TG0_64K)
        bits = 64 - size if size_in_range(size) else 0
        start = (2 if granule == SMALL else 3) - cut(vtcr, 7, 6)
        table = Table(cut(vttbr, 47, 0), granule, bits, start, OUTPUT_BITS[cut(vtcr, 18, 16)])
        if start < 0 or not 1 <= bits - table.shift(start) <= granule + 1 or ipa >> bits:
            raise self.refuse("stage 2", f"IPA {ipa:#x} is outside its {bits} bits: translation fault, level 0", depth)
        if depth == 0:
            self.say("stage 2", f"VTTBR_EL2 = {vttbr:#x}, IPA {ipa:#x}")
        descriptor, level, _ = self._walk("stage 2", ipa, table, depth)
        rights = {Access.READ: descriptor >> 6 & 1, Access.WRITE: descriptor >> 7 & 1}
        rights[Access.FETCH] = 1 - (descriptor >> 54 & 1)
        shown = f"level {level} leaf: S2AP {'r' * rights[Access.READ]}{'w' * rights[Access.WRITE]}"
        shown += "" if rights[Access.FETCH] else ", XN"
        if depth and self.hcr & _PTW and not descriptor & 0x30:
            raise self.refuse("stage 2", f"{shown}: Device memory, and HCR_EL2.PTW = 1: permission fault", depth)
        if not rights[access]:
            raise self.refuse("stage 2", f"{shown}: no {access.value}: permission fault, level {level}", depth)
        self.say("stage 2", f"{shown}: {access.value} allowed", depth)
        return table.output(descriptor, level, ipa)

    # --- both ------------------------------------------------------------------------------------------------------

    def _walk(self, stage: str, address: int, table: Table, depth: int) -> tuple[int, int, int]:
        """Leaf descriptor, its level, and the bits of the tables above it."""
        base, tables, stage1 = table.base, 0, stage == "stage 1"
        if table.is_too_wide(base):
            raise self.refuse(stage, f"the table's address {base:#x} is too wide: address size fault, level 0", depth)
        for level in range(table.start, 4):
            at = table.entry(base, level, address)
            if stage1 and self.has_stage2:
                at = self._second_stage(at, Access.READ, 1)
            walker_secure = stage1 and self.secure and not tables >> 63 & 1
            verdict = judge(self.machine, at, secure=walker_secure, write=False)
            descriptor = self._fetch(at) if verdict.allowed else 0
            if descriptor is None or (not verdict.allowed and verdict.is_error):
                why = f"level {level} descriptor at {at:#x}: {verdict.filter}: {verdict.why}"
                raise self.refuse(stage, f"{why}: external abort on the walk", depth, at)
            shown = f"level {level} descriptor at {at:#x} = {descriptor:#x}"
            if fault := table.fault(descriptor, level):
                raise self.refuse(stage, f"{shown}: {fault}, level {level}", depth, at)
            if is_leaf(descriptor, level):
                kind = "page" if level == 3 else "block"
                self.say(stage, f"{shown}: {kind} {table.output(descriptor, level, 0):#x}", depth, at)
                return descriptor, level, tables
            self.say(stage, f"{shown}: table", depth, at)
            tables, base = tables | descriptor, descriptor & ADDRESS
        raise AssertionError("level 3 has no tables")

    def _fetch(self, address: int) -> int | None:
        """None: not memory; no walk reads a device."""
        try:
            return int.from_bytes(self.machine.read_physical(address, 8), "little")
        except ValueError:
            return None


def explain(machine: Machine, address: int, access: Access, level: int, world: World) -> Explanation:
    """Why an access at virtual ``address`` by exception level ``level`` (0 to 3) of ``world`` is allowed or refused.

    Of the world that does not run, stage 1 is not known: ``address`` is taken as what it would give.
    """
    walk = _Walk(machine, access, level, World.SECURE if level == 3 else world)
    physical: int | None = None
    try:
        physical, non_secure = walk.run(address)
        verdict = judge(machine, physical, secure=not non_secure, write=access is Access.WRITE)
        walk.steps.append(Step(verdict.filter, verdict.why, verdict.allowed))
        allowed, side = verdict.allowed, "non-secure" if non_secure else "secure"
        text = f"allowed: {side} {access.value} of physical {physical:#x}"
        if not allowed:
            text = f"refused by the {verdict.filter}: {side} {access.value} of physical {physical:#x}: {verdict.why}"
    except _Refused as refused:
        allowed, text = False, f"refused by {refused.args[0]}"
    stale = _stale_entry(walk, address, physical)
    if stale:
        walk.steps.append(stale)
        text += "; but the TLB has an older entry"
    return Explanation(address, access, level, world, tuple(walk.steps), allowed, physical, text, stale is not None)


def _stale_entry(walk: _Walk, address: int, physical: int | None) -> Step | None:
    """What the TLB holds for the address, where the tables no longer say so. Of the context that runs, or of EL3."""
    if walk.level < 3 and walk.world is not walk.machine.core.world:
        return None
    cached = ffi.new("struct cached *")
    lib.translate_cached(walk.machine.native, address, walk.level, cached)
    allowed = bool(cached.rights >> list(Access).index(walk.access) & 1)
    if not cached.complete or (allowed and cached.physical == physical) or (not allowed and physical is None):
        return None
    rights = ", ".join(one.value for bit, one in enumerate(Access) if cached.rights >> bit & 1) or "nothing"
    return Step("TLB", f"an older entry counts until a TLBI: physical {cached.physical:#x}, allows {rights}", allowed)


def to_physical(machine: Machine, address: int) -> int:
    """Where a virtual address of the current context leads. Raises ValueError saying why it leads nowhere."""
    core = machine.core
    walk = _Walk(machine, Access.READ, core.level, World.SECURE if core.level == 3 else core.world)
    try:
        return walk.run(address)[0]
    except _Refused as refused:
        raise ValueError(f"{address:#x} is not mapped here: {refused.args[0]}") from None


def read_virtual(machine: Machine, address: int, size: int) -> bytes:
    """Memory as the current context addresses it, past the filters. Raises ValueError."""
    found = b""
    while size:
        part = min(size, PAGE_SIZE - address % PAGE_SIZE)
        found += machine.read_physical(to_physical(machine, address), part)
        address, size = address + part, size - part
    return found
