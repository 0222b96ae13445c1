"""Places where something could be plugged in and nothing is."""

from __future__ import annotations

import struct

SLOT_BYTES = 0x200
# Magic, version of the interface, no device, vendor (Virtual I/O Device 1.1, 4.2.2).
SLOT = struct.pack("<4sII4s", b"virt", 1, 0, b"QEMU")


class EmptyVirtioSlots:
    """virtio-mmio transports without a device behind them, one every 0x200 bytes."""

    held = ()

    def __init__(self) -> None:
        self.values: dict[int, int] = {}

    def read(self, offset: int, size: int, secure: bool) -> int:
        at = offset % SLOT_BYTES
        return int.from_bytes(SLOT[at : at + size], "little")

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        """A slot without a device ignores writes."""


class EmptyPci:
    """PCIe space that nothing answers in: reads are all ones (PCI Express Base 2.3.2)."""

    held = ()

    def __init__(self) -> None:
        self.values: dict[int, int] = {}

    def read(self, offset: int, size: int, secure: bool) -> int:
        return (1 << size * 8) - 1

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        """Goes nowhere."""
