"""The trusted block: key fuses, random numbers, monotonic counters, provisioned model slots, and the power switch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emulator.memory_map import PAGE_SIZE, Window
from emulator.registers import RO, WO, Register

from .device import BusError, Device, EventSink

KEY_BYTES = 32
MODEL_ID_BYTES = 16
NAME_BYTES = 32
COUNTERS = 4
MAX_SLOTS = 16
COUNTER_MAX = (1 << 32) - 1

FUSE_DOMAIN = b"FlexServe device fuse key\0"
TRNG_DOMAIN = b"FlexServe TRNG\0"


def fuse_key(device_id: int) -> bytes:
    """The 32-byte key in the fuses of device ``device_id``: every device has its own."""
    return hashlib.sha256(FUSE_DOMAIN + device_id.to_bytes(8, "little")).digest()


@dataclass(frozen=True)
class Slot:
    """What a provisioned slot lets the secure world load: packages of one model, not older than a version."""

    name: str
    model_id: bytes
    minimum_version: int

    def __post_init__(self) -> None:
        if not 0 < len(self.name.encode()) <= NAME_BYTES:
            raise ValueError(f"slot name {self.name!r} is not 1 to {NAME_BYTES} bytes long in UTF-8: choose another")
        if len(self.model_id) != MODEL_ID_BYTES:
            raise ValueError(f"slot {self.name!r}: a model id has {MODEL_ID_BYTES} bytes, not {len(self.model_id)}")
        if not 0 <= self.minimum_version <= COUNTER_MAX:
            raise ValueError(f"slot {self.name!r}: minimum version {self.minimum_version} is not a 32-bit number")


class Trusted(Device):
    """Trusted block, of our own design: no public programmer's model of such a block exists.

    ``seed`` drives the random numbers only, ``device_id`` the fuses only. ``power_off`` is called by POWER_OFF. A reset
    is one to whoever switches the board on again: memory does not outlive it.
    """

    prefix = "TRUSTED"
    held = ("_blocks_drawn", "_random", "_counters", "resets")

    DRAM_PAGES = Register(0x000, access=RO, what="Pages of 4 KiB of DRAM on this board.")
    POWER_OFF = Register(
        0x004, access=WO, fields={"off": (0, 0), "reset": (1, 1)}, what="Switches the board off, for a reset as well."
    )
    TRNG_DATA = Register(0x008, access=RO, pops=True, what="Another 32 random bits at every read.")
    FUSE_KEY = Register(
        0x020, access=RO, count=KEY_BYTES // 4, what="The key, byte 0 in bits 7:0 of word 0. Bus error if non-secure."
    )
    COUNTER = Register(0x040, count=COUNTERS, what="A write of any value adds one; all ones stay.")
    SLOT_COUNT = Register(0x080, access=RO)
    SLOT_SELECT = Register(0x084, fields={"slot": (3, 0)}, what="Which slot the registers below show.")
    SLOT_VALID = Register(0x088, access=RO, fields={"valid": (0, 0)})
    SLOT_MIN_VERSION = Register(0x08C, access=RO, what="Older packages are to be refused.")
    SLOT_MODEL_ID = Register(0x090, access=RO, count=MODEL_ID_BYTES // 4)
    SLOT_NAME = Register(0x0A0, access=RO, count=NAME_BYTES // 4, what="UTF-8, filled up with zeros.")

    def __init__(
        self,
        window: Window,
        events: EventSink,
        *,
        dram_bytes: int,
        device_id: int,
        seed: int,
        power_off: Callable[[], None],
    ) -> None:
        super().__init__(window, events)
        self.DRAM_PAGES.value = dram_bytes // PAGE_SIZE
        self.SLOT_COUNT.value = MAX_SLOTS
        for index, word in enumerate(_words(fuse_key(device_id), KEY_BYTES)):
            self.FUSE_KEY.at(index).value = word
        self._seed = hashlib.sha256(TRNG_DOMAIN + str(seed).encode()).digest()
        self._blocks_drawn = 0
        self._random: list[int] = []
        self._counters = [0] * COUNTERS
        self._slots: list[Slot] = []
        self._power_off = power_off
        self.resets = False  # it was switched off for that

    def provision(self, slot: Slot) -> int:
        """Fill the next free slot, as a factory would: its number. Raises ValueError when none is free."""
        if len(self._slots) == MAX_SLOTS:
            raise ValueError(f"slot {slot.name!r} does not fit: this device has {MAX_SLOTS} slots, all taken")
        self._slots.append(slot)
        self._show(self.SLOT_SELECT["slot"])
        return len(self._slots) - 1

    def read(self, offset: int, size: int, secure: bool) -> int:
        """As every device; the fuses refuse a non-secure master even if the TZPC lets it through."""
        found = self.find(offset)
        if not secure and found is not None and found[0].name == "FUSE_KEY":
            raise BusError("TRUSTED.FUSE_KEY refuses non-secure accesses")
        return super().read(offset, size, secure)

    @POWER_OFF.on_write
    def _off(self, value: int) -> None:
        if value & 3:
            self.resets = value & 2 != 0
            self._power_off()

    @TRNG_DATA.on_read
    def _draw(self) -> int:
        if not self._random:
            block = hashlib.sha256(self._seed + self._blocks_drawn.to_bytes(8, "little")).digest()
            self._random = _words(block, len(block))
            self._blocks_drawn += 1
        return self._random.pop(0)

    @COUNTER.on_read
    def _count(self, index: int) -> int:
        return self._counters[index]

    @COUNTER.on_write
    def _advance(self, value: int, index: int) -> None:
        self._counters[index] = min(self._counters[index] + 1, COUNTER_MAX)

    @SLOT_SELECT.on_write
    def _show(self, value: int) -> None:
        slot = self._slots[value] if value < len(self._slots) else None
        self.SLOT_VALID.value = slot is not None
        self.SLOT_MIN_VERSION.value = slot.minimum_version if slot else 0
        for index, word in enumerate(_words(slot.model_id if slot else b"", MODEL_ID_BYTES)):
            self.SLOT_MODEL_ID.at(index).value = word
        for index, word in enumerate(_words(slot.name.encode() if slot else b"", NAME_BYTES)):
            self.SLOT_NAME.at(index).value = word

    @property
    def slots(self) -> Sequence[Slot]:
        return tuple(self._slots)


def _words(data: bytes, size: int) -> list[int]:
    padded = data.ljust(size, b"\0")
    return [int.from_bytes(padded[i : i + 4], "little") for i in range(0, size, 4)]
