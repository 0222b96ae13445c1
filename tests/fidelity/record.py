"""The record that harness.S leaves of a case: words by name, and where two of them differ."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

WORDS = (
    "vector",  # level and offset of the EL3 vector; what EL1's and EL2's say is in ESR_EL3's immediate
    "pstate",  # at that vector
    *(f"x{number}" for number in range(31)),
    *("SP_EL0", "SP_EL1", "SP_EL2"),
    *(f"{name}_EL{level}" for name in ("ESR", "ELR", "SPSR", "FAR") for level in (1, 2, 3)),
    *("HPFAR_EL2", "PAR_EL1", "SP_EL3", "q0[0]", "q0[1]", "q1[0]", "q1[1]"),
    *(f"data[{offset:+d}]" for offset in range(-64, 64, 8)),  # bytes from BOUNDARY
)
RECORD_BYTES = len(WORDS) * 8


@dataclass(frozen=True, order=True)
class Difference:
    """A word of a case's record that is not the same on both."""

    case: str
    word: str
    ours: int
    qemu: int

    def __str__(self) -> str:
        return f"{self.case}: {self.word} is {self.ours:#x} here and {self.qemu:#x} on QEMU"


def parse(records: bytes) -> list[tuple[int, ...]]:
    """One tuple of words a case. Raises ValueError when the last record is cut off."""
    if len(records) % RECORD_BYTES:
        raise ValueError(f"{len(records)} bytes are not whole records of {RECORD_BYTES}")
    return list(struct.iter_unpack(f"<{len(WORDS)}Q", records))


def compare(names: Sequence[str], ours: bytes, qemu: bytes) -> list[Difference]:
    """Every differing word, in the order of the cases. Raises ValueError unless both have a record for every case."""
    pairs = zip(names, parse(ours), parse(qemu), strict=True)
    return [
        Difference(name, word, here, there)
        for name, mine, theirs in pairs
        for word, here, there in zip(WORDS, mine, theirs, strict=True)
        if here != there
    ]
