"""Unaligned accesses: allowed, refused by SCTLR_ELx.A or by the instruction, across pages one of which is missing, a PC
that is not aligned, and the exclusive monitor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import BOUNDARY, SCTLR_EL1, SCTLR_HIGHER, Case, load, write
from tests.fidelity.tables import (
    AF,
    DEVICE,
    INNER,
    LEAF,
    READ_ONLY,
    WHERE,
    enable_stage1,
    leaf,
    stage1_entries,
    store,
)

PLACES = {"el0": (0, True), "el1": (1, True), "s-el1": (1, False), "el2": (2, True), "el3": (3, True)}
ACCESSES = (
    *(
        "ldrb w4, [x2]",
        "ldrh w4, [x2]",
        "ldr w4, [x2]",
        "ldr x4, [x2]",
        "ldrsh x4, [x2]",
        "ldrsw x4, [x2]",
        "ldr q0, [x2]",
    ),
    *("strb w3, [x2]", "strh w3, [x2]", "str w3, [x2]", "str x3, [x2]", "str q0, [x2]", "ldp x4, x5, [x2]"),
    *("stp x3, x4, [x2]", "ldp w4, w5, [x2]", "stp w3, w4, [x2]", "ldp q0, q1, [x2]", "stp q0, q1, [x2]"),
    *("ldnp x4, x5, [x2]", "ldpsw x4, x5, [x2]", "ldur x4, [x2, #-1]", "ldr x4, [x2], #8", "str x3, [x2, #8]!"),
    *("ld1 {v0.16b}, [x2]", "ld1 {v0.2d}, [x2]", "st1 {v0.4s}, [x2]", "ld2 {v0.8h, v1.8h}, [x2]", "ld1r {v0.4s}, [x2]"),
    *("st1 {v0.s}[1], [x2]", "ldtr x4, [x2]", "sttrh w3, [x2]", "prfm pldl1keep, [x2]"),
)
ORDERED = (
    *("ldar x4, [x2]", "ldar w4, [x2]", "ldarh w4, [x2]", "ldarb w4, [x2]", "stlr x3, [x2]", "stlrh w3, [x2]"),
    *("ldxr x4, [x2]", "ldxrh w4, [x2]", "ldaxr w4, [x2]", "ldxp x4, x5, [x2]", "ldxp w4, w5, [x2]"),
    *("stxr w6, x3, [x2]", "stlxr w6, w3, [x2]", "stxp w6, x3, x4, [x2]", "stxrb w6, w3, [x2]"),
)
ZERO = ("dc zva, x2",)


def with_control_bit(place: str, instruction: str, offset: int, strict: int) -> Case:
    level, normal = PLACES[place]
    prepare = write("SCTLR_EL3", SCTLR_HIGHER | strict) if level == 3 else []
    name, value = ("SCTLR_EL2", SCTLR_HIGHER) if level == 2 else ("SCTLR_EL1", SCTLR_EL1)
    body = [*prepare, *load("x2", BOUNDARY + offset), instruction]
    number = (*ACCESSES, *ORDERED, *ZERO).index(instruction)
    setup = [] if level == 3 else write(name, value | strict)
    return Case(f"align/{place}-a{strict >> 1}-{offset}-{number}", level, body, setup, normal=normal)


def by_control_bit() -> Iterator[Case]:
    for place, instruction, offset in product(PLACES, (*ACCESSES, *ORDERED, *ZERO), (0, 1, 4, 8, -3)):
        yield with_control_bit(place, instruction, offset, strict=0)
    for place, instruction, offset in product(PLACES, (*ACCESSES[::5], *ORDERED, *ZERO), (0, 1)):
        yield with_control_bit(place, instruction, offset, strict=2)


def across_pages() -> Iterator[Case]:
    """The second of two pages cannot be read, written, or is not there; or the first."""
    second = {
        "there": leaf(BOUNDARY, 3, LEAF),
        "gone": 0,
        "read-only": leaf(BOUNDARY, 3, LEAF | READ_ONLY),
        "no-af": leaf(BOUNDARY, 3, LEAF & ~AF),
        "privileged": leaf(BOUNDARY, 3, AF | INNER),
    }
    for (name, descriptor), (place, (level, _)), offset in product(
        second.items(), (("el0", (0, True)), ("el1", (1, True))), (0, 1, 4, 7, 8, 15)
    ):
        for number, instruction in enumerate(ACCESSES):
            if "ld2" in instruction or "prfm" in instruction:
                continue
            entries = {**stage1_entries(3), **stage1_entries(3, descriptor, where=WHERE + 0x1000)}
            body = [*load("x2", WHERE + 0x1000 - offset), instruction]
            yield Case(f"cross/{place}-{name}-{offset}-{number}", level, body, [*store(entries), *enable_stage1(1)])


def device_memory() -> Iterator[Case]:
    """Aligned accesses to memory that is mapped as Device."""
    for number, instruction in enumerate((*ACCESSES, *ORDERED)):
        if "ldur" in instruction:
            continue
        entries = stage1_entries(3, flags=LEAF | DEVICE)
        body = [*load("x2", WHERE + 0x40), instruction]
        yield Case(f"device/aligned-{number}", 1, body, [*store(entries), *enable_stage1(1)])


def exclusives() -> Iterator[Case]:
    pairs = (("ldxr x4, [x2]", "stxr w6, x3, [x2]"), ("ldaxr x4, [x2]", "stlxr w6, x3, [x2]"))
    narrow = (("ldxrb w4, [x2]", "stxrb w6, w3, [x2]"), ("ldxrh w4, [x2]", "stlxrh w6, w3, [x2]"))
    doubles = (("ldxp x4, x5, [x2]", "stxp w6, x3, x7, [x2]"), ("ldaxp w4, w5, [x2]", "stlxp w6, w3, w7, [x2]"))
    between = {
        "nothing": [],
        "clrex": ["clrex"],
        "same-value": ["ldr x9, [x2]", "str x9, [x2]"],
        "other-value": ["str x8, [x2]"],
        "other-place": ["str x8, [x2, #64]"],
        "load": ["ldr x9, [x2]"],
    }
    for (place, (level, normal)), (number, (first, last)), (name, instructions) in product(
        PLACES.items(), enumerate((*pairs, *narrow, *doubles)), between.items()
    ):
        body = [*load("x2", BOUNDARY), first, *instructions, last, "ldr x10, [x2]"]
        yield Case(f"exclusive/{place}-{name}-{number}", level, body, normal=normal)
        yield Case(
            f"exclusive/{place}-alone-{name}-{number}",
            level,
            [*load("x2", BOUNDARY), *instructions, last],
            normal=normal,
        )
    for place, (level, normal) in PLACES.items():
        place_in_memory = load("x2", BOUNDARY)
        body = [*place_in_memory, "ldxr x4, [x2]", "add x9, x2, #8", "stxr w6, x3, [x9]"]
        yield Case(f"exclusive/{place}-other-address", level, body, normal=normal)
        body = [*place_in_memory, "ldxr x4, [x2]", "stxr w6, w3, [x2]"]
        yield Case(f"exclusive/{place}-other-size", level, body, normal=normal)
        body = [*place_in_memory, "1: ldxr x4, [x2]", "add x4, x4, #1", "stxr w6, x4, [x2]", "cbnz w6, 1b"]
        yield Case(f"exclusive/{place}-increment", level, body, normal=normal)
        body = [*place_in_memory, "ldxr x4, [x2]", "stxr w6, x3, [x2]", "stxr w7, x3, [x2]"]
        yield Case(f"exclusive/{place}-twice", level, body, normal=normal)
        if level:
            eret = [f"mrs x9, currentel; orr x9, x9, #1; orr x9, x9, #0x3c0; msr spsr_el{level}, x9; adr x9, 1f"]
            body = [*place_in_memory, "ldxr x4, [x2]", *eret, f"msr elr_el{level}, x9", "eret", "1: stxr w6, x3, [x2]"]
            yield Case(f"exclusive/{place}-across-eret", level, body, normal=normal)


def program_counter() -> Iterator[Case]:
    for (place, (level, normal)), offset in product(PLACES.items(), (1, 2, 3)):
        for name, jump in (("br", "br x2"), ("blr", "blr x2"), ("ret", "ret x2")):
            body = ["adr x2, 1f", f"add x2, x2, #{offset}", jump, "1: nop"]
            yield Case(f"pc/{place}-{name}-{offset}", level, body, normal=normal)
    for place, (level, normal) in PLACES.items():
        for name, to in (
            ("nowhere", 1 << 41),
            ("device", 0x0900_0000),
            ("high", 1 << 52),
            ("top", 0xFFFF_FFFF_FFFF_0000),
        ):
            yield Case(f"pc/{place}-{name}", level, [*load("x2", to), "br x2"], normal=normal)


def cases() -> Iterator[Case]:
    yield from by_control_bit()
    yield from across_pages()
    yield from device_memory()
    yield from exclusives()
    yield from program_counter()
