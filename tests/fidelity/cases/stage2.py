"""Stage 2: faults at every level with their IPA, on accesses and on the walks of stage 1; permissions; the syndromes of
loads and stores that are reported to EL2."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import DATA, TABLES, Case, load
from tests.fidelity.tables import (
    AF,
    K64,
    LEAF,
    S2_LEAF,
    S2_READ,
    S2_WRITE,
    S2_XN,
    STAGE2_TABLES,
    STRIDE,
    VTCR,
    WHERE,
    access,
    enable_stage1,
    enable_stage2,
    leaf,
    root,
    stage1_entries,
    stage2_entries,
    store,
)

KINDS = ("read", "write", "fetch")
LEVELS = {"el0": 0, "el1": 1}
FAR_AWAY = 1 << 40
HCR_DC, HCR_PTW, HCR_CD, HCR_ID, HCR_FB = 1 << 12, 1 << 2, 1 << 32, 1 << 33, 1 << 9


def case(name: str, level: int, kind: str, setup: list[str], body: list[str] | None = None) -> Case:
    return Case(f"{name}-el{level}-{kind}", level, access(kind) if body is None else body, setup)


def direct(entries: dict[int, int], vtcr: int = VTCR, hcr: int = 0, vttbr: int | None = None) -> list[str]:
    """Stage 1 is off: addresses are IPAs."""
    return [*store(entries), *enable_stage2(vtcr, hcr, vttbr)]


def both(first: dict[int, int], second: dict[int, int], hcr: int = 0, tcr: int | None = None) -> list[str]:
    return [*store(first), *store(second), *enable_stage1(1, tcr=tcr), *enable_stage2(hcr=hcr)]


def bad_descriptors(level: int) -> dict[str, tuple[int, int]]:
    """Name to descriptor and VTCR_EL2."""
    good = leaf(DATA, level, S2_LEAF)
    small = VTCR & ~(7 << 16 | 63) | 32  # input and output of 32 bits
    return {
        "none": (good, VTCR),
        "zero": (0, VTCR),
        "invalid": (good & ~1, VTCR),
        "no-af": (good & ~AF, VTCR),
        "too-wide": (good | FAR_AWAY, small),
        "beyond-the-core": (good | 1 << 46, VTCR),
        "nothing-there": (good | 1 << 41, VTCR),
    }


def faults() -> Iterator[Case]:
    for level, kind, depth in product(LEVELS.values(), KINDS, (1, 2, 3)):
        for fault, (descriptor, vtcr) in bad_descriptors(depth).items():
            if fault == "nothing-there" and kind == "write":
                continue  # stage1 has it
            second = stage2_entries(depth, descriptor)
            yield case(f"stage2/L{depth}-{fault}", level, kind, direct(second, vtcr))
            # Stage 1 maps WHERE to the IPA of the same number.
            first = stage1_entries(3, leaf(WHERE, 3, LEAF))
            setup = [*store(first), *store(second), *enable_stage1(1), *enable_stage2(vtcr)]
            yield case(f"stage2/both-L{depth}-{fault}", level, kind, setup)
    for level, kind in product(LEVELS.values(), KINDS):
        narrow = direct(stage2_entries(3), VTCR & ~(7 << 16))
        yield case("stage2/input-wider-than-output", level, kind, narrow)


def walks() -> Iterator[Case]:
    """Stage 2 refuses a table of stage 1: the last table of WHERE lies at an IPA of its own."""
    table = TABLES + 3 * STRIDE
    moved = WHERE + (table - DATA & 0x1F_FFFF)
    for level, kind, depth in product(LEVELS.values(), KINDS, (2, 3)):
        for fault, descriptor in (
            ("none", leaf(table, depth, S2_LEAF)),
            ("zero", 0),
            ("no-af", leaf(table, depth, S2_LEAF & ~AF)),
            ("no-read", leaf(table, depth, S2_LEAF & ~S2_READ)),
            ("read-only", leaf(table, depth, S2_LEAF & ~S2_WRITE)),
            ("device", leaf(table, depth, S2_LEAF & ~(0xF << 2))),
        ):
            for name, hcr in (("", 0), ("-ptw", HCR_PTW)):
                first = stage1_entries(3)
                at = next(address for address, value in first.items() if value == table | 3)
                first[at] = moved & ~0xFFFF | 3 if depth == 3 else WHERE | table & 0x1F_F000 | 3
                second = stage2_entries(depth, descriptor, where=first[at] & ~3)
                yield case(f"walk/L{depth}-{fault}{name}", level, kind, both(first, second, hcr))


def permissions() -> Iterator[Case]:
    for level, kind, ap, xn in product(LEVELS.values(), KINDS, range(4), (0, 1)):
        flags = S2_LEAF & ~(S2_READ | S2_WRITE) | ap << 6 | xn * S2_XN
        second = stage2_entries(3, flags=flags)
        name = f"s2ap{ap}-xn{xn}"
        yield case(f"stage2/{name}", level, kind, direct(second))
        first = stage1_entries(3, leaf(WHERE, 3, LEAF))
        yield case(f"stage2/both-{name}", level, kind, both(first, second))
        first = stage1_entries(3, leaf(WHERE, 3, LEAF | 1 << 7))
        yield case(f"stage2/both-read-only-{name}", level, kind, both(first, second))


def shapes() -> Iterator[Case]:
    """The other granule, addresses outside, and what HCR_EL2 changes."""
    for level, kind, depth in product(LEVELS.values(), KINDS, (2, 3)):
        for fault, descriptor in (("none", leaf(DATA, depth, S2_LEAF, K64)), ("zero", 0)):
            second = stage2_entries(depth, descriptor, granule=K64)
            vtcr = VTCR | K64.tg0 << 14
            yield case(
                f"stage2/64K-L{depth}-{fault}", level, kind, direct(second, vtcr, vttbr=root(STAGE2_TABLES, K64))
            )
    for level, kind in product(LEVELS.values(), KINDS):
        body = access(kind, WHERE | 1 << 39)
        yield case("stage2/outside", level, kind, direct(stage2_entries(3)), body)
        for name, hcr in (("dc", HCR_DC), ("cd", HCR_CD), ("id", HCR_ID), ("fb", HCR_FB)):
            yield case(f"stage2/{name}", level, kind, direct(stage2_entries(3), hcr=hcr))
            yield case(f"stage2/{name}-zero", level, kind, direct(stage2_entries(3, 0), hcr=hcr))
        without_vm = [*store(stage1_entries(3)), *enable_stage1(1), *load("x0", HCR_DC | 1 << 31), "msr hcr_el2, x0"]
        yield case("stage2/dc-without-vm", level, kind, without_vm)


def syndromes() -> Iterator[Case]:
    """ISV, SAS, SSE, SRT, SF, AR: what EL2 learns of the instruction."""
    instructions = (
        *("ldrb w7, [x2]", "ldrsb w7, [x2]", "ldrsb x7, [x2]", "ldrh w7, [x2]", "ldrsh w7, [x2]", "ldrsh x7, [x2]"),
        *("ldr w7, [x2]", "ldrsw x7, [x2]", "ldr x7, [x2]", "strb w7, [x2]", "strh w7, [x2]", "str w7, [x2]"),
        *("str x7, [x2]", "str xzr, [x2]", "ldr x30, [x2]", "ldr x7, [x2, #8]", "ldr x7, [x2, x3]", "ldr x7, [x2], #8"),
        *("ldr x7, [x2, #8]!", "str x7, [x2], #8", "ldur x7, [x2, #3]", "stur w7, [x2, #-4]", "ldp x7, x8, [x2]"),
        *("stp x7, x8, [x2]", "ldp w7, w8, [x2]", "ldpsw x7, x8, [x2]", "ldr q7, [x2]", "str q7, [x2]", "ldr d7, [x2]"),
        *("ldr b7, [x2]", "ldr s7, [x2]", "ldp q7, q8, [x2]", "stp d7, d8, [x2]", "ldar x7, [x2]", "stlr w7, [x2]"),
        *("ldarb w7, [x2]", "stlrh w7, [x2]", "ldxr x7, [x2]", "ldaxr w7, [x2]", "ldxp x7, x8, [x2]", "ldtr x7, [x2]"),
        *("sttr w7, [x2]", "ldtrsb x7, [x2]", "ld1 {v0.16b}, [x2]", "st1 {v0.2d, v1.2d}, [x2]", "ld1r {v0.4s}, [x2]"),
        *("ld1 {v0.b}[3], [x2]", "ld4 {v0.8b-v3.8b}, [x2]", "dc zva, x2", "dc civac, x2", "dc cvau, x2", "dc ivac, x2"),
        *("dc cvac, x2", "ic ivau, x2", "prfm pldl1keep, [x2]", "ldnp x7, x8, [x2]", "ld2 {v0.s, v1.s}[1], [x2], #8"),
        *("stlxr w9, x7, [x2]", "stxr w9, w7, [x2]", "ldr x7, [x2, w3, uxtw]", "ldrsw x7, [x2, x3]", "stlrb w7, [x2]"),
    )
    for number, instruction in enumerate(instructions):
        for name, flags in (("zero", 0), ("no-access", S2_LEAF & ~(S2_READ | S2_WRITE))):
            second = stage2_entries(3, leaf(DATA, 3, flags) if flags else 0)
            body = [*load("x2", WHERE + 0x40), "mov x3, #0x10", instruction]
            short = instruction.replace(" ", "_").replace("/", "")
            yield Case(f"syndrome/{number}-{name}-{short}", 1, body, direct(second))
            if not flags:
                first = stage1_entries(3, 0)
                yield Case(f"syndrome/{number}-stage1", 1, body, [*store(first), *enable_stage1(1)])


def cases() -> Iterator[Case]:
    yield from faults()
    yield from walks()
    yield from permissions()
    yield from shapes()
    yield from syndromes()
