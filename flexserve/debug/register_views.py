"""Registers of core and devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.text import Text

from emulator.core import SYSTEM_REGISTERS
from emulator.debug import system_registers
from emulator.debug.devices import device_windows, find_window, read_device
from emulator.debug.fields import DecodedRegister
from emulator.debug.registers import read_registers

from .expressions import number
from .scene import Answer, Refused, Scene, Words, lines
from .styles import DIM, NAME

QUIET = ("PERIPHERAL_ID", "COMPONENT_ID", "IDENTIFICATION")  # registers that say nothing about a run


def show_registers(scene: Scene, words: Words) -> Answer:
    registers = read_registers(scene.machine.core)
    named = registers.named()
    if words:
        wanted = {word.lower().removeprefix("$") for word in words}
        if unknown := wanted - named.keys():
            raise Refused(f"no general register {sorted(unknown)[0]}; system registers: info system NAME")
        named = {name: value for name, value in named.items() if name in wanted}
    cells = [f"{name:>3} {value:#018x}" for name, value in named.items()]
    shown = lines(*("  ".join(cells[index : index + 4]) for index in range(0, len(cells), 4)))
    flags = Text(f"pstate {registers.pstate:#x} {registers.flags} {registers.place}")
    return Answer({**named, "pstate": registers.pstate}, (*shown, flags))


def show_vectors(scene: Scene, words: Words) -> Answer:
    wanted = [number(word.lower().lstrip("vq"), "vector register", least=0) for word in words] or list(range(32))
    if max(wanted) > 31:
        raise Refused("vector registers are v0 to v31")
    values = {f"v{index}": scene.machine.core.read_vector(index) for index in wanted}
    return Answer({name: f"{value:#x}" for name, value in values.items()},
                  lines(*(f"{name:>3} {value:#034x}" for name, value in values.items())))  # fmt: skip


def show_system(scene: Scene, words: Words) -> Answer:
    core = scene.machine.core
    if not words:
        found = system_registers.read_all(core)
        return Answer({"registers": [_as_data(one) for one in found]}, tuple(Text(str(one)) for one in found))
    found = ()
    for word in words:
        known = ("PSTATE", *SYSTEM_REGISTERS)
        matching = [name for name in known if name.startswith(word.upper())]
        if not matching:
            raise Refused(f"no system register begins with {word!r}; `info system` lists those that are known")
        found += tuple(system_registers.read(core, name) for name in matching)
    return Answer({"registers": [_as_data(one) for one in found]}, _field_lines(found))


def show_devices(scene: Scene, words: Words) -> Answer:
    machine = scene.machine
    if not words:
        windows = device_windows(machine)
        rows = [{"name": window.name, "base": window.base, "what": window.what} for window in windows]
        return Answer({"devices": rows}, lines(*(f"{one.name:11} {one.base:#010x}  {one.what}" for one in windows)))
    try:
        window = find_window(machine, words[0])
    except KeyError as error:
        raise Refused(str(error.args[0])) from None
    prefix = words[1].upper() if len(words) > 1 else ""
    found = [one for one in read_device(machine, window) if one.name.startswith(prefix)]
    if prefix and not found:
        raise Refused(
            f"{window.name} has no register that begins with {prefix}; `info device {window.name}` lists them"
        )
    telling = [one for one in found if prefix or (one.value and not one.name.startswith(QUIET))]
    data = {"device": window.name, "registers": [_as_data(one) for one in found]}
    shown = _field_lines(telling) if prefix else tuple(Text(str(one)) for one in telling)
    note = lines() if prefix else lines(f"({len(found) - len(telling)} more are zero or identification)")
    return Answer(data, (*shown, *note))


def _as_data(register: DecodedRegister) -> dict[str, object]:
    return asdict(register)


def _field_lines(registers: Sequence[DecodedRegister]) -> tuple[Text, ...]:
    """A line a field, as a manual would show it."""
    shown = []
    for register in registers:
        head = Text.assemble((register.name, NAME), f" = {register.value:#x}")
        shown.append(head.append(f"  {register.what}", DIM) if register.what else head)
        for field in register.fields:
            value = f"  {field.bits:>8} {field.name:<14} {field.value:#x}"
            shown.append(Text(value + (f"  {field.meaning}" if field.meaning else "")))
    return tuple(shown)
