"""Registers taken apart: a value as named fields, whoever declared them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class DecodedField:
    """Bits ``msb`` to ``lsb`` hold ``value``; ``meaning`` says it in words where the declaration has any."""

    name: str
    msb: int
    lsb: int
    value: int
    meaning: str = ""

    @property
    def bits(self) -> str:
        """As manuals write it: ``[3]``, ``[15:8]``."""
        return f"[{self.msb}:{self.lsb}]" if self.msb > self.lsb else f"[{self.lsb}]"

    def __str__(self) -> str:
        shown = f"{self.name}={self.value:#x}" if self.value > 9 else f"{self.name}={self.value}"
        return f"{shown} ({self.meaning})" if self.meaning else shown


@dataclass(frozen=True)
class DecodedRegister:
    """One register: its name, what it holds, ``width`` in bits, and its fields from the top bit down."""

    name: str
    value: int
    width: int
    fields: tuple[DecodedField, ...]
    what: str = ""

    def __str__(self) -> str:
        """One line: zero fields that mean nothing in particular are left out."""
        shown = [str(field) for field in self.fields if field.value or field.meaning]
        return " ".join([f"{self.name} = {self.value:#x}", *shown])


def by_position(fields: Iterable[DecodedField]) -> tuple[DecodedField, ...]:
    """From the top bit down."""
    return tuple(sorted(fields, key=lambda field: -field.lsb))


def cut(value: int, msb: int, lsb: int) -> int:
    return value >> lsb & (1 << (msb - lsb + 1)) - 1
