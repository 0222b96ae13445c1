"""The walk behind `emulator.debug.walk`: stage 1 and stage 2 through the tables in memory, each step in words (D8).

A second implementation beside native/walk.c, which says why; tests hold the two against each other.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from emulator.debug.bus_filter import judge
from emulator.debug.fields import cut
from emulator.debug.syndrome import FAULTS
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


class Refused(Exception):
    """Translation ends here; the message says why."""


@dataclass
class Walk:
    """One translation in the making: ``level`` of ``world`` attempts ``access``. EL3 counts as secure."""

    machine: Machine
    access: Access
    level: int
    world: World
    steps: list[Step] = field(default_factory=list)

    @property
    def secure(self) -> bool:
        return self.world is World.SECURE

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

    def refuse(self, stage: str, text: str, depth: int = 0, descriptor: int | None = None) -> Refused:
        self.steps.append(Step(stage, text, allowed=False, depth=depth, descriptor=descriptor))
        return Refused(f"{stage}: {text}")

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
                raise self.refuse(
                    "stage 1", f"off, and the address has more than {PHYSICAL_BITS} bits: address size fault, level 0"
                )
            self.say("stage 1", f"off ({off_by}): the address is the output")
            return address, not self.secure
        address, table = self._first_table(address)
        descriptor, level, tables = self._walk("stage 1", address, table, 0)
        non_secure = not self.secure or bool(descriptor >> 5 & 1 or tables >> 63 & 1)
        rights = self._rights(descriptor, tables, non_secure)
        shown = f"level {level} leaf: {stage1_bits(descriptor, tables, two_privileges=self.level < 2)}"
        if self.access not in rights:
            raise self.refuse(
                "stage 1", f"{shown}: no {self.access.value} at EL{self.level}: permission fault, level {level}"
            )
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
            raise self.refuse(
                "stage 2", f"{shown}: Device memory, and HCR_EL2.PTW = 1: permission fault, level {level}", depth
            )
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
                raise self.refuse(stage, f"{why}: {FAULTS[0x14]}, level {level}", depth, at)
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
