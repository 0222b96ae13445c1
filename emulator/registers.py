"""Declared registers: every register of a device once, with offset, fields, access, reset value and reserved bits.

The declaration is what drives the device, prints the documentation and the C headers, and decodes traces. A bit that no
field declares is reserved: it reads as zero and ignores writes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias, TypeVar, cast, overload

WORD = 4  # bytes of the smallest register


class Access(enum.Enum):
    """What software may do with a field."""

    RW = "read/write"
    RO = "read-only"
    WO = "write-only"
    W1C = "write one to clear"
    W1S = "write one to set"


RW, RO, WO, W1C, W1S = Access.RW, Access.RO, Access.WO, Access.W1C, Access.W1S

FieldSpec: TypeAlias = tuple[int, int] | tuple[int, int, Access | type[enum.IntEnum]]


@dataclass(frozen=True)
class Field:
    """Bits ``msb`` down to ``lsb``; ``values`` names what they may hold."""

    msb: int
    lsb: int
    access: Access
    values: type[enum.IntEnum] | None = None

    @property
    def mask(self) -> int:
        """In place, as in the register."""
        return (2 << self.msb) - (1 << self.lsb)


class Holder(Protocol):
    """What a register's contents live in: a map from offset to value."""

    values: dict[int, int]


class View:
    """One register of one device, with what is in it. ``view["field"]`` reads and writes a field."""

    def __init__(self, register: Register, values: dict[int, int], index: int = 0) -> None:
        self.register = register
        self._values = values
        self._offset = register.at(index)

    def at(self, index: int) -> View:
        """Element ``index`` of a register that is repeated."""
        return View(self.register, self._values, index)

    @property
    def value(self) -> int:
        return self._values[self._offset]

    @value.setter
    def value(self, value: int) -> None:
        self._values[self._offset] = value

    def __getitem__(self, name: str) -> int:
        field = self.register.fields[name]
        return (self.value & field.mask) >> field.lsb

    def __setitem__(self, name: str, value: int) -> None:
        field = self.register.fields[name]
        self.value = self.value & ~field.mask | value << field.lsb & field.mask


Handler = TypeVar("Handler", bound=Callable[..., object])


class Register:
    """A register at ``offset``, or ``count`` of them every ``stride`` bytes.

    ``width`` is 32 or 64 bits; ``align`` makes the low bits of an address reserved; ``reset`` is one value or one for
    each element; ``protects``: a write changes who may reach what, and is traced; ``pops``: a read takes something out,
    so that a debugger must not. Without ``fields`` all bits are one field of the given ``access``.

    Handlers: ``on_write`` is called after the new contents are in place, with the bits that were written; ``on_read``
    gives the contents instead of what is stored. Both get the index as a last argument if ``count`` is above one.
    """

    def __init__(
        self,
        offset: int,
        *,
        fields: Mapping[str, FieldSpec] | None = None,
        reset: int | Sequence[int] = 0,
        access: Access = Access.RW,
        count: int = 1,
        stride: int = 0,
        width: int = 32,
        align: int = 1,
        protects: bool = False,
        pops: bool = False,
        what: str = "",
    ) -> None:
        self.offset = offset
        self.count = count
        self.stride = stride or width // 8
        self.width = width
        self.protects = protects
        self.pops = pops
        self.what = what
        self.name = ""
        self.access = access
        self.fields = {name: _field(spec, access) for name, spec in (fields or {}).items()}
        self.resets = tuple(reset) if isinstance(reset, Sequence) else (reset,) * count
        bits = self.fields.values() or [Field(width - 1, (align - 1).bit_length(), access)]
        self._masks = {kind: sum(field.mask for field in bits if field.access is kind) for kind in Access}
        self.declared = sum(field.mask for field in bits)
        self._check(list(bits))
        self.write_handler: Callable[..., object] | None = None
        self.read_handler: Callable[..., object] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, device: None, owner: type) -> Register: ...

    @overload
    def __get__(self, device: Holder, owner: type) -> View: ...

    def __get__(self, device: Holder | None, owner: type) -> Register | View:
        return self if device is None else View(self, device.values)

    def at(self, index: int) -> int:
        """Offset of element ``index``."""
        if not 0 <= index < self.count:
            raise IndexError(f"{self.name} has elements 0 to {self.count - 1}, not {index}")
        return self.offset + index * self.stride

    @property
    def readable(self) -> int:
        """Mask of the bits that read as what they hold."""
        return self.declared & ~self._masks[Access.WO]

    @property
    def writable(self) -> int:
        """Mask of the bits whose writes do something."""
        return self.declared & ~self._masks[Access.RO]

    @property
    def kept_by_part_write(self) -> int:
        """Mask of the bits that a write of the other half must present again to leave them as they are."""
        return self._masks[Access.RW]

    def merged(self, old: int, written: int) -> int:
        """New contents after a write. Write-only bits are for the handler and are not kept."""
        new = old & ~self._masks[Access.RW] | written & self._masks[Access.RW]
        new &= ~(written & self._masks[Access.W1C])
        return new | written & self._masks[Access.W1S]

    def on_write(self, handler: Handler) -> Handler:
        self.write_handler = handler
        return handler

    def on_read(self, handler: Handler) -> Handler:
        self.read_handler = handler
        return handler

    def _check(self, bits: list[Field]) -> None:
        inside = all(0 <= field.lsb <= field.msb < self.width for field in bits)
        if not inside or self.declared.bit_count() != sum(field.msb - field.lsb + 1 for field in bits):
            raise ValueError(f"register at {self.offset:#x}: fields overlap or do not fit in {self.width} bits")
        if len(self.resets) != self.count or self.offset % (self.width // 8):
            raise ValueError(f"register at {self.offset:#x}: one reset value for each element, aligned to its width")


def _field(spec: FieldSpec, access: Access) -> Field:
    if len(spec) == 2:
        return Field(spec[0], spec[1], access)
    if isinstance(spec[2], Access):
        return Field(spec[0], spec[1], spec[2])
    return Field(spec[0], spec[1], access, spec[2])


class RegisterMap:
    """A set of registers, or of a memory structure's words. ``prefix`` begins its names in C."""

    prefix: ClassVar[str]
    registers: ClassVar[tuple[Register, ...]] = ()
    _words: ClassVar[dict[int, tuple[Register, int]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = [member for base in cls.__mro__ for member in vars(base).values() if isinstance(member, Register)]
        cls.registers = tuple(sorted(found, key=lambda register: register.offset))
        cls._words = {}
        for register in cls.registers:
            for index in range(register.count):
                for offset in range(register.at(index), register.at(index) + register.width // 8, WORD):
                    if offset in cls._words:
                        raise ValueError(f"{cls.__name__}: {register.name} overlaps another register at {offset:#x}")
                    cls._words[offset] = (register, index)

    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        for register, index, offset in self.elements():
            self.values[offset] = register.resets[index]

    @classmethod
    def elements(cls) -> Iterator[tuple[Register, int, int]]:
        """Every register, element by element: (register, index, offset)."""
        for register in cls.registers:
            for index in range(register.count):
                yield register, index, register.at(index)

    @classmethod
    def find(cls, offset: int) -> tuple[Register, int] | None:
        """The register and index of the word that holds ``offset``; None: nothing is declared there."""
        return cls._words.get(offset // WORD * WORD)

    def load(self, register: Register, index: int) -> int:
        """What a read gives."""
        if register.read_handler is None:
            return self.values[register.at(index)] & register.readable
        arguments = (index,) if register.count > 1 else ()
        return cast("int", register.read_handler(self, *arguments)) & register.readable

    def peek(self, register: Register, index: int) -> int:
        """What a debugger sees: as `load`, but of a register that a read would change, what was last stored."""
        return self.values[register.at(index)] if register.pops else self.load(register, index)

    def store(self, register: Register, index: int, written: int) -> None:
        """Perform a write of the whole register."""
        offset = register.at(index)
        self.values[offset] = register.merged(self.values[offset], written)
        if register.write_handler is not None:
            arguments = (index,) if register.count > 1 else ()
            register.write_handler(self, written & register.writable, *arguments)
