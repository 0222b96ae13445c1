"""Translation and the architectural TLB against the model in translation_model.py."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from emulator.native import ffi, lib
from tests.emulator.bare import bare_machine, set_region, write_register
from tests.emulator.translation_model import TLBI, Access, BusError, Model, Result

TABLE_PAGES = 16
TABLES = [DRAM_BASE + page * PAGE_SIZE for page in range(TABLE_PAGES)]
SLOTS = (0, 1, 2, 3, 508, 509, 510, 511)
EDITED_SLOTS = (*(SLOTS * 4), *range(4, TABLE_PAGES))

REGISTERS = (
    *("SCR_EL3", "SCTLR_EL3", "TCR_EL3", "TTBR0_EL3"),
    *("SCTLR_EL2", "TCR_EL2", "TTBR0_EL2", "HCR_EL2", "VTCR_EL2", "VTTBR_EL2"),
    *("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1"),
)
HCR_RW, HCR_VM = 1 << 31, 1 << 0
SCR_RW, SCR_NS, SCR_SIF = 1 << 10, 1 << 0, 1 << 9
WXN = 1 << 19
TABLE = 0b11
STAGE2_PAGE = 0b11 | 1 << 10 | 0b11 << 6 | 0b1111 << 2
AF = 1 << 10
NOT_GLOBAL = 1 << 11


@dataclass
class Filter:
    """TZASC region 1, as the model sees it."""

    page: int = 0
    secure: bool = True
    normal: bool = True
    bus_error: bool = True


class Twins:
    """The machine and the model, given the same tables, registers and operations."""

    def __init__(self) -> None:
        self.machine = bare_machine()
        self.filter = Filter()
        self.model = Model(self.fetch)
        self.steps = 0
        for name in REGISTERS:
            self.set_register(name, {"HCR_EL2": HCR_RW, "SCR_EL3": SCR_RW}.get(name, 0))

    def fetch(self, address: int, non_secure: bool) -> int:
        if address // PAGE_SIZE * PAGE_SIZE == self.filter.page and not (
            self.filter.normal if non_secure else self.filter.secure
        ):
            if self.filter.bus_error:
                raise BusError
            return 0
        try:
            return int.from_bytes(self.machine.read_physical(address, 8), "little")
        except ValueError:
            raise BusError from None

    def set_register(self, name: str, value: int) -> None:
        self.model.registers[name] = value
        write_register(self.machine, name, value)

    def set_filter(self, page: int, secure: bool, normal: bool, bus_error: bool) -> None:
        self.filter = Filter(page, secure, normal, bus_error)
        set_region(
            self.machine, 1, page, page + PAGE_SIZE - 1, secure="rw" if secure else "", normal="rw" if normal else ""
        )
        lib.tzasc_set_control(self.machine.native, True, bus_error)

    def write_descriptor(self, table: int, slot: int, descriptor: int) -> None:
        self.machine.write_physical(table + slot * 8, struct.pack("<Q", descriptor))

    def tlbi(self, name: str, operand: int = 0, shareable: bool = True) -> None:
        op1, inner, local, op2 = TLBI[name]
        lib.tlb_maintain(self.machine.native, op1, inner if shareable else local, op2, operand)
        self.model.tlbi(name, operand)

    def probe(self, address: int, access: Access, level: int) -> Result:
        """What both answer; they must agree."""
        raw = ffi.new("struct probe *")
        lib.translate_probe(self.machine.native, address, access, level, raw)
        native = Result(allowed=True, physical=int(raw.physical), non_secure=bool(raw.non_secure))
        if not raw.allowed:
            native = Result(
                allowed=False,
                status=int(raw.syndrome) & 0x3F,
                on_stage1_walk=bool(raw.syndrome >> 7 & 1),
                stage2=bool(raw.syndrome >> 8 & 1),
                ipa=int(raw.ipa),
            )
        model = self.model.probe(address, access, level)
        assert native == model, f"{address:#x} {access.name} at EL{level}: machine {native}, model {model}"
        return model


@contextmanager
def twins() -> Iterator[Twins]:
    pair = Twins()
    try:
        yield pair
    finally:
        pair.machine.close()


# --- random machines: everything lives in few places, so that tables, blocks and entries meet -------------------------

OUTPUTS = (
    *(TABLES * 6),
    *(DRAM_BASE + 0x20_0000, DRAM_BASE + 0x40_0000, 0, 0x0E00_0000, 0x8000_0000),
    *(1 << 32, 1 << 36, 1 << 43, 1 << 44, 1 << 47, (1 << 48) - PAGE_SIZE),
)
SIZES = (*[25] * 8, 16, 20, 24, 28, 30, 31, 32, 33, 34, 39, 0, 45)
ASIDS = (0, 1, 2, 0x101)


STAGE2_TABLES = TABLES[-3:]  # levels 1, 2 and 3 of a stage 2 that makes sense to begin with
VTCR = 25 | 1 << 6 | 5 << 16


def mostly(random: Random, usual: int, *rest: int) -> int:
    return random.choice([usual] * (4 * len(rest)) + list(rest))


def descriptor(random: Random) -> int:
    """Any bits may be set anywhere; usually they make sense for stage 1, stage 2 or both."""
    kind = random.choice([0b11] * 6 + [0b01] * 3 + [0b00, 0b10])
    flags = random.getrandbits(8) << 2 | random.choice([AF] * 15 + [0])
    flags |= mostly(random, 0b11 << 6, 0, 0b01 << 6, 0b10 << 6) | random.choice([0, NOT_GLOBAL])
    hierarchical = random.choice([0] * 8 + [1 << bit for bit in range(59, 64)])
    execute_never = random.choice([0, 0, 0, 1 << 54, 1 << 53, 3 << 53])
    return kind | flags | hierarchical | execute_never | random.choice(OUTPUTS)


def virtual_address(random: Random) -> int:
    address = mostly(random, 0, 1 << 39)
    address |= random.randrange(2) << 30 | random.randrange(3) << 21 | random.randrange(4) << 12
    address |= random.choice([0, 8, 0xFFF])
    if random.randrange(5) == 0:  # the upper range: from its end down
        address = ~address & (1 << 64) - 1
    elif random.randrange(4) == 0:  # what an identity map of the tables translates
        address = random.choice(TABLES)
    if random.randrange(8) == 0:
        address ^= random.choice([0x5A << 56, 0x5A << 56, 1 << 55, 1 << 48, 1 << 40, 1 << 33])
    return address


def table_base(random: Random, name: str) -> int:
    if name == "VTTBR_EL2" and random.randrange(4):
        return STAGE2_TABLES[0]
    return random.choice(TABLES) + mostly(random, 0, 0x40, 0x800, 1 << 45)


def register_value(random: Random, name: str) -> int:
    kind = name.split("_")[0]
    address_size = mostly(random, 5, 0, 1, 4, 7)
    if kind == "SCTLR":
        return mostly(random, 1, 0) | random.choice([0, 0, WXN])
    if kind in {"TTBR0", "TTBR1", "VTTBR"}:
        asid = 0 if name in {"TTBR0_EL2", "TTBR0_EL3"} else random.choice(ASIDS)
        return table_base(random, name) | asid << 48
    if name == "TCR_EL1":
        flags = sum(random.getrandbits(1) << bit for bit in (22, 36, 37, 38)) | mostly(random, 0, 0, 1 << 7, 1 << 23)
        return random.choice(SIZES) | random.choice(SIZES) << 16 | 0b10 << 30 | address_size << 32 | flags
    if kind == "TCR":
        return random.choice(SIZES) | address_size << 16 | random.getrandbits(1) << 20
    if kind == "VTCR":
        return random.choice([VTCR, random.choice(SIZES) | random.randrange(4) << 6 | address_size << 16])
    if kind == "HCR":
        return HCR_RW | mostly(random, HCR_VM, 0)
    return SCR_RW | random.choice([0, SCR_NS, SCR_NS]) | random.choice([0, SCR_SIF])


def fill(random: Random, pair: Twins) -> None:
    for table in TABLES:
        for slot in SLOTS:
            pair.write_descriptor(table, slot, descriptor(random))
    level1, level2, level3 = STAGE2_TABLES
    pair.write_descriptor(level1, DRAM_BASE >> 30, level2 | TABLE)
    pair.write_descriptor(level2, 0, level3 | TABLE)
    for page, table in enumerate(TABLES):
        pair.write_descriptor(level3, page, random.choice([table] * 9 + TABLES[:1]) | STAGE2_PAGE)
    for name in REGISTERS:
        pair.set_register(name, register_value(random, name))


def maintain(random: Random, pair: Twins, addresses: Sequence[int]) -> None:
    name = random.choice(sorted(TLBI))
    address = random.choice(OUTPUTS if name.startswith("IPA") else addresses)
    pair.tlbi(name, (address >> 12 & (1 << 44) - 1) | random.choice(ASIDS) << 48, shareable=random.random() < 0.5)


def change(random: Random, pair: Twins, addresses: Sequence[int]) -> None:
    """One thing happens: a table is edited, a register is written, a TLBI is executed, a page is closed."""
    kind = random.randrange(10)
    if kind < 4:
        pair.write_descriptor(random.choice(TABLES), random.choice(EDITED_SLOTS), descriptor(random))
    elif kind < 6:
        name = random.choice(REGISTERS)
        pair.set_register(name, register_value(random, name))
    elif kind < 9:
        maintain(random, pair, addresses)
    else:
        permits = [random.random() < 0.5 for _ in range(3)]
        pair.set_filter(random.choice(TABLES), *permits)


def probe(random: Random, pair: Twins, addresses: Sequence[int]) -> None:
    level = random.choice([0, 0, 1, 1, 1, 2, 3] if pair.model.normal_world else [0, 1, 1, 3])
    pair.probe(random.choice(addresses), random.choice(list(Access)), level)


randoms = st.randoms(use_true_random=True)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(randoms, st.lists(randoms, min_size=30, max_size=60))
def test_random_tables_registers_and_maintenance_agree_with_the_model(start: Random, steps: list[Random]) -> None:
    with twins() as pair:
        fill(start, pair)
        addresses = [virtual_address(start) for _ in range(16)]
        for step in steps:
            change(step, pair, addresses)
            for _ in range(6):
                probe(step, pair, addresses)


# --- a running system: everything is mapped, and only edits, switches and TLBIs happen --------------------------------

STAGE1_ROOTS = (TABLES[0], TABLES[3])  # each with a table of level 2 and one of level 3 behind it
PAGES = 4
FRAMES = [DRAM_BASE + 0x10_0000 * frame for frame in range(1, 5)]
RUNNING_TCR = 25 | 25 << 16 | 0b10 << 30 | 0b101 << 32 | 1 << 36


def stage1_leaf(random: Random) -> int:
    return TABLE | AF | random.choice(FRAMES) | random.choice([0, NOT_GLOBAL]) | random.choice([0, 1 << 5])


def stage2_leaf(random: Random) -> int:
    return random.choice(FRAMES) | STAGE2_PAGE


def start(random: Random, pair: Twins) -> None:
    level1, level2, level3 = STAGE2_TABLES
    for root in STAGE1_ROOTS:
        pair.write_descriptor(root, 0, root + PAGE_SIZE | TABLE)
        pair.write_descriptor(root + PAGE_SIZE, 0, root + 2 * PAGE_SIZE | TABLE)
        for page in range(PAGES):
            pair.write_descriptor(root + 2 * PAGE_SIZE, page, stage1_leaf(random))
    pair.write_descriptor(level1, 1, level2 | TABLE)
    pair.write_descriptor(level2, 0, level3 | TABLE)
    for page, table in enumerate(TABLES):
        pair.write_descriptor(level3, page, table | STAGE2_PAGE)
    for frame in FRAMES:
        pair.write_descriptor(level3, (frame - DRAM_BASE) // PAGE_SIZE, stage2_leaf(random))
    for name, value in {
        "SCR_EL3": SCR_RW | SCR_NS,
        "HCR_EL2": HCR_RW | HCR_VM,
        "VTCR_EL2": VTCR,
        "VTTBR_EL2": level1 | 1 << 48,
        "TCR_EL1": RUNNING_TCR,
        "TTBR0_EL1": STAGE1_ROOTS[0] | 1 << 48,
        "SCTLR_EL1": 1,
    }.items():
        pair.set_register(name, value)


def live(random: Random, pair: Twins) -> None:
    kind = random.randrange(8)
    if kind < 2:
        table = random.choice(STAGE1_ROOTS) + 2 * PAGE_SIZE
        pair.write_descriptor(table, random.randrange(PAGES), stage1_leaf(random))
    elif kind == 2:
        slot = (random.choice(FRAMES) - DRAM_BASE) // PAGE_SIZE
        pair.write_descriptor(STAGE2_TABLES[2], slot, stage2_leaf(random))
    elif kind == 3:
        pair.set_register("TTBR0_EL1", random.choice(STAGE1_ROOTS) | random.choice(ASIDS) << 48)
    elif kind == 4:
        pair.set_register("VTTBR_EL2", STAGE2_TABLES[0] | random.choice([1, 2]) << 48)
    elif kind == 5:
        pair.set_register("SCR_EL3", SCR_RW | random.choice([0, SCR_NS, SCR_NS]))
    else:
        name = random.choice(sorted(TLBI))
        address = random.choice(FRAMES) if name.startswith("IPA") else random.randrange(PAGES) * PAGE_SIZE
        pair.tlbi(name, address >> 12 | random.choice(ASIDS) << 48, shareable=random.random() < 0.5)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(randoms, st.lists(randoms, min_size=40, max_size=100))
def test_a_running_system_keeps_exactly_what_no_tlbi_covered(begin: Random, steps: list[Random]) -> None:
    with twins() as pair:
        start(begin, pair)
        for step in steps:
            live(step, pair)
            for page in range(PAGES):
                pair.probe(page * PAGE_SIZE, Access.READ, 1)
