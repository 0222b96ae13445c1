"""The GIC's virtual interface: list registers, a guest's acknowledging and ending, maintenance, delivery to EL1."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import DAIF, HCR_RW, Case, load, write
from tests.fidelity.cases.gic import look
from tests.fidelity.controller import (
    ABPR,
    BPR,
    C_CTLR,
    EOIR,
    GICD,
    HPPIR,
    IAR,
    ISACTIVER,
    ISPENDR,
    PMR,
    RPR,
    Interrupt,
    program,
    reset,
    stores,
)

GICH, GICV = 0x0803_0000, 0x0804_0000
HCR, VTR, VMCR, MISR, EISR, ELRSR, H_APR, LR = 0x0, 0x4, 0x8, 0x10, 0x20, 0x30, 0xF0, 0x100
LIST_REGISTERS = 4
SHOWN = [HCR, VTR, VMCR, MISR, EISR, EISR + 4, ELRSR, ELRSR + 4, H_APR, *range(LR, LR + 16, 4)]
GUEST_SHOWN = [C_CTLR, PMR, BPR, RPR, HPPIR, ABPR, 0xD0, 0xFC]
ENABLE = 1
GROUP1, HARDWARE, PENDING, ACTIVE, END_ASKED = 1 << 30, 1 << 31, 1 << 28, 1 << 29, 1 << 19
FMO, IMO = 1 << 3, 1 << 4
VIRTUAL_IDS = (3, 7, 40, 41)
STATES = (0, PENDING, PENDING | GROUP1, PENDING | GROUP1, ACTIVE, PENDING | END_ASKED, PENDING | HARDWARE | 40 << 10)
SEQUENCES = 1000
STEPS = 9


def entry(number: int, priority: int, more: int) -> int:
    return number | priority << 23 | more


def guest_control(control: int, mask: int = 0x1F, points: tuple[int, int] = (2, 3)) -> int:
    """GICH_VMCR."""
    return control | points[1] << 18 | points[0] << 21 | mask << 27


def contents() -> Iterator[Case]:
    values = (0, 0xFFFF_FFFF, 0x5A5A_A5A5, 0xA5A5_5A5A, 0x1234_5678)
    for register, value, level in product((HCR, VTR, VMCR, MISR, EISR, H_APR, LR, LR + 12), values, (2, 3)):
        body = [*stores(GICH, {register: value}), *look(GICH, SHOWN)]
        yield Case(f"gich/write-{register:x}-{value:x}-el{level}", level, body, reset(), reset())
    for register, value in product((C_CTLR, PMR, BPR, ABPR, 0xD0), values):
        body = [*stores(GICV, {register: value}), *look(GICV, GUEST_SHOWN), *load("x20", GICH + VMCR), "ldr w20, [x20]"]
        yield Case(f"gicv/write-{register:x}-{value:x}", 1, body, reset(), reset())
    for state, more in product((0, PENDING, ACTIVE, PENDING | ACTIVE), (0, END_ASKED, HARDWARE, GROUP1)):
        lists = {LR: entry(5, 4, state | more), LR + 4: entry(6, 3, PENDING), HCR: 0xFF}
        body = [*stores(GICH, lists), *look(GICH, SHOWN)]
        yield Case(f"gich/list-{state | more:x}", 2, body, reset(), reset())


def delivery() -> Iterator[Case]:
    """From a list register into EL1, by group, control, mask and HCR_EL2."""
    places = ((0, True), (1, True), (2, True), (1, False))
    for group, control, routes, mask, (level, normal) in product(
        (0, GROUP1), (0, 1, 2, 3, 0xB), (0, IMO, FMO, IMO | FMO), (0x1F, 4), places
    ):
        setup = [
            *reset(),
            *stores(GICH, {VMCR: guest_control(control, mask), LR: entry(40, 4, PENDING | group), HCR: ENABLE}),
            *write("HCR_EL2", HCR_RW | routes),
        ]
        place = f"{'n' if normal else 's'}-el{level}"
        name = f"virtual/list-{group:x}-control{control:x}-hcr{routes:x}-mask{mask:x}-{place}"
        yield Case(name, level, ["mov x1, #1", "mov x2, #2"], setup, reset(), normal=normal, pstate=0)


def step(choose: random.Random, register: int) -> list[str]:
    """One access; x10 is GICH, x11 GICV, x12 GICD; what it reads goes into ``register``."""
    number = choose.choice(VIRTUAL_IDS)
    slot = LR + VIRTUAL_IDS.index(number) * 4  # no identifier twice: that is UNPREDICTABLE
    fresh = entry(number, choose.randrange(8), choose.choice((PENDING, PENDING | GROUP1, PENDING | END_ASKED, 0)))
    return choose.choices(
        [
            [f"ldr w{register}, [x11, #{IAR}]", f"mov w9, w{register}"],
            [f"str w9, [x11, #{EOIR}]"],
            [*load("x8", number), f"str w8, [x11, #{EOIR}]"],
            [f"ldr w{register}, [x11, #{HPPIR}]"],
            [f"ldr w{register}, [x11, #{RPR}]"],
            [f"mrs x{register}, isr_el1"],
            [f"ldr w{register}, [x10, #{choose.choice((MISR, EISR, ELRSR, H_APR, slot))}]"],
            [*load("x8", fresh), f"str w8, [x10, #{slot}]"],
            ["add x7, x11, #0x1000", "str w9, [x7]"],
            [*load("x8", choose.choice((1, 3, 0x203, 0xF, 0x20F))), f"str w8, [x11, #{C_CTLR}]"],
            [f"ldr w{register}, [x12, #{ISPENDR}]"],
        ],
        weights=[8, 6, 2, 3, 3, 3, 5, 3, 3, 1, 2],
    )[0]


def sequences() -> Iterator[Case]:
    """Accesses in a random order at EL1 or EL2; no interrupt is taken."""
    for seed in range(SEQUENCES):
        choose = random.Random(seed)  # noqa: S311
        level = choose.choice((1, 2))
        lists = [entry(number, choose.randrange(12), choose.choice(STATES)) for number in VIRTUAL_IDS]
        control = choose.choice((1, 3, 7, 0xF, 0x203, 0x207, 0x20F, 0x1F))
        points = (choose.randrange(2, 5), choose.randrange(3, 6))
        registers = {
            VMCR: guest_control(control, choose.choice((0x1F, 0x1F, 0x8)), points),
            HCR: ENABLE | choose.randrange(256),
            **{LR + 4 * index: value for index, value in enumerate(lists)},
        }
        setup = [
            *reset(),
            *program([Interrupt(25, pending=False), Interrupt(40, pending=False)], control=0),
            *stores(GICD, {ISACTIVER + 4: 1 << 8}),
            *stores(GICH, registers),
            *write("HCR_EL2", HCR_RW | IMO | FMO),
        ]
        body = [*load("x10", GICH), *load("x11", GICV), *load("x12", GICD), "mov w9, #1023"]
        for index in range(STEPS):
            body += step(choose, 13 + index)
        shown = (HCR, MISR, H_APR, LR, LR + 4, LR + 8, LR + 12)
        body += [f"ldr w{22 + index}, [x10, #{offset}]" for index, offset in enumerate(shown)]
        body += ["mrs x29, isr_el1", f"ldr w30, [x12, #{ISACTIVER + 4}]"]
        yield Case(f"gicv/sequence-el{level}-{seed}", level, body, setup, reset(), pstate=DAIF)


def cases() -> Iterator[Case]:
    yield from contents()
    yield from delivery()
    yield from sequences()
