"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import SupportsInt

from monitor.hardware import Hardware

MOST_NAMED = 4  # of many things that break a rule in the same way


@dataclass(frozen=True)
class Rule:
    """One thing that must hold whenever EL3 has been left.

    ``check`` says how it is broken. It looks at nothing but the layout and what ``looks_at`` names: parts of
    `monitor.hardware.Raw`, and "before". ``serves``: numbers of docs/security.md's invariants.
    """

    what: str
    check: Callable[[Hardware], Iterable[str]]
    serves: tuple[int, ...]
    looks_at: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.check.__name__


def differing(found: Mapping[str, int], wanted: Mapping[str, int]) -> Iterable[str]:
    """Registers, or whatever has a name and a value."""
    return [f"{name} is {found[name]:#x}, not {value:#x}" for name, value in wanted.items() if found[name] != value]


def named(addresses: Iterable[SupportsInt], what: str) -> list[str]:
    """``what`` has a place for an address, for the first few of them; and how many more there are."""
    said = [what.format(f"{int(address):#x}") for address in addresses]
    return said[:MOST_NAMED] + ([f"and {len(said) - MOST_NAMED} more"] if len(said) > MOST_NAMED else [])
