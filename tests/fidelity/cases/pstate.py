"""PSTATE by its own instructions, stack pointers, hints, barriers, WFI and WFE that trap, and stray encodings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

from tests.fidelity.case import HCR_RW, SCR, SCR_NS, SCTLR_EL1, Case, load, write

NORMAL, SECURE = SCR | SCR_NS, SCR
PLACES = {
    "el0": (0, NORMAL),
    "s-el0": (0, SECURE),
    "el1": (1, NORMAL),
    "s-el1": (1, SECURE),
    "el2": (2, NORMAL),
    "el3": (3, NORMAL),
}
SEE = ["mrs x3, daif", "mrs x4, nzcv"]
SEE_PRIVILEGED = [*SEE, "mrs x5, spsel", "mrs x6, currentel"]
HINTS = (
    *("nop", "yield", "sev", "sevl", "hint #7", "hint #8", "hint #20", "hint #25", "hint #34", "hint #127"),
    *("dsb sy", "dsb ish", "dmb ld", "dmb oshst", "isb", "clrex", "dsb #0", "sb", "wfe"),
)


def state() -> Iterator[Case]:
    for place, (level, scr) in PLACES.items():
        see = SEE_PRIVILEGED if level else SEE[1:]
        for mask in range(16):
            for operation in ("daifset", "daifclr"):
                # Unmasked, an SError or interrupt would arrive: none is pending.
                yield Case(f"pstate/{place}-{operation}-{mask}", level, [f"msr {operation}, #{mask}", *see], scr=scr)
                if level == 0:
                    body = [f"msr {operation}, #{mask}", *SEE]
                    setup = write("SCTLR_EL1", SCTLR_EL1 | 1 << 9)
                    yield Case(f"pstate/{place}-uma-{operation}-{mask}", level, body, setup, scr=scr)
        for flags in range(16):
            body = [
                *load("x1", flags << 28),
                "msr nzcv, x1",
                "mrs x2, nzcv",
                "cset x3, hi",
                "cset x4, ge",
                "msr nzcv, xzr",
            ]
            yield Case(f"pstate/{place}-nzcv-{flags}", level, body, scr=scr)
        for value in (0, 1):
            body = [f"msr spsel, #{value}", "mov x1, sp", *see]
            yield Case(f"pstate/{place}-spsel-{value}", level, body, scr=scr)
            body = [f"mov x2, #{value}", "msr spsel, x2", "mov x1, sp", "add sp, sp, #16", *see]
            yield Case(f"pstate/{place}-spsel-register-{value}", level, body, scr=scr)
        if level:
            for own in (False, True):
                for name, body in (
                    ("read", ["mov x1, sp"]),
                    ("write", [*load("x1", 0x4A00_3000), "mov sp, x1", "mov x2, sp"]),
                    ("SP_EL0", ["mrs x1, sp_el0"]),
                    ("SP_EL0-write", ["mov x1, #0x50", "msr sp_el0, x1", "mov x2, sp"]),
                    ("switch", ["mov x1, sp", "msr spsel, #0", "mov x2, sp", "msr spsel, #1", "mov x3, sp"]),
                    ("push", ["sub sp, sp, #32", "str x5, [sp, #16]", "ldr x6, [sp, #16]"]),
                ):
                    yield Case(f"stack/{place}-{name}-own{own:d}", level, body, scr=scr, spsel=own)


def waiting() -> Iterator[Case]:
    """WFI and WFE where something traps them; untrapped they would wait."""
    traps = {
        "nTWI": write("SCTLR_EL1", SCTLR_EL1 & ~(1 << 16 | 1 << 18)),
        "HCR": write("HCR_EL2", HCR_RW | 1 << 13 | 1 << 14),
    }
    for (place, (level, scr)), (name, setup) in product(PLACES.items(), traps.items()):
        if (name == "nTWI" and level == 0) or (name == "HCR" and level < 2 and scr == NORMAL):
            yield Case(f"wait/{place}-wfi-{name}", level, ["wfi"], setup, scr=scr)
            both = [*setup, *write("HCR_EL2", HCR_RW | 1 << 13)]
            yield Case(f"wait/{place}-wfi-{name}-both", level, ["wfi"], both, scr=scr | 1 << 12)
    for place, (level, scr) in PLACES.items():
        if level < 3:
            yield Case(f"wait/{place}-wfi-SCR", level, ["wfi"], scr=scr | 1 << 12)
        if level == 0 and scr == NORMAL:
            setup = [*traps["nTWI"], *write("HCR_EL2", HCR_RW | 1 << 27)]
            yield Case(f"wait/{place}-wfi-nTWI-tge", level, ["wfi"], setup, scr=scr)


def calls_refused() -> Iterator[Case]:
    """SCR_EL3.SMD and HCE, HCR_EL2.HCD and TSC together."""
    for (place, (level, scr)), smd, hce in product(PLACES.items(), (0, 1 << 7), (0, 1 << 8)):
        for hcr in (0, 1 << 19, 1 << 29):
            for call in ("smc #5", "hvc #5"):
                if call == "hvc #5" and (level == 3 or scr == SECURE):
                    continue  # cases of their own
                bits = scr & ~(1 << 8) | smd | hce
                # EL1's and EL2's own vectors call EL3: with SMD they cannot, so such a case must not end there.
                if smd and level != 3:
                    continue
                name = f"call/{place}-{call[:3]}-smd{smd >> 7}-hce{hce >> 8}-hcr{hcr:#x}"
                yield Case(name, level, [call], write("HCR_EL2", HCR_RW | hcr), scr=bits)


def hints() -> Iterator[Case]:
    for (place, (level, scr)), hint in product(PLACES.items(), HINTS):
        name = hint.replace(" ", "-").replace("#", "")
        line = ".inst 0xd50330ff" if hint == "sb" else hint
        yield Case(f"hint/{place}-{name}", level, [line], scr=scr)


def stray_words() -> Iterator[Case]:
    """Words of the reserved, branch and system spaces that mean nothing, or very little."""
    random = Random(20261124)  # noqa: S311
    for number in range(400):
        word = random.getrandbits(32) & 0x1FFF_FFFF & ~0x1800_0000  # op0 of bits 28:25 is 00xx: reserved, SVE
        yield Case(f"stray/reserved-{number}-{word:08x}", 1, [f".inst {word:#010x}"])
    for number in range(400):
        word = 0xD400_0000 | random.getrandbits(24) & 0x00FF_FFFF  # exception generation
        if word & 0xE0_001F in (0x40_0000,):
            continue  # HLT: halting debug, semihosting
        yield Case(f"stray/exception-{number}-{word:08x}", 1, [f".inst {word:#010x}"])
    for number in range(400):
        word = 0xD500_0000 | random.getrandbits(20)  # hints, barriers, PSTATE, as far as nothing waits
        if word & 0xFFFF_FFFF in (0xD503_207F, 0xD503_205F):
            continue
        yield Case(f"stray/system-{number}-{word:08x}", 1, [f".inst {word:#010x}"])


def cases() -> Iterator[Case]:
    yield from state()
    yield from waiting()
    yield from calls_refused()
    yield from hints()
    yield from stray_words()
