"""Addresses and numbers as a debugger's user writes them."""

from __future__ import annotations

import re

from emulator.core import SYSTEM_REGISTERS
from emulator.debug.registers import read_registers
from emulator.memory_map import DRAM_BASE, PAGE_SIZE

from .scene import Refused, Scene

_TERM = re.compile(r"\s*([+-])?\s*([^\s+-]+)")
_LINE = re.compile(r"(.+\.[chS]):(\d+)")
_MASK = (1 << 64) - 1


def evaluate(scene: Scene, text: str) -> int:
    """A sum of numbers, registers (``x0``, ``$sp``, ``elr_el3``), symbols (``mem_lock``, ``monitor:mem_lock``).

    Raises Refused naming the part that means nothing.
    """
    total, position = 0, 0
    while position < len(text.rstrip()):
        match = _TERM.match(text, position)
        if match is None or (position and not match[1]):
            raise Refused(f"{text!r} is no address: write numbers, registers and symbols with + and - between them")
        value = _term(scene, match[2])
        total += -value if match[1] == "-" else value
        position = match.end()
    if not position:
        raise Refused("an address is missing")
    return total & _MASK


def places(scene: Scene, text: str) -> tuple[int, ...]:
    """Where a breakpoint belongs: every place that a symbol or ``FILE:LINE`` has, or one address."""
    if match := _LINE.fullmatch(text):
        found = scene.sources.addresses_of_line(match[1], int(match[2]))
        if not found:
            raise Refused(f"no code comes from {text}; files are named as in `list`, such as flexmem.c:60")
        return found
    named = scene.sources.addresses_of_symbol(text.removeprefix("*"))
    return named or (evaluate(scene, text.removeprefix("*")),)


def page_address(scene: Scene, text: str) -> int:
    """Physical address of a page of DRAM: by an address in it, or by its number from the start of DRAM."""
    value, layout = evaluate(scene, text), scene.machine.layout
    if value < layout.pages:
        return DRAM_BASE + value * PAGE_SIZE
    if not DRAM_BASE <= value < layout.end:
        raise Refused(
            f"{value:#x} is no page of DRAM: give an address from {DRAM_BASE:#x} up to {layout.end:#x},"
            f" or a page's number below {layout.pages}"
        )
    return value & ~(PAGE_SIZE - 1)


def number(text: str, what: str, *, least: int = 1) -> int:
    """A plain count. Raises Refused."""
    try:
        value = int(text, 0)
    except ValueError:
        raise Refused(f"{what} {text!r} is no number") from None
    if not least <= value <= _MASK:
        raise Refused(f"{what} is {least} or more, and fits in 64 bits; not {value}")
    return value


def _term(scene: Scene, word: str) -> int:
    name = word.removeprefix("$")
    try:
        return int(name, 0)
    except ValueError:
        pass
    registers = read_registers(scene.machine.core).named()
    if name.lower() in registers:
        return registers[name.lower()]
    if name.upper() in SYSTEM_REGISTERS:
        return scene.machine.core.read_sysreg(name.upper())
    found = scene.sources.addresses_of_symbol(name)
    if not found:
        raise Refused(f"{word!r} is no number, register or symbol")
    if len(found) > 1:
        images = ", ".join(sorted({scene.sources.name_at(place) or hex(place) for place in found}))
        raise Refused(f"{word!r} is more than one place: {images}")
    return found[0]
