"""Stage 1: every fault at every level, for reads, writes and fetches, of every regime; permissions; the two halves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import DATA, TABLES, Case
from tests.fidelity.tables import (
    AF,
    DEVICE,
    K4,
    K16,
    K64,
    LEAF,
    NO_EL0_TABLE,
    NS,
    NS_TABLE,
    PXN,
    PXN_TABLE,
    READ_ONLY,
    READ_ONLY_TABLE,
    SCTLR_WXN,
    SIZE,
    TCR_EL1,
    TCR_HIGHER,
    UPPER_TABLES,
    UXN,
    UXN_TABLE,
    WHERE,
    Granule,
    access,
    enable_stage1,
    leaf,
    root,
    stage1_entries,
    store,
    turn_on_el3,
    upper,
)

PLACES = {
    "el0": (0, True),
    "el1": (1, True),
    "s-el0": (0, False),
    "s-el1": (1, False),
    "el2": (2, True),
    "el3": (3, True),
}
KINDS = ("read", "write", "fetch")
TAKE_SERROR = [  # which a store that the bus refused leaves pending, on our core
    *("mrs x2, scr_el3", "orr x2, x2, #8", "msr scr_el3, x2", "mrs x4, vbar_el3", "adrp x3, skipping_vectors"),
    *("msr vbar_el3, x3", "isb", "msr daifclr, #4", "nop", "nop", "nop", "nop", "msr daifset, #4", "msr vbar_el3, x4"),
]
FAR_AWAY = 1 << 40  # beyond the 32 bits of an output size of 0, within the core's 44


def case(  # one translation and one access
    name: str,
    place: str,
    kind: str,
    entries: dict[int, int],
    *,
    sctlr: int = 0,
    tcr: int | None = None,
    ttbr: int | None = None,
    ttbr1: int | None = None,
    where: int = WHERE,
    also: list[str] | None = None,
) -> Case:
    level, normal = PLACES[place]
    setup = [*store(entries), *enable_stage1(level, sctlr, tcr, ttbr, ttbr1), *(also or [])]
    on = turn_on_el3(sctlr) if level == 3 else []
    body = [*on, *access(kind, where)]
    return Case(f"{name}-{place}-{kind}", level, body, setup, TAKE_SERROR if kind == "write" else (), normal=normal)


def faults() -> Iterator[Case]:
    for place, kind, level in product(PLACES, KINDS, (1, 2, 3)):
        small = TCR_EL1 & ~(7 << 32) if PLACES[place][0] < 2 else TCR_HIGHER & ~(7 << 16)
        good = leaf(DATA, level, LEAF)
        for fault, descriptor, tcr in (
            ("none", good, None),
            ("invalid", good & ~1, None),
            ("zero", 0, None),
            ("no-af", good & ~AF, None),
            ("reserved", good ^ 2, None),  # a block at level 3; a table elsewhere, whose entry 0 of DATA is garbage
            ("too-wide", good | FAR_AWAY, small),
            ("beyond-the-core", good | 1 << 46, None),
            ("nothing-there", good | 1 << 41, None),
        ):
            if fault != "reserved" or level == 3:
                yield case(f"stage1/L{level}-{fault}", place, kind, stage1_entries(level, descriptor), tcr=tcr)
        if level > 1:
            entries = stage1_entries(level, good, above=FAR_AWAY)
            yield case(f"stage1/L{level}-table-too-wide", place, kind, entries, tcr=small)
    for place, kind in product(PLACES, KINDS):
        small = TCR_EL1 & ~(7 << 32) if PLACES[place][0] < 2 else TCR_HIGHER & ~(7 << 16)
        entries = stage1_entries(3)
        if PLACES[place][0] < 2:  # the upper half only: the code lies in the lower one
            for name, bit in (
                ("root-too-wide", FAR_AWAY),
                ("root-nothing-there", 1 << 41),
                ("root-beyond-the-core", 1 << 46),
            ):
                yield case(f"stage1/{name}", place, kind, entries, tcr=small, ttbr1=root(TABLES) | bit, where=upper())
        yield case("stage1/outside", place, kind, entries, where=WHERE | 1 << 39)
        yield case("stage1/outside-high", place, kind, entries, where=WHERE | 0xFFFF_FF << 40)


def permissions() -> Iterator[Case]:
    for place, kind, ap, xn, wxn in product(PLACES, KINDS, range(4), range(4), (0, 1)):
        flags = AF | ap << 6 | (xn & 1) * PXN | (xn >> 1) * UXN
        name = f"permission/ap{ap}-pxn{xn & 1}-uxn{xn >> 1}-wxn{wxn}"
        yield case(name, place, kind, stage1_entries(3, flags=flags), sctlr=wxn * SCTLR_WXN)
    for place, kind in product(PLACES, KINDS):
        for name, bits in (
            ("UXNTable", UXN_TABLE),
            ("PXNTable", PXN_TABLE),
            ("APTable0", NO_EL0_TABLE),
            ("APTable1", READ_ONLY_TABLE),
            ("NSTable", NS_TABLE),
        ):
            yield case(f"permission/{name}", place, kind, stage1_entries(3, above=bits))
        yield case("permission/ns", place, kind, stage1_entries(3, flags=LEAF | NS))
        yield case("permission/device", place, kind, stage1_entries(3, flags=LEAF | DEVICE))
        sif = ["mrs x0, scr_el3", "orr x0, x0, #0x200", "msr scr_el3, x0"]
        yield case("permission/ns-sif", place, kind, stage1_entries(3, flags=LEAF | NS | READ_ONLY), also=sif)


def halves() -> Iterator[Case]:
    """TTBR0 and TTBR1, their sizes, tags and disabled walks."""
    for place, kind in product(("el0", "el1", "s-el1"), ("read", "fetch")):
        for name, where, tcr in (
            ("upper", upper(), TCR_EL1),
            ("hole", WHERE | 1 << 56, TCR_EL1),
            ("epd1", upper(), TCR_EL1 | 1 << 23),
            ("tag0", WHERE | 0x5A << 56, TCR_EL1 | 1 << 37),
            ("tag0-upper", upper() & ~(0xA5 << 56), TCR_EL1 | 1 << 38),
            ("tag-off", WHERE | 0x5A << 56, TCR_EL1),
            ("tag-outside", WHERE | 0x5A80 << 48, TCR_EL1 | 1 << 37 | 1 << 38),
        ):
            yield case(f"half/{name}", place, kind, stage1_entries(3), tcr=tcr, where=where)
    for place, kind in product(("el2", "el3"), ("read", "fetch")):
        for name, where, tcr in (
            ("tag", WHERE | 0x5A << 56, TCR_HIGHER | 1 << 20),
            ("tag-off", WHERE | 0x5A << 56, TCR_HIGHER),
            ("tag-bit55", WHERE | 0x5A80 << 48, TCR_HIGHER | 1 << 20),
        ):
            yield case(f"half/{name}", place, kind, stage1_entries(3), tcr=tcr, where=where)


def sizes() -> Iterator[Case]:
    for size in range(64):
        bits = 64 - min(max(size, 16), 39)
        entries = {**stage1_entries(3), **stage1_entries(3, input_bits=max(bits, 32), base=UPPER_TABLES)}
        ttbr1 = root(UPPER_TABLES, input_bits=max(bits, 32))
        for kind, where in (("read", upper(bits)), ("write", upper(bits) - (1 << bits)), ("fetch", upper(bits))):
            tcr = TCR_EL1 & ~(63 << 16) | size << 16
            yield case(f"size/t1sz-{size}", "el1", kind, entries, tcr=tcr, ttbr1=ttbr1, where=where)
    for place, size in product(("el1", "el2", "el3"), range(16, 33)):
        bits = 64 - size
        tcr = (TCR_EL1 if place == "el1" else TCR_HIGHER) & ~63 | size
        entries, ttbr = stage1_entries(3, input_bits=bits), root(TABLES, input_bits=bits)
        for kind, where in (("read", WHERE), ("write", WHERE | 1 << bits), ("fetch", WHERE | 1 << bits - 1)):
            yield case(f"size/t0sz-{size}", place, kind, entries, tcr=tcr, ttbr=ttbr, where=where)


def leaves(granule: Granule) -> Iterator[tuple[str, int, int]]:
    for level in range(granule.start(64 - SIZE), 4):
        good = leaf(DATA, level, LEAF, granule)
        yield f"L{level}-none", level, good
        yield f"L{level}-invalid", level, 0
        yield f"L{level}-no-af", level, good & ~AF
        yield f"L{level}-read-only", level, good | READ_ONLY


def granules() -> Iterator[Case]:
    names: dict[str, Granule] = {"4K": K4, "16K": K16, "64K": K64}
    for (name, granule), place, kind in product(names.items(), ("el0", "el1", "s-el1"), KINDS):
        tcr = TCR_EL1 & ~(3 << 30) | granule.tg1 << 30
        for fault, level, descriptor in leaves(granule):
            entries = stage1_entries(level, descriptor, granule=granule, base=UPPER_TABLES)
            every = {**stage1_entries(3), **entries}
            ttbr1 = root(UPPER_TABLES, granule)
            yield case(f"granule/{name}-{fault}", place, kind, every, tcr=tcr, ttbr1=ttbr1, where=upper())
    for place, kind in product(("el1", "el2", "el3"), KINDS):
        tcr = (TCR_EL1 if place == "el1" else TCR_HIGHER) | K64.tg0 << 14
        for fault, level, descriptor in leaves(K64):
            entries = stage1_entries(level, descriptor, granule=K64)
            yield case(f"granule/lower-64K-{fault}", place, kind, entries, tcr=tcr, ttbr=root(TABLES, K64))


def cases() -> Iterator[Case]:
    yield from faults()
    yield from permissions()
    yield from halves()
    yield from sizes()
    yield from granules()
