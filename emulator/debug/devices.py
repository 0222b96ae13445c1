"""Devices' registers by field, as they stand, without what reading them through the bus would do."""

from __future__ import annotations

from emulator.debug.fields import DecodedField, DecodedRegister, by_position, cut
from emulator.machine import Machine
from emulator.memory_map import Window
from emulator.registers import Access, Field, Register, RegisterMap


def device_windows(machine: Machine) -> tuple[Window, ...]:
    """The devices that have declared registers."""
    return tuple(window for window, device in machine.devices if isinstance(device, RegisterMap))


def find_window(machine: Machine, name: str) -> Window:
    """A device by its name, or the beginning of it. Raises KeyError naming the devices that there are."""
    windows = device_windows(machine)
    begun = [window for window in windows if window.name.lower().startswith(name.lower())]
    found = [window for window in begun if window.name.lower() == name.lower()] or begun
    if len(found) == 1:
        return found[0]
    if found:
        raise KeyError(f"{name!r} may be {' or '.join(window.name for window in found)}")
    raise KeyError(f"no device {name!r}: there are {', '.join(window.name for window in windows)}")


def read_device(machine: Machine, window: Window) -> tuple[DecodedRegister, ...]:
    """Every register that holds something, element by element."""
    device = next(device for place, device in machine.devices if place == window)
    if not isinstance(device, RegisterMap):
        return ()
    found = []
    for register, index, _ in device.elements():
        if register.access is not Access.WO:
            found.append(decode(register, index, device.peek(register, index)))
    return tuple(found)


def decode(register: Register, index: int, value: int) -> DecodedRegister:
    """Take a register's value apart by its declaration."""
    name = f"{register.name}({index})" if register.count > 1 else register.name
    fields = [_field(field_name, field, value) for field_name, field in register.fields.items()]
    return DecodedRegister(name, value, register.width, by_position(fields), register.what)


def _field(name: str, field: Field, value: int) -> DecodedField:
    held = cut(value, field.msb, field.lsb)
    names = {int(member): member.name for member in field.values or ()}
    return DecodedField(name, field.msb, field.lsb, held, names.get(held, ""))
