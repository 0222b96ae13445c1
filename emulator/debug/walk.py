"""A translation explained: stage 1, stage 2 and the filters step by step, from what is in registers and memory now.

A second implementation beside native/walk.c, which says why; tests hold the two against each other. It changes nothing,
and knows nothing of the TLB: what the core may still do by an old entry is not what it says.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from emulator.debug.bus_filter import judge
from emulator.debug.fields import cut
from emulator.machine import Machine
from emulator.memory_map import PAGE_SIZE
from emulator.world import World

PHYSICAL_BITS = 44  # Cortex-A72
_SIZES = (32, 36, 40, 42, 44, 44, 44, 44)
_ADDRESS = 0x0000_FFFF_FFFF_F000


class Access(enum.Enum):
    """What is attempted."""

    READ = "read"
    WRITE = "write"
    FETCH = "fetch"


@dataclass(frozen=True)
class Step:
    """One thing that was looked up: by whom (``stage 1``, ``stage 2``, ``TZASC``...), and what it said.

    ``depth`` is 1 for the stage-2 walk that a stage-1 table's own address needs.
    """

    stage: str
    text: str
    allowed: bool = True
    depth: int = 0


@dataclass(frozen=True)
class Explanation:
    """``physical`` is None where translation ended before there was one; ``verdict`` is one line."""

    address: int
    access: Access
    level: int
    world: World
    steps: tuple[Step, ...]
    allowed: bool
    physical: int | None
    verdict: str


class _Refused(Exception):
    """Translation ends here."""


@dataclass(frozen=True)
class _Table:
    base: int
    input_bits: int
    start: int
    output_bits: int


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

    def register(self, name: str) -> int:
        return self.machine.core.read_sysreg(name)

    def own(self, name: str) -> int:
        """The register of the regime's own level."""
        return self.register(f"{name}_EL{max(self.level, 1)}")

    def say(self, stage: str, text: str, depth: int = 0) -> None:
        self.steps.append(Step(stage, text, depth=depth))

    def refuse(self, stage: str, text: str, depth: int = 0) -> _Refused:
        self.steps.append(Step(stage, text, allowed=False, depth=depth))
        return _Refused(f"{stage}: {text}")

    def run(self, address: int) -> tuple[int, bool]:
        """The physical address and whether the access is non-secure."""
        output, non_secure = self._first_stage(address)
        if self.level < 2 and not self.secure and self.register("HCR_EL2") & 1:
            output = self._second_stage(output, self.access, 0)
        return output, non_secure

    # --- stage 1 ---------------------------------------------------------------------------------------------------

    def _first_stage(self, address: int) -> tuple[int, bool]:
        core = self.machine.core
        if self.level < 2 and self.world is not core.world:
            self.say("stage 1", "the other world's registers are in the monitor's context: address taken as its output")
            return address, not self.secure
        if not self.own("SCTLR") & 1:
            if address >> PHYSICAL_BITS:
                raise self.refuse("stage 1", f"off, and the address has more than {PHYSICAL_BITS} bits: address size")
            self.say("stage 1", f"off (SCTLR_EL{max(self.level, 1)}.M = 0): the address is the output")
            return address, not self.secure
        address, table = self._first_table(address)
        descriptor, level, tables = self._walk("stage 1", address, table, 0)
        non_secure = not self.secure or bool(descriptor >> 5 & 1 or tables >> 63 & 1)
        rights = self._rights(descriptor, tables, non_secure)
        shown = f"level {level} leaf: {_stage1_bits(descriptor, tables, two=self.level < 2)}"
        if self.access not in rights:
            raise self.refuse("stage 1", f"{shown}: no {self.access.value} at EL{self.level}: permission fault")
        self.say("stage 1", f"{shown}: {self.access.value} at EL{self.level} allowed")
        return _output(descriptor, level, address), non_secure

    def _first_table(self, address: int) -> tuple[int, _Table]:
        tcr, two = self.own("TCR"), self.level < 2
        upper = two and bool(address >> 55 & 1)
        if tcr >> (38 if upper else 37 if two else 20) & 1:  # TBI
            address = cut(address, 55, 0) | (0xFF << 56 if upper else 0)
        name = "TTBR1_EL1" if upper else f"TTBR0_EL{max(self.level, 1)}"
        bits = _input_bits(cut(tcr, 21, 16) if upper else cut(tcr, 5, 0))
        if address >> bits != ((1 << 64 - bits) - 1 if upper else 0):
            raise self.refuse("stage 1", f"outside the {bits}-bit range of {name}: translation fault, level 0")
        if two and tcr >> (23 if upper else 7) & 1:
            raise self.refuse("stage 1", f"EPD{int(upper)}: walks with {name} are off: translation fault, level 0")
        base = self.register(name)
        self.say("stage 1", f"{name} = {base:#x}, {bits}-bit addresses")
        output_bits = _SIZES[cut(tcr, 34, 32) if two else cut(tcr, 18, 16)]
        return address, _Table(cut(base, 47, 0), bits, 4 - -(-(bits - 12) // 9), output_bits)

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
        bits, start = _input_bits(cut(vtcr, 5, 0)), 2 - cut(vtcr, 7, 6)
        if start < 0 or not 1 <= bits - _shift(start) <= 13 or ipa >> bits:
            raise self.refuse("stage 2", f"IPA {ipa:#x} is outside its {bits} bits: translation fault, level 0", depth)
        if depth == 0:
            self.say("stage 2", f"VTTBR_EL2 = {vttbr:#x}, IPA {ipa:#x}")
        table = _Table(cut(vttbr, 47, 0), bits, start, _SIZES[cut(vtcr, 18, 16)])
        descriptor, level, _ = self._walk("stage 2", ipa, table, depth)
        rights = {Access.READ: descriptor >> 6 & 1, Access.WRITE: descriptor >> 7 & 1}
        rights[Access.FETCH] = 1 - (descriptor >> 54 & 1)
        shown = f"level {level} leaf: S2AP {'r' * rights[Access.READ]}{'w' * rights[Access.WRITE]}"
        shown += "" if rights[Access.FETCH] else ", XN"
        if not rights[access]:
            raise self.refuse("stage 2", f"{shown}: no {access.value}: permission fault, level {level}", depth)
        self.say("stage 2", f"{shown}: {access.value} allowed", depth)
        return _output(descriptor, level, ipa)

    # --- both ------------------------------------------------------------------------------------------------------

    def _walk(self, stage: str, address: int, table: _Table, depth: int) -> tuple[int, int, int]:
        """Leaf descriptor, its level, and the bits of the tables above it."""
        base, tables, stage1 = table.base, 0, stage == "stage 1"
        if base & _ADDRESS & ~((1 << table.output_bits) - 1):
            raise self.refuse(stage, f"the table's address {base:#x} is too wide: address size fault, level 0", depth)
        for level in range(table.start, 4):
            shift = _shift(level)
            bits = table.input_bits - shift if level == table.start else 9
            at = (base & _ADDRESS | base & 0xFFF) & ~((8 << bits) - 1) | (address >> shift & (1 << bits) - 1) << 3
            if stage1 and self.level < 2 and not self.secure and self.register("HCR_EL2") & 1:
                at = self._second_stage(at, Access.READ, 1)
            walker_secure = stage1 and self.secure and not tables >> 63 & 1
            verdict = judge(self.machine, at, secure=walker_secure, write=False)
            if not verdict.allowed and "bus error" in verdict.why:
                raise self.refuse(stage, f"level {level} descriptor at {at:#x}: {verdict.filter}: {verdict.why}", depth)
            descriptor = self._fetch(at) if verdict.allowed else 0
            shown = f"level {level} descriptor at {at:#x} = {descriptor:#x}"
            if not descriptor & 1 or (not descriptor & 2 and level in {0, 3}):
                raise self.refuse(stage, f"{shown}: invalid: translation fault, level {level}", depth)
            if descriptor & _ADDRESS & ~((1 << table.output_bits) - 1):
                raise self.refuse(stage, f"{shown}: address size fault, level {level}", depth)
            if level == 3 or not descriptor & 2:
                if not descriptor >> 10 & 1:
                    raise self.refuse(stage, f"{shown}: AF = 0: access flag fault, level {level}", depth)
                self.say(
                    stage, f"{shown}: {'page' if level == 3 else 'block'} {_output(descriptor, level, 0):#x}", depth
                )
                return descriptor, level, tables
            self.say(stage, f"{shown}: table", depth)
            tables, base = tables | descriptor, descriptor & _ADDRESS
        raise AssertionError("level 3 has no tables")

    def _fetch(self, address: int) -> int:
        try:
            return int.from_bytes(self.machine.read_physical(address, 8), "little")
        except ValueError:  # a device: not memory that a walk reads
            return 0


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
        side = "non-secure" if non_secure else "secure"
        if verdict.allowed:
            text = f"allowed: {side} {access.value} of physical {physical:#x}"
        else:
            text = f"refused by the {verdict.filter}: {side} {access.value} of physical {physical:#x}: {verdict.why}"
        return Explanation(address, access, level, world, tuple(walk.steps), verdict.allowed, physical, text)
    except _Refused as refused:
        return Explanation(
            address, access, level, world, tuple(walk.steps), False, physical, f"refused by {refused.args[0]}"
        )


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


def _shift(level: int) -> int:
    return 12 + 9 * (3 - level)


def _input_bits(size: int) -> int:
    return 64 - min(max(size, 16), 39)  # out of range: clamped, as Cortex-A72 does


def _output(descriptor: int, level: int, address: int) -> int:
    inside = (1 << _shift(level)) - 1
    return descriptor & _ADDRESS & ~inside | address & inside


def _stage1_bits(descriptor: int, tables: int, *, two: bool) -> str:
    words = ["read-only" if descriptor >> 7 & 1 else "read/write"]
    if two:
        words.append("EL0 too" if descriptor >> 6 & 1 else "EL1 only")
        words += [name for name, bit in (("PXN", 53), ("UXN", 54)) if descriptor >> bit & 1]
    elif descriptor >> 54 & 1:
        words.append("XN")
    words.append(f"NS={descriptor >> 5 & 1}")
    above = [name for name, bit in _TABLE_BITS if tables >> bit & 1]
    return ", ".join(words) + (f" (tables above: {' '.join(above)})" if above else "")


_TABLE_BITS = (("NSTable", 63), ("read-only", 62), ("no EL0", 61), ("UXNTable", 60), ("PXNTable", 59))
