"""SYS instructions: address translation into PAR_EL1, TLB and cache maintenance by level, their traps, and that a TLBI
makes a change of the tables seen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import BOUNDARY, DATA, HCR_RW, SCR, SCR_NS, SCTLR_EL1, TABLES, Case, load, write
from tests.fidelity.tables import (
    AF,
    DEVICE,
    LEAF,
    NON_GLOBAL,
    PXN,
    READ_ONLY,
    S2_LEAF,
    S2_READ,
    S2_WRITE,
    STRIDE,
    TCR_EL1,
    WHERE,
    enable_stage1,
    enable_stage2,
    leaf,
    root,
    stage1_entries,
    stage2_entries,
    store,
)

PLACES = {
    "el0": (0, SCR | SCR_NS),
    "el1": (1, SCR | SCR_NS),
    "s-el1": (1, SCR),
    "el2": (2, SCR | SCR_NS),
    "el3": (3, SCR | SCR_NS),
    "el3-ns0": (3, SCR),
}
TRANSLATE = (
    "s1e1r",
    "s1e1w",
    "s1e0r",
    "s1e0w",
    "s1e2r",
    "s1e2w",
    "s12e1r",
    "s12e1w",
    "s12e0r",
    "s12e0w",
    "s1e3r",
    "s1e3w",
)
EL1_ONLY = [instruction for instruction in TRANSLATE if "e1" in instruction or "e0" in instruction]
STAGE1 = {
    "page": (3, LEAF),
    "block2": (2, LEAF),
    "block1": (1, LEAF),
    "device": (3, LEAF | DEVICE),
    "non-cacheable": (3, LEAF | 5 << 2),
    "read-only": (3, LEAF | READ_ONLY),
    "privileged": (3, LEAF & ~(1 << 6)),
    "outer-shareable": (3, LEAF & ~(3 << 8) | 2 << 8),
    "no-af": (3, LEAF & ~AF),
    "pxn": (3, LEAF | PXN),
    "ns": (3, LEAF | 1 << 5),
}


def translate() -> Iterator[Case]:
    for (place, (level, scr)), instruction in product(PLACES.items(), TRANSLATE):
        body = [*load("x2", BOUNDARY), f"at {instruction}, x2"]
        yield Case(f"at/{place}-{instruction}-off", level, body, scr=scr)
    tables = {name: stage1_entries(depth, flags=flags) for name, (depth, flags) in STAGE1.items()}
    for depth in (1, 2, 3):
        tables[f"zero{depth}"] = stage1_entries(depth, 0)
    for (name, entries), (place, (level, scr)), instruction in product(tables.items(), PLACES.items(), EL1_ONLY):
        if level in (1, 2, 3):
            setup = [*store(entries), *enable_stage1(1)]
            yield Case(
                f"at/{place}-{instruction}-{name}",
                level,
                [*load("x2", WHERE + 0x123), f"at {instruction}, x2"],
                setup,
                scr=scr,
            )
    for name, instruction in product(tables, ("s1e2r", "s1e2w", "s1e3r", "s1e3w")):
        setup = [*store(tables[name]), *enable_stage1(2), *enable_stage1(3)]
        body = [*load("x2", WHERE + 0x123), f"at {instruction}, x2"]
        yield Case(f"at/el3-{instruction}-{name}", 2 if "e2" in instruction else 3, body, setup)


def translate_through_stage2() -> Iterator[Case]:
    second = {
        "page": (3, leaf(DATA, 3, S2_LEAF)),
        "block": (2, leaf(DATA, 2, S2_LEAF)),
        "zero2": (2, 0),
        "zero3": (3, 0),
        "no-af": (3, leaf(DATA, 3, S2_LEAF & ~AF)),
        "read-only": (3, leaf(DATA, 3, S2_LEAF & ~S2_WRITE)),
        "no-access": (3, leaf(DATA, 3, S2_LEAF & ~(S2_WRITE | S2_READ))),
        "device": (3, leaf(DATA, 3, S2_LEAF & ~(0xF << 2))),
        "non-cacheable": (3, leaf(DATA, 3, S2_LEAF & ~(0xF << 2) | 0b0101 << 2)),
        "write-through": (3, leaf(DATA, 3, S2_LEAF & ~(0xF << 2) | 0b1010 << 2)),
        "unshared": (3, leaf(DATA, 3, S2_LEAF & ~(3 << 8))),
    }
    for (name, (depth, descriptor)), (place, (level, scr)), instruction in product(
        second.items(), PLACES.items(), EL1_ONLY
    ):
        if level == 0 or scr == SCR:
            continue
        first = stage1_entries(3, leaf(WHERE, 3, LEAF))
        setup = [*store(first), *store(stage2_entries(depth, descriptor)), *enable_stage1(1), *enable_stage2()]
        body = [*load("x2", WHERE + 0x123), f"at {instruction}, x2"]
        yield Case(f"at/{place}-{instruction}-stage2-{name}", level, body, setup, scr=scr)
        if name in ("page", "zero3", "no-access"):
            table = TABLES + 3 * STRIDE  # the table of stage 1 itself lies behind that entry of stage 2
            first = stage1_entries(3)
            at = next(address for address, value in first.items() if value == table | 3)
            first[at] = WHERE | 3
            there = stage2_entries(3, leaf(table, 3, descriptor & 0xFFF) if descriptor else 0)
            setup = [*store(first), *store(there), *enable_stage1(1), *enable_stage2()]
            yield Case(f"at/{place}-{instruction}-walk-{name}", level, body, setup, scr=scr)


TLBI = (
    *("vmalle1", "vae1", "aside1", "vaae1", "vale1", "vaale1"),
    *("vmalle1is", "vae1is", "aside1is", "vaae1is", "vale1is", "vaale1is"),
    *("alle1", "alle1is", "vmalls12e1", "vmalls12e1is", "ipas2e1", "ipas2e1is", "ipas2le1", "ipas2le1is"),
    *(
        "alle2",
        "alle2is",
        "vae2",
        "vae2is",
        "vale2",
        "vale2is",
        "alle3",
        "alle3is",
        "vae3",
        "vae3is",
        "vale3",
        "vale3is",
    ),
)
CACHE = (
    *("ic ialluis", "ic iallu", "ic ivau, x2", "dc ivac, x2", "dc isw, x3", "dc csw, x3", "dc cisw, x3", "dc cvac, x2"),
    *("dc cvau, x2", "dc civac, x2", "dc zva, x2"),
)
HCR_TRAPS = {"TSW": 22, "TPC": 23, "TPU": 24, "TTLB": 25, "TDZ": 28, "TVM": 26, "TGE": 27}
SCTLR_BITS = {"UCI": 26, "DZE": 14, "UCT": 15, "nTWI": 16, "nTWE": 18, "UMA": 9}


def takes_operand(operation: str) -> bool:
    return not operation.startswith(("vmall", "all"))


def every_instruction() -> Iterator[str]:
    yield from CACHE
    for operation in TLBI:
        yield f"tlbi {operation}, x3" if takes_operand(operation) else f"tlbi {operation}"
    yield from (f"at {instruction}, x2" for instruction in TRANSLATE)


def plain_name(instruction: str) -> str:
    return instruction.split(",")[0].replace(" ", "-")


def by_level() -> Iterator[Case]:
    for instruction, (place, (level, scr)) in product(every_instruction(), PLACES.items()):
        body = [*load("x2", BOUNDARY), "mov x3, #0", instruction]
        yield Case(f"sys/{place}-{plain_name(instruction)}", level, body, scr=scr)
        for name, bit in HCR_TRAPS.items():
            if level <= 1 and not (level == 1 and name == "TGE" and scr != SCR):
                setup = write("HCR_EL2", HCR_RW | 1 << bit)
                yield Case(f"sys/{place}-HCR.{name}-{plain_name(instruction)}", level, body, setup, scr=scr)
        if level == 0:
            for name, bit in SCTLR_BITS.items():
                setup = write("SCTLR_EL1", SCTLR_EL1 ^ 1 << bit)
                yield Case(f"sys/{place}-SCTLR.{name}-{plain_name(instruction)}", level, body, setup, scr=scr)
    reads = ["mrs x3, dczid_el0"]
    yield Case("sys/dczid-tdz", 1, reads, write("HCR_EL2", HCR_RW | 1 << 28))
    yield Case("sys/dczid-dze", 0, reads, write("SCTLR_EL1", SCTLR_EL1 ^ 1 << 14))


def stale() -> Iterator[Case]:
    """Read through a page, point it elsewhere or take it away, invalidate, read again."""
    entry = next(address for address, value in stage1_entries(3).items() if value == leaf(DATA, 3, LEAF))
    other = leaf(BOUNDARY, 3, LEAF)
    for operation in ("vmalle1", "vae1", "aside1", "vaae1", "vale1", "vaale1", "vmalle1is", "vae1is"):
        for name, flags, descriptor in (
            ("moved", LEAF, other),
            ("gone", LEAF, 0),
            ("private", LEAF | NON_GLOBAL, other),
        ):
            if operation == "aside1" and name != "private":
                continue  # it leaves global translations alone, and QEMU drops more than it must
            # The table itself is mapped for EL1: the page of level 3 at WHERE + 4 KiB.
            first = {
                **stage1_entries(3, flags=flags),
                **stage1_entries(3, entry & ~0xFFF | LEAF | 3, where=WHERE + 0x1000),
            }
            operand = (WHERE >> 12) if operation.startswith("va") else 0
            body = [
                *load("x2", WHERE),
                "ldr x4, [x2]",
                *load("x5", WHERE + 0x1000 + (entry & 0xFFF)),
                *load("x6", descriptor | (flags & NON_GLOBAL if descriptor else 0)),
                "str x6, [x5]",
                "dsb sy",
                *load("x7", operand),
                f"tlbi {operation}, x7" if takes_operand(operation) else f"tlbi {operation}",
                "dsb sy",
                "isb",
                "ldr x8, [x2]",
            ]
            yield Case(f"tlbi/{operation}-{name}", 1, body, [*store(first), *enable_stage1(1)])


def address_spaces() -> Iterator[Case]:
    """ASIDs and VMIDs keep private translations apart."""
    upper = TABLES + 24 * STRIDE
    for name, flags in (("private", NON_GLOBAL),):
        for first_asid, second_asid in ((1, 2), (1, 0x101), (0xFF, 0x1FF), (3, 3)):
            for wide in (0, 1):
                tcr = TCR_EL1 | wide << 36
                one, two = (
                    stage1_entries(3, flags=LEAF | flags),
                    stage1_entries(3, leaf(BOUNDARY, 3, LEAF | flags), base=upper),
                )
                same = (first_asid ^ second_asid) & (0xFFFF if wide else 0xFF) == 0
                body = [
                    *load("x2", WHERE),
                    "ldr x4, [x2]",
                    *load("x5", root(upper) | second_asid << 48),
                    "msr ttbr0_el1, x5",
                    "isb",
                    *(["tlbi vmalle1", "dsb sy", "isb"] if same else []),
                    "ldr x6, [x2]",
                    *load("x5", root(TABLES) | first_asid << 48),
                    "msr ttbr0_el1, x5",
                    "isb",
                    *(["tlbi vmalle1", "dsb sy", "isb"] if same else []),
                    "ldr x7, [x2]",
                ]
                setup = [*store(one), *store(two), *enable_stage1(1, tcr=tcr, ttbr=root(TABLES) | first_asid << 48)]
                yield Case(f"asid/{name}-{first_asid:#x}-{second_asid:#x}-wide{wide}", 1, body, setup)


def cases() -> Iterator[Case]:
    yield from translate()
    yield from translate_through_stage2()
    yield from by_level()
    yield from stale()
    yield from address_spaces()
