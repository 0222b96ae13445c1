"""The GICv2: what its registers read as in each view, and sequences of acknowledging, ending, pending and masking."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import Case, load
from tests.fidelity.controller import (
    ABPR,
    APR,
    BPR,
    C_CTLR,
    CPENDSGIR,
    D_CTLR,
    EOIR,
    GICC,
    GICD,
    HPPIR,
    IAR,
    ICACTIVER,
    ICENABLER,
    ICFGR,
    ICPENDR,
    IGROUPR,
    IPRIORITYR,
    ISACTIVER,
    ISENABLER,
    ISPENDR,
    ITARGETSR,
    NSAPR,
    PMR,
    RPR,
    SGIR,
    SPENDSGIR,
    Interrupt,
    program,
    reset,
    stores,
    to_self,
)

VIEWS = {"s-el3": (3, True), "s-el1": (1, False), "n-el1": (1, True), "n-el2": (2, True)}
REGISTERS_A_CASE = 24
NORMAL_SGI = [Interrupt(7, True, 0xB0, pending=False)]
SEQUENCES = 1500
STEPS = 11
IDS = (1, 2, 14, 33, 34, 40, 63)
PRIORITIES = (0x00, 0x20, 0x60, 0x90, 0xA0, 0xA4, 0xE0)
ARRAYS = (
    IGROUPR, ISENABLER, ICENABLER, ISPENDR, ICPENDR, ISACTIVER, ICACTIVER, IPRIORITYR, ITARGETSR, ICFGR, CPENDSGIR,
    SPENDSGIR,
)  # fmt: skip
# Both groups, every state, three priorities.
MIXED = [
    Interrupt(number, number % 2 == 1, 0x20 * (number % 8), number % 3 == 0, number % 5 != 0) for number in range(64)
]


def look(base: int, offsets: list[int]) -> list[str]:
    """Into w1, w2 and on."""
    lines = load("x0", base)
    for index, offset in enumerate(offsets):
        lines += [*load("x30", offset), f"ldr w{index + 1}, [x0, x30]"]
    return lines


def contents() -> Iterator[Case]:
    """Everything there is to read, out of reset and with something in it."""
    frames = {"gicd": (GICD, [*range(0, 0x1000, 4)]), "gicc": (GICC, [*range(0, 0x100, 4)])}
    states = {"reset": reset(), "mixed": [*reset(), *program(MIXED, control=0, mask=0x98)]}
    for (state, setup), (view, (level, normal)), (frame, (base, offsets)) in product(
        states.items(), VIEWS.items(), frames.items()
    ):
        for first in range(0, len(offsets), REGISTERS_A_CASE):
            some = offsets[first : first + REGISTERS_A_CASE]
            name = f"gic/{state}-{view}-{frame}-{some[0]:x}"
            yield Case(name, level, look(base, some), setup, reset(), normal=normal)


def written() -> Iterator[Case]:
    """A write, and what it leaves in all arrays."""
    for array, word, value, (view, (level, normal)) in product(
        ARRAYS, (0, 4), (0, 0xFFFF_FFFF, 0x5A5A_A5A5, 0x0101_0101), VIEWS.items()
    ):
        body = [*stores(GICD, {array + word: value}), *look(GICD, [other + word for other in ARRAYS])]
        setup = [*reset(), *program(MIXED, control=0)]
        yield Case(f"gic/write-{array + word:x}-{value:x}-{view}", level, body, setup, reset(), normal=normal)
    for array, byte, (view, (level, normal)) in product(
        (IPRIORITYR, ITARGETSR, CPENDSGIR, SPENDSGIR), range(8), VIEWS.items()
    ):
        body = [
            *load("x0", GICD + array + byte), "mov w1, #0x9d", "strb w1, [x0]", "ldrb w2, [x0]", "and x3, x0, #~3",
            "ldr w4, [x3]",
        ]  # fmt: skip
        setup = [*reset(), *program(MIXED, control=0)]
        yield Case(f"gic/byte-{array + byte:x}-{view}", level, body, setup, reset(), normal=normal)
    interface = [C_CTLR, PMR, BPR, ABPR, APR, APR + 4, APR + 8, APR + 12, NSAPR, NSAPR + 8, RPR, HPPIR]
    for offset, value, control, mask, (view, (level, normal)) in product(
        interface[:10], (0, 0xFFFF_FFFF, 0x5, 0x92), (0, 0x10, 0x61F), (0x40, 0xF0), VIEWS.items()
    ):
        body = [*stores(GICC, {offset: value}), *look(GICC, interface)]
        setup = [*reset(), *program([], control=control, mask=mask)]
        name = f"gic/write-gicc-{offset:x}-{value:x}-{control:x}-{mask:x}-{view}"
        yield Case(name, level, body, setup, reset(), normal=normal)


def sgi() -> Iterator[Case]:
    """GICD_SGIR by target filter, group and who asks; and for another group than the SGI has."""
    for group1, normal in product((False, True), (False, True)):
        value = to_self(5, not group1)
        body = [*stores(GICD, {SGIR: value}), *look(GICD, [ISPENDR])]
        setup = [*reset(), *program([Interrupt(5, group1, pending=False)], control=0)]
        name = f"gic/sgi-of-another-group-{int(group1)}-{'n' if normal else 's'}-el1"
        yield Case(name, 1, body, setup, reset(), normal=normal)
    for targets, kind, number, group1, (view, (level, normal)) in product(
        (0, 1, 2, 0xFF), (0, 1, 2), (0, 5, 15), (False, True), VIEWS.items()
    ):
        nsatt = int(group1) << 15 if not normal or level == 3 else 0
        value = targets << 16 | kind << 24 | nsatt | number
        body = [*stores(GICD, {SGIR: value}), *look(GICD, [ISPENDR, SPENDSGIR, SPENDSGIR + 4, SPENDSGIR + 12])]
        setup = [*reset(), *program([Interrupt(number, group1, pending=False)], control=0)]
        name = f"gic/sgi{number}-group{int(group1)}-filter{kind}-targets{targets:x}-{view}"
        yield Case(name, level, body, setup, reset(), normal=normal)


def step(choose: random.Random, register: int, generated: Interrupt) -> list[str]:
    """One access; x10 is the distributor, x11 the interface; what it reads goes into ``register``."""
    number = choose.choice(IDS)
    word, bit = number // 32 * 4, 1 << number % 32
    return choose.choices(
        [
            [f"ldr w{register}, [x11, #{IAR}]", f"mov w9, w{register}"],
            [f"str w9, [x11, #{EOIR}]"],
            [*load("x8", number), f"str w8, [x11, #{EOIR}]"],
            [f"ldr w{register}, [x11, #{HPPIR}]"],
            [f"ldr w{register}, [x11, #{RPR}]"],
            [f"mrs x{register}, isr_el1"],
            [*load("x8", choose.choice((0x10, 0x50, 0x90, 0xD0, 0xFF))), f"str w8, [x11, #{PMR}]"],
            [*load("x8", bit), f"str w8, [x10, #{choose.choice((ISPENDR, ICPENDR)) + word}]"],
            [*load("x8", to_self(generated.id, generated.group1)), f"str w8, [x10, #{SGIR}]"],
            ["add x12, x11, #0x1000", "str w9, [x12]"],
            [f"ldr w{register}, [x11, #{APR + choose.randrange(8) * 4}]"],
            [f"ldr w{register}, [x10, #{choose.choice((ISPENDR, ISACTIVER)) + word}]"],
            [*load("x8", choose.randrange(8)), f"str w8, [x11, #{BPR}]"],
            [*load("x8", choose.choice((0x20, 0x60, 0xA0, 0xE0))), f"strb w8, [x10, #{IPRIORITYR + number}]"],
            [*load("x8", choose.choice((1, 3, 0x201, 0x20F, 0x60F))), f"str w8, [x11, #{C_CTLR}]"],
            [*load("x8", choose.choice((0, 1, 2, 3))), f"str w8, [x10, #{D_CTLR}]"],
        ],
        weights=[10, 6, 1, 4, 4, 4, 2, 4, 2, 2, 3, 4, 1, 2, 1, 1],
    )[0]


def sequences() -> Iterator[Case]:
    """Accesses in a random order, in one view; no interrupt is taken."""
    for seed in range(SEQUENCES):
        choose = random.Random(seed)  # noqa: S311
        view = choose.choice([*VIEWS])
        level, normal = VIEWS[view]
        some = NORMAL_SGI + [
            Interrupt(number, choose.random() < 0.6, choose.choice(PRIORITIES), choose.random() < 0.6) for number in IDS
        ]
        control = choose.choice((0x0F, 0x07, 0x0B, 0x03, 0x1F, 0x20F, 0x60F, 0x61F))
        more = {BPR: choose.randrange(5), ABPR: choose.randrange(1, 6)}
        setup = [*reset(), *program(some, control=control, mask=choose.choice((0xFF, 0xF0, 0xC0)), more=more)]
        body = [*load("x10", GICD), *load("x11", GICC), "mov w9, #1023"]
        generated = choose.choice([one for one in some if one.id < 16 and (one.group1 or "s-" in view)])
        for index in range(STEPS):
            body += step(choose, 13 + index, generated)
        body += [f"ldr w{25 + index}, [x11, #{offset}]" for index, offset in enumerate((HPPIR, RPR, APR, NSAPR + 8))]
        body += ["mrs x29, isr_el1", f"ldr w30, [x10, #{ISACTIVER + 4}]"]
        yield Case(f"gic/sequence-{view}-{seed}", level, body, setup, reset(), normal=normal)


def cases() -> Iterator[Case]:
    yield from contents()
    yield from written()
    yield from sgi()
    yield from sequences()
