"""VMSAv8-64 as the Arm ARM describes it (DDI 0487, chapter D8), slow and obvious: the 4 KiB granule, stage 1 of EL3,
Secure EL1&0, Non-secure EL2 and EL1&0, stage 2 of Non-secure EL1&0, and a TLB that only a TLBI empties.

Written from the architecture and from the promises of emulator/native/tlb.h, with which it shares nothing but those.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PHYSICAL_ADDRESS_BITS = 44  # Cortex-A72, ID_AA64MMFR0_EL1.PARange
ADDRESS_SIZES = (32, 36, 40, 42, 44, 48)
LEVEL_SHIFT = (39, 30, 21, 12)


class Regime(enum.Enum):
    """Translation regimes of an Armv8.0 core without Secure EL2."""

    EL3 = enum.auto()
    EL2 = enum.auto()
    SECURE_EL1 = enum.auto()
    NORMAL_EL1 = enum.auto()


class Access(enum.IntEnum):
    """In the order of the native probe."""

    READ = 0
    WRITE = 1
    FETCH = 2


class Status(enum.IntEnum):
    """Fault status codes, to which the level of the look-up is added."""

    ADDRESS_SIZE = 0x00
    TRANSLATION = 0x04
    ACCESS_FLAG = 0x08
    PERMISSION = 0x0C
    EXTERNAL_ON_WALK = 0x14


class Fault(Exception):
    """The translation ends here; ``ipa`` is meaningful for stage 2."""

    def __init__(self, status: Status, level: int, ipa: int | None = None, on_stage1_walk: bool = False) -> None:
        super().__init__(f"{status.name} level {level}")
        self.status = status | level
        self.ipa = ipa
        self.on_stage1_walk = on_stage1_walk


@dataclass(frozen=True)
class Result:
    """What the native probe answers."""

    allowed: bool
    physical: int = 0
    non_secure: bool = False
    status: int = 0xFF
    stage2: bool = False
    on_stage1_walk: bool = False
    ipa: int = 0


def bits(value: int, msb: int, lsb: int) -> int:
    return value >> lsb & (1 << (msb - lsb + 1)) - 1


def bit(value: int, index: int) -> bool:
    return bool(value >> index & 1)


class BusError(Exception):
    """The fetch of a descriptor is answered with an error."""


# The fetch of a descriptor: address, non-secure; raises BusError.
Fetch = Callable[[int, bool], int]
Right = tuple[int, Access]  # privileged 1 or 0


@dataclass
class Stage2Entry:
    """IPA to PA, of a page or block."""

    vmid: int
    ipa: int
    shift: int
    level: int
    output: int
    rights: frozenset[Access]

    def covers(self, ipa: int) -> bool:
        return ipa >> self.shift == self.ipa >> self.shift

    def translate(self, ipa: int) -> int:
        return self.output | ipa & (1 << self.shift) - 1


@dataclass
class Stage1Entry:
    """VA to IPA (or PA), of a page or block. Children: the pages of it that were translated through stage 2 as well."""

    regime: Regime
    vmid: int
    asid: int | None  # None: global, or a regime without ASIDs
    va: int
    shift: int
    level: int
    output: int
    rights: frozenset[Right]
    non_secure: bool
    children: dict[tuple[int, int], Stage2Entry] = field(default_factory=dict)  # by VA page and current ASID

    def covers(self, va: int) -> bool:
        return va >> self.shift == self.va >> self.shift

    def covers_page(self, page: int) -> bool:
        """A TLBI names VA[55:12]."""
        return page >> (self.shift - 12) == bits(self.va, 55, self.shift)

    def translate(self, va: int) -> int:
        return self.output | va & (1 << self.shift) - 1


@dataclass(frozen=True)
class Table:
    """What one TTBR and its part of TCR say."""

    base: int
    input_bits: int
    walks: bool


@dataclass(frozen=True)
class Leaf:
    """A block or page descriptor, and what the table descriptors above it add."""

    descriptor: int
    level: int
    tables: tuple[int, ...]

    @property
    def shift(self) -> int:
        return LEVEL_SHIFT[self.level]

    @property
    def output(self) -> int:
        return bits(self.descriptor, 47, self.shift) << self.shift

    def inherits(self, index: int) -> bool:
        """Whether a table descriptor on the way has this bit."""
        return any(bit(table, index) for table in self.tables)


# TLBI operations by name: op1, CRm of the inner shareable form, CRm of the local form, op2 (CRn is 8).
TLBI = {
    "VMALLE1": (0, 3, 7, 0),
    "VAE1": (0, 3, 7, 1),
    "ASIDE1": (0, 3, 7, 2),
    "VAAE1": (0, 3, 7, 3),
    "VALE1": (0, 3, 7, 5),
    "VAALE1": (0, 3, 7, 7),
    "IPAS2E1": (4, 0, 4, 1),
    "IPAS2LE1": (4, 0, 4, 5),
    "ALLE2": (4, 3, 7, 0),
    "VAE2": (4, 3, 7, 1),
    "VALE2": (4, 3, 7, 5),
    "ALLE1": (4, 3, 7, 4),
    "VMALLS12E1": (4, 3, 7, 6),
    "ALLE3": (6, 3, 7, 0),
    "VAE3": (6, 3, 7, 1),
    "VALE3": (6, 3, 7, 5),
}
# The same for entries of the last level only: this TLB holds no others.
LAST_LEVEL = {"VALE1": "VAE1", "VAALE1": "VAAE1", "IPAS2LE1": "IPAS2E1", "VALE2": "VAE2", "VALE3": "VAE3"}


class Model:
    """Registers by name, a TLB, and memory behind ``fetch``."""

    def __init__(self, fetch: Fetch) -> None:
        self.registers: dict[str, int] = {}
        self.fetch = fetch
        self.stage1: list[Stage1Entry] = []
        self.stage2: list[Stage2Entry] = []

    def probe(self, va: int, access: Access, level: int) -> Result:
        try:
            physical, non_secure = self.translate(va, access, level)
        except Fault as fault:
            return Result(
                allowed=False,
                status=fault.status,
                stage2=fault.ipa is not None,
                on_stage1_walk=fault.on_stage1_walk,
                ipa=fault.ipa or 0,
            )
        return Result(allowed=True, physical=physical, non_secure=non_secure)

    def translate(self, va: int, access: Access, level: int) -> tuple[int, bool]:
        regime = self.regime(level)
        entry = None
        if not bit(self.registers[f"SCTLR_EL{max(level, 1)}"], 0):
            if va >> PHYSICAL_ADDRESS_BITS:
                raise Fault(Status.ADDRESS_SIZE, 0)
            output, non_secure = va, not self.is_secure(regime)
        else:
            va = self.without_tag(va, regime)
            entry = self.find_stage1(va, regime) or self.walk_stage1(va, regime)
            if (min(level, 1), access) not in entry.rights:
                raise Fault(Status.PERMISSION, entry.level)
            output, non_secure = entry.translate(va), entry.non_secure
        if not self.has_stage2(regime):
            return output, non_secure
        second = self.both_stages(entry, va, output) if entry else self.translate_stage2(output)
        if access not in second.rights:
            raise Fault(Status.PERMISSION, second.level, ipa=output)
        return second.translate(output), non_secure

    # --- registers -----------------------------------------------------------------------------------------------

    @property
    def normal_world(self) -> bool:
        return bit(self.registers["SCR_EL3"], 0)

    def regime(self, level: int) -> Regime:
        if level == 3:
            return Regime.EL3
        if level == 2:
            return Regime.EL2
        return self.el1_regime

    @property
    def el1_regime(self) -> Regime:
        return Regime.NORMAL_EL1 if self.normal_world else Regime.SECURE_EL1

    @staticmethod
    def is_secure(regime: Regime) -> bool:
        return regime in {Regime.EL3, Regime.SECURE_EL1}

    @staticmethod
    def has_el0(regime: Regime) -> bool:
        return regime in {Regime.SECURE_EL1, Regime.NORMAL_EL1}

    def has_stage2(self, regime: Regime) -> bool:
        return regime is Regime.NORMAL_EL1 and bit(self.registers["HCR_EL2"], 0)

    def own(self, name: str, regime: Regime) -> int:
        """The register ``name`` of the regime's own exception level."""
        return self.registers[f"{name}_{'EL3' if regime is Regime.EL3 else 'EL2' if regime is Regime.EL2 else 'EL1'}"]

    def vmid(self, regime: Regime) -> int:
        return bits(self.registers["VTTBR_EL2"], 63, 48) if regime is Regime.NORMAL_EL1 else 0

    def asid(self, regime: Regime) -> int:
        if not self.has_el0(regime):
            return 0
        tcr = self.registers["TCR_EL1"]
        ttbr = self.registers["TTBR1_EL1" if bit(tcr, 22) else "TTBR0_EL1"]
        return bits(ttbr, 63, 48) if bit(tcr, 36) else bits(ttbr, 55, 48)

    def output_bits(self, regime: Regime) -> int:
        tcr = self.own("TCR", regime)
        return self.address_size(bits(tcr, 34, 32) if self.has_el0(regime) else bits(tcr, 18, 16))

    @staticmethod
    def address_size(encoding: int) -> int:
        """Reserved encodings and those beyond what is implemented behave as the implemented size."""
        return min(ADDRESS_SIZES[encoding] if encoding < len(ADDRESS_SIZES) else 48, PHYSICAL_ADDRESS_BITS)

    def without_tag(self, va: int, regime: Regime) -> int:
        """With TBI, bits 63:56 are ignored: they count as copies of bit 55 (as zeros where there is one range)."""
        tcr = self.own("TCR", regime)
        upper = bit(va, 55)
        tagged = bit(tcr, 38 if upper else 37) if self.has_el0(regime) else bit(tcr, 20)
        if not tagged:
            return va
        return bits(va, 55, 0) | (0xFF << 56 if upper else 0)

    def table(self, va: int, regime: Regime) -> Table:
        """The table that translates ``va``; a translation fault at level 0 when it lies in no range."""
        tcr = self.own("TCR", regime)
        upper = self.has_el0(regime) and bit(va, 55)
        if upper:
            table = Table(self.registers["TTBR1_EL1"], input_size(bits(tcr, 21, 16)), not bit(tcr, 23))
        else:
            walks = not (self.has_el0(regime) and bit(tcr, 7))
            table = Table(self.own("TTBR0", regime), input_size(bits(tcr, 5, 0)), walks)
        if va >> table.input_bits != ((1 << 64) - 1 >> table.input_bits if upper else 0):
            raise Fault(Status.TRANSLATION, 0)
        return table

    # --- stage 1 -------------------------------------------------------------------------------------------------

    def find_stage1(self, va: int, regime: Regime) -> Stage1Entry | None:
        """Where forgotten TLBIs leave several, the smallest wins, then the oldest. The range check comes first."""
        self.table(va, regime)
        matching = [
            entry
            for entry in self.stage1
            if entry.regime is regime
            and entry.vmid == self.vmid(regime)
            and entry.asid in {None, self.asid(regime)}
            and entry.covers(va)
        ]
        return min(matching, key=lambda entry: entry.shift, default=None)

    def walk_stage1(self, va: int, regime: Regime) -> Stage1Entry:
        table = self.table(va, regime)
        if not table.walks:
            raise Fault(Status.TRANSLATION, 0)
        output_bits = self.output_bits(regime)
        start = 4 - -(-(table.input_bits - 12) // 9)

        def fetch(address: int, level: int, tables: tuple[int, ...]) -> int:
            non_secure = not self.is_secure(regime) or any(bit(descriptor, 63) for descriptor in tables)
            if self.has_stage2(regime):
                address = self.stage2_on_walk(address)
            return self.read_descriptor(address, level, non_secure)

        leaf = walk(va, table.base, table.input_bits, start, output_bits, fetch)
        if not bit(leaf.descriptor, 10):
            raise Fault(Status.ACCESS_FLAG, leaf.level)
        in_normal_tables = leaf.inherits(63)
        non_secure = not self.is_secure(regime) or bit(leaf.descriptor, 5) or in_normal_tables
        # D8.6.2: what Secure state reads from Non-secure tables is treated as non-global.
        is_global = not bit(leaf.descriptor, 11) and not (self.is_secure(regime) and in_normal_tables)
        entry = Stage1Entry(
            regime,
            self.vmid(regime),
            None if is_global or not self.has_el0(regime) else self.asid(regime),
            va,
            leaf.shift,
            leaf.level,
            leaf.output,
            frozenset(self.stage1_rights(leaf, regime, non_secure)),
            non_secure,
        )
        self.stage1.append(entry)
        return entry

    def stage1_rights(self, leaf: Leaf, regime: Regime, non_secure: bool) -> Iterator[Right]:
        writable = not bit(leaf.descriptor, 7) and not leaf.inherits(62)  # AP[2], APTable[1]
        forbids_writable = bit(self.own("SCTLR", regime), 19)  # WXN
        outside = self.is_secure(regime) and non_secure and bit(self.registers["SCR_EL3"], 9)  # SIF
        uxn = bit(leaf.descriptor, 54) or leaf.inherits(60)  # XN where there is no EL0
        pxn = bit(leaf.descriptor, 53) or leaf.inherits(59)

        yield 1, Access.READ
        if writable:
            yield 1, Access.WRITE
        if not self.has_el0(regime):
            if not uxn and not outside and not (writable and forbids_writable):
                yield 1, Access.FETCH
            return
        el0 = bit(leaf.descriptor, 6) and not leaf.inherits(61)  # AP[1], APTable[0]
        if el0:
            yield 0, Access.READ
        if el0 and writable:
            yield 0, Access.WRITE
        if not pxn and not outside and not (writable and forbids_writable) and not (el0 and writable):
            yield 1, Access.FETCH
        if not uxn and not outside and not (el0 and writable and forbids_writable):
            yield 0, Access.FETCH

    # --- stage 2 -------------------------------------------------------------------------------------------------

    def translate_stage2(self, ipa: int) -> Stage2Entry:
        vmid = self.vmid(Regime.NORMAL_EL1)
        matching = [entry for entry in self.stage2 if entry.vmid == vmid and entry.covers(ipa)]
        found = min(matching, key=lambda entry: entry.shift, default=None)
        return found or self.walk_stage2(ipa, vmid)

    def walk_stage2(self, ipa: int, vmid: int) -> Stage2Entry:
        vtcr = self.registers["VTCR_EL2"]
        input_bits = input_size(bits(vtcr, 5, 0), ipa)
        start = 2 - bits(vtcr, 7, 6)
        # The first look-up resolves between 1 and 13 bits: up to 16 concatenated tables.
        if start < 0 or not 1 <= input_bits - LEVEL_SHIFT[start] <= 13 or ipa >> input_bits:
            raise Fault(Status.TRANSLATION, 0, ipa)
        base = bits(self.registers["VTTBR_EL2"], 47, 0)
        output_bits = self.address_size(bits(vtcr, 18, 16))
        try:
            leaf = walk(
                ipa, base, input_bits, start, output_bits, lambda at, level, _: self.read_descriptor(at, level, True)
            )
        except Fault as fault:
            raise Fault(Status(fault.status & ~3), fault.status & 3, ipa) from None
        if not bit(leaf.descriptor, 10):
            raise Fault(Status.ACCESS_FLAG, leaf.level, ipa)
        rights = {
            Access.READ: bit(leaf.descriptor, 6),
            Access.WRITE: bit(leaf.descriptor, 7),
            Access.FETCH: not bit(leaf.descriptor, 54),
        }
        entry = Stage2Entry(
            vmid, ipa, leaf.shift, leaf.level, leaf.output, frozenset(access for access in rights if rights[access])
        )
        self.stage2.append(entry)
        return entry

    def stage2_on_walk(self, ipa: int) -> int:
        """The fetch of a stage-1 descriptor is a read through stage 2."""
        try:
            second = self.translate_stage2(ipa)
        except Fault as fault:
            raise Fault(Status(fault.status & ~3), fault.status & 3, ipa, on_stage1_walk=True) from None
        if Access.READ not in second.rights:
            raise Fault(Status.PERMISSION, second.level, ipa, on_stage1_walk=True)
        return second.translate(ipa)

    def both_stages(self, entry: Stage1Entry, va: int, ipa: int) -> Stage2Entry:
        """The combined translation of a page is the child of its stage-1 entry: IPAS2E1 does not touch it."""
        page = va >> 12, self.asid(entry.regime)
        if page not in entry.children:
            second = self.translate_stage2(ipa)
            entry.children[page] = Stage2Entry(
                second.vmid, ipa, 12, second.level, second.translate(ipa >> 12 << 12), second.rights
            )
        return entry.children[page]

    def read_descriptor(self, address: int, level: int, non_secure: bool) -> int:
        try:
            return self.fetch(address, non_secure)
        except BusError:
            raise Fault(Status.EXTERNAL_ON_WALK, level) from None

    # --- TLB maintenance -----------------------------------------------------------------------------------------

    def tlbi(self, name: str, operand: int) -> None:
        """D8.16: what an operation covers leaves; nothing else does. EL1 means that of the state SCR_EL3.NS names."""
        operation = LAST_LEVEL.get(name, name)
        regime = {"3": Regime.EL3, "2": Regime.EL2, "1": self.el1_regime}[name[-1]]
        page = bits(operand, 43, 0)
        asid = bits(operand, 63, 48) if bit(self.registers["TCR_EL1"], 36) else bits(operand, 55, 48)
        vmid = self.vmid(regime)

        def at_va(entry: Stage1Entry) -> bool:
            return entry.covers_page(page)

        def of_asid(entry: Stage1Entry) -> bool:
            return entry.asid == asid

        stage1: dict[str, Callable[[Stage1Entry], bool]] = {
            "VMALLE1": lambda _: True,
            "VMALLS12E1": lambda _: True,
            "VAE1": lambda entry: at_va(entry) and (entry.asid is None or of_asid(entry)),
            "VAAE1": at_va,
            "ASIDE1": of_asid,
            "VAE2": at_va,
            "VAE3": at_va,
        }
        if name.startswith("ALLE"):
            self.stage1 = [entry for entry in self.stage1 if entry.regime is not regime]
        elif operation in stage1:
            covered = stage1[operation]
            self.stage1 = [
                entry for entry in self.stage1 if not (entry.regime is regime and entry.vmid == vmid and covered(entry))
            ]
        if not self.normal_world:
            return  # there is no Secure stage 2
        if name == "ALLE1":
            self.stage2 = []
        elif name == "VMALLS12E1":
            self.stage2 = [entry for entry in self.stage2 if entry.vmid != vmid]
        elif operation == "IPAS2E1":
            ipa = bits(operand, 35, 0) << 12
            self.stage2 = [entry for entry in self.stage2 if not (entry.vmid == vmid and entry.covers(ipa))]


def input_size(size: int, ipa: int | None = None) -> int:
    """64 - TnSZ; values that the granule does not support are translation faults (of the choices, QEMU's)."""
    if not 16 <= size <= 39:
        raise Fault(Status.TRANSLATION, 0, ipa)
    return 64 - size


def walk(
    address: int,
    base: int,
    input_bits: int,
    start: int,
    output_bits: int,
    fetch: Callable[[int, int, tuple[int, ...]], int],
) -> Leaf:
    """From the table at ``base`` down to a block or page descriptor (D8.3)."""
    tables: tuple[int, ...] = ()
    first_bits = input_bits - LEVEL_SHIFT[start]
    if bits(base, 47, 12) << 12 >> output_bits:
        raise Fault(Status.ADDRESS_SIZE, 0)
    table = bits(base, 47, 3 + first_bits) << (3 + first_bits)
    index = bits(address, input_bits - 1, LEVEL_SHIFT[start])
    for level in range(start, 4):
        descriptor = fetch(table + index * 8, level, tables)
        kind = bits(descriptor, 1, 0)
        is_block = kind == 0b01 and level in {1, 2}
        is_page = kind == 0b11 and level == 3
        is_table = kind == 0b11 and level < 3
        if not (is_block or is_page or is_table):
            raise Fault(Status.TRANSLATION, level)
        if bits(descriptor, 47, 12) << 12 >> output_bits:
            raise Fault(Status.ADDRESS_SIZE, level)
        if not is_table:
            return Leaf(descriptor, level, tables)
        tables = (*tables, descriptor)
        table = bits(descriptor, 47, 12) << 12
        index = bits(address, LEVEL_SHIFT[level] - 1, LEVEL_SHIFT[level + 1])
    raise AssertionError("level 3 has no tables")
