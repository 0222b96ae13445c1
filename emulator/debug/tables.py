"""The arithmetic of translation tables (Arm ARM D8.2, D8.3): granules of 4 and 64 KiB, levels, descriptors."""

from __future__ import annotations

from dataclasses import dataclass

ADDRESS = 0x0000_FFFF_FFFF_F000
SMALL, LARGE = 12, 16  # log2 of the granules that a Cortex-A72 has
OUTPUT_BITS = (32, 36, 40, 42, 44, 44, 44, 44)  # by TCR.PS; no more than a Cortex-A72 has

_TABLE_BITS = (("NSTable", 63), ("read-only", 62), ("no EL0", 61), ("UXNTable", 60), ("PXNTable", 59))


@dataclass(frozen=True)
class Table:
    """Where a walk begins; ``granule``: log2 of its bytes; ``start``: its first level."""

    base: int
    granule: int
    input_bits: int
    start: int
    output_bits: int

    def shift(self, level: int) -> int:
        """log2 of what one entry at ``level`` covers."""
        return self.granule + (self.granule - 3) * (3 - level)

    def entry(self, base: int, level: int, address: int) -> int:
        """Where the descriptor of ``address`` is in the table at ``base``. A first table need not fill a granule."""
        shift = self.shift(level)
        bits = self.input_bits - shift if level == self.start else self.granule - 3
        return base & (1 << 48) - 1 & ~((8 << bits) - 1) | (address >> shift & (1 << bits) - 1) << 3

    def output(self, descriptor: int, level: int, address: int) -> int:
        """Where a leaf takes ``address``."""
        inside = (1 << self.shift(level)) - 1
        return descriptor & ADDRESS & ~inside | address & inside

    def is_too_wide(self, address: int) -> bool:
        return bool(address & ADDRESS & ~((1 << self.output_bits) - 1))

    def fault(self, descriptor: int, level: int) -> str:
        """What is wrong with a descriptor, if anything is, in the order of the checks."""
        is_block = not descriptor & 2
        first_block = 1 if self.granule == SMALL else 2
        if not descriptor & 1 or (is_block and (level < first_block or level == 3)):
            return "invalid: translation fault"
        if self.is_too_wide(descriptor):
            return "address size fault"
        return "AF = 0: access flag fault" if is_leaf(descriptor, level) and not descriptor >> 10 & 1 else ""


def is_leaf(descriptor: int, level: int) -> bool:
    return level == 3 or not descriptor & 2


def first_level(granule: int, input_bits: int) -> int:
    """Where stage 1 begins."""
    return 4 - -(-(input_bits - granule) // (granule - 3))


def granule_of(encoding: int, encoding_of_64k: int) -> int:
    """TG0 or TG1; 16 KiB is not there and behaves as 4 KiB."""
    return LARGE if encoding == encoding_of_64k else SMALL


def size_in_range(size: int) -> bool:
    """TnSZ; out of range is a translation fault."""
    return 16 <= size <= 39


def stage1_bits(descriptor: int, tables: int, *, two_privileges: bool) -> str:
    """A leaf's permissions, and those that the ``tables`` above it take away."""
    words = ["read-only" if descriptor >> 7 & 1 else "read/write"]
    if two_privileges:
        words.append("EL0 too" if descriptor >> 6 & 1 else "EL1 only")
        words += [name for name, bit in (("PXN", 53), ("UXN", 54)) if descriptor >> bit & 1]
    elif descriptor >> 54 & 1:
        words.append("XN")
    words.append(f"NS={descriptor >> 5 & 1}")
    above = [name for name, bit in _TABLE_BITS if tables >> bit & 1]
    return ", ".join(words) + (f" (tables above: {' '.join(above)})" if above else "")
