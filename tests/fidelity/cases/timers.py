"""Timers: status by enable, mask and compare value, their interrupts, the virtual offset. No case depends on how much
time has passed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.fidelity.case import SCR, SCR_NS, Case, load, write
from tests.fidelity.cases.interrupts import PLACES, SCR_FIQ, SCR_IRQ, place
from tests.fidelity.controller import GICC, GICD, IAR, ISPENDR, Interrupt, program, reset

# Name of the control register, interrupt, the level that it belongs to.
TIMERS = {"cntp": ("el0", 30), "cntv": ("el0", 27), "cnthp": ("el2", 26), "cntps": ("el1", 29)}
PAST, FUTURE = 0, (1 << 64) - 1
ENABLE, MASKED = 1, 2
OFF = [f"msr {timer}_ctl_{suffix}, xzr" for timer, (suffix, _) in TIMERS.items()]
SCR_ST = 1 << 11


def arm(timer: str, control: int, compare: int, scratch: str = "x0") -> list[str]:
    suffix = TIMERS[timer][0]
    return [
        *load(scratch, compare), f"msr {timer}_cval_{suffix}, {scratch}",
        *load(scratch, control), f"msr {timer}_ctl_{suffix}, {scratch}", "isb",
    ]  # fmt: skip


def reaches(timer: str, level: int, normal: bool) -> bool:
    """Whether software there can program the timer."""
    if timer == "cnthp":
        return level >= 2
    if timer == "cntps":
        return level == 3 or (level == 1 and not normal)
    return level >= 1


def status() -> Iterator[Case]:
    for timer, control, compare, (level, normal) in product(TIMERS, range(8), (PAST, 1, FUTURE, 1 << 63), PLACES):
        if not reaches(timer, level, normal):
            continue
        suffix = TIMERS[timer][0]
        yield Case(
            f"timer/{timer}-ctl{control}-cval{compare:x}-{place(level, normal)}",
            level,
            [*arm(timer, control, compare, "x3"), f"mrs x1, {timer}_ctl_{suffix}", f"mrs x2, {timer}_cval_{suffix}"],
            cleanup=OFF,
            scr=SCR | SCR_ST | (SCR_NS if normal else 0),
        )


def value() -> Iterator[Case]:
    """TVAL counts down from what was written; bit 31 of it is the sign."""
    for timer, written in product(TIMERS, (0, 1, 0x7FFF_FFFF, 0x1000_0000, 0xFFFF_FFFF)):
        suffix = TIMERS[timer][0]
        body = [
            *load("x3", written), f"msr {timer}_tval_{suffix}, x3",
            "mov x4, #1", f"msr {timer}_ctl_{suffix}, x4", "isb",
            f"mrs x1, {timer}_ctl_{suffix}", f"mrs x2, {timer}_tval_{suffix}", "lsr x2, x2, #30", "mov x3, #0",
        ]  # fmt: skip
        if written != 0x7FFF_FFFF:  # due at once, or far away: else a slow host decides
            yield Case(f"timer/{timer}-tval{written:x}", 3, body, cleanup=OFF)


def interrupting() -> Iterator[Case]:
    for timer, group1, scr, (level, normal), masks in product(
        TIMERS, (False, True), (0, SCR_IRQ, SCR_FIQ), PLACES, (0, 0x3C0)
    ):
        number = TIMERS[timer][1]
        yield Case(
            f"timer/{timer}-group{int(group1)}-scr{scr:x}-{place(level, normal)}-daif{masks:x}",
            level,
            ["mov x1, #1", "mov x2, #2"],
            setup=[*reset(), *program([Interrupt(number, group1, pending=False)]), *arm(timer, ENABLE, PAST)],
            cleanup=[*OFF, *reset()],
            scr=SCR | scr | (SCR_NS if normal else 0),
            pstate=masks,
        )


def line() -> Iterator[Case]:
    """The interrupt is a level: it follows the timer, acknowledged or not."""
    for timer, (suffix, number) in TIMERS.items():
        setup = [*reset(), *program([Interrupt(number, False, pending=False)])]
        look = ["ldr w{}, [x10]", "mrs x{}, isr_el1"]

        def seen(first: int, look: list[str] = look) -> list[str]:
            return [text.format(first + index) for index, text in enumerate(look)]

        bases = [*load("x10", GICD + ISPENDR), *load("x11", GICC)]
        steps = {
            "off-again": [*arm(timer, 1, PAST, "x3"), *seen(12), f"msr {timer}_ctl_{suffix}, xzr", "isb", *seen(14)],
            "masked": [*arm(timer, 1, PAST, "x3"), *seen(12), *arm(timer, 3, PAST, "x3"), *seen(14)],
            "moved": [*arm(timer, 1, PAST, "x3"), *seen(12), *arm(timer, 1, FUTURE, "x3"), *seen(14)],
            "back": [*arm(timer, 1, FUTURE, "x3"), *seen(12), *arm(timer, 1, PAST, "x3"), *seen(14)],
            "acknowledged": [
                *arm(timer, 1, PAST, "x3"), f"ldr w1, [x11, #{IAR}]", *seen(12),
                f"msr {timer}_ctl_{suffix}, xzr", "isb", *seen(14), "str w1, [x11, #16]", *seen(16),
            ],
            "still-there": [
                *arm(timer, 1, PAST, "x3"), f"ldr w1, [x11, #{IAR}]", "str w1, [x11, #16]", *seen(12),
                f"ldr w2, [x11, #{IAR}]", *seen(14),
            ],
            "set-pending": ["mov w4, #-1", "str w4, [x10]", *seen(12), "str w4, [x10, #0x80]", *seen(14)],
        }  # fmt: skip
        for name, body in steps.items():
            yield Case(f"timer/{timer}-line-{name}", 3, [*bases, *body], setup, [*OFF, *reset()])


def offset() -> Iterator[Case]:
    """CNTVOFF_EL2 moves the virtual counter and timer, and nothing else."""
    for behind, compare in product(((1 << 64) - (1 << 40), 1 << 40, 0), (1 << 39, 1 << 41, (1 << 64) - (1 << 39))):
        body = [
            *write("CNTVOFF_EL2", behind, "x3"), *arm("cntv", ENABLE, compare, "x3"),
            *arm("cntp", ENABLE, compare, "x3"),
            "mrs x1, cntv_ctl_el0", "mrs x2, cntp_ctl_el0", "mrs x4, cntvct_el0", "lsr x4, x4, #38",
            "mrs x5, cntpct_el0", "lsr x5, x5, #38",
        ]  # fmt: skip
        for level in (2, 3):
            yield Case(f"timer/offset{behind:x}-cval{compare:x}-el{level}", level, body, cleanup=OFF)


def waiting() -> Iterator[Case]:
    """A WFI ends when the timer is due, masked or not."""
    for timer, (suffix, number) in TIMERS.items():
        setup = [*reset(), *program([Interrupt(number, False, pending=False)])]
        body = [
            "mov x3, #2000", f"msr {timer}_tval_{suffix}, x3", "mov x3, #1", f"msr {timer}_ctl_{suffix}, x3", "isb",
            "1: wfi", f"mrs x1, {timer}_ctl_{suffix}", "tbz x1, #2, 1b", "mov x2, #2", *load("x4", GICC),
            f"ldr w5, [x4, #{IAR}]",
        ]  # fmt: skip
        yield Case(f"wfi/{timer}", 3, body, setup, [*OFF, *reset()])


def cases() -> Iterator[Case]:
    yield from status()
    yield from value()
    yield from interrupting()
    yield from line()
    yield from offset()
    yield from waiting()
