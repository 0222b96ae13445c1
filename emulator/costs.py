"""What a kernel's work costs in guest instructions: the one table behind every charge (guest time, not phone time).

The figures are those of a plain AArch64 implementation with Neon and the crypto extension: a 16-byte load and store a
turn, a dot product of 16 int8 pairs an instruction, one AES-GCM block in some 32 instructions.
"""

from __future__ import annotations

MIN_STAY = 200_000  # instructions that are worth a stay in the busy loop of their own: 0.2 ms of guest time
MAX_CHARGE = 8_000_000  # instructions of one stay in the busy loop, which interrupts may end at any instruction

PORT_ACCESS = 8  # address arithmetic and call around any port access
BYTES_PER_COPY = 16  # one LDP/STP pair
MMIO_ACCESS = 12  # a device access and its barrier
COUNTER_READ = 4  # ISB, MRS

BYTES_PER_SCAN = 16
BYTES_PER_FILL = 16
INSTRUCTIONS_PER_CIPHER_BLOCK = 32  # AES-256 rounds and one GHASH multiplication for 16 bytes
MACS_PER_INSTRUCTION = 16  # SDOT
INSTRUCTIONS_PER_TEXT_BYTE = 64  # tokenising: a merge queue's work
INSTRUCTIONS_PER_TRANSCENDENTAL = 24  # one exp or sine by polynomial


def copy(size: int) -> int:
    """Instructions to copy ``size`` bytes."""
    return PORT_ACCESS + _rounds(size, BYTES_PER_COPY)


def scan(size: int) -> int:
    """Instructions to compare ``size`` bytes with zero."""
    return PORT_ACCESS + _rounds(size, BYTES_PER_SCAN)


def fill(size: int) -> int:
    """Instructions to write ``size`` bytes of a pattern."""
    return PORT_ACCESS + _rounds(size, BYTES_PER_FILL)


def decrypt(size: int) -> int:
    """Instructions to authenticate and decrypt ``size`` bytes."""
    return PORT_ACCESS + INSTRUCTIONS_PER_CIPHER_BLOCK * _rounds(size, 16)


def _rounds(size: int, step: int) -> int:
    return -(-size // step)
