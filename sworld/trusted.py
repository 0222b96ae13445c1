"""Driver of the trusted block: the device's key, random numbers, and the slots that say which model may be opened."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.devices.trusted import Trusted
from emulator.gate import Flow, load, store
from emulator.memory_map import PAGE_SIZE, TRUSTED
from emulator.registers import Register
from monitor.services.messages import ServiceStatus

from .errors import Refused


@dataclass(frozen=True)
class Slot:
    """What may be opened under ``name``: packages of one model, of ``minimum_version`` or later."""

    name: str
    model_id: bytes
    minimum_version: int


class TrustedDriver:
    """Reads by device accesses of the secure world."""

    def dram_bytes(self) -> Flow[int]:
        return (yield from _load(Trusted.DRAM_PAGES)) * PAGE_SIZE

    def fuse_key(self) -> Flow[bytes]:
        """The key that this device alone has."""
        return (yield from _load_bytes(Trusted.FUSE_KEY))

    def random_bits(self) -> Flow[int]:
        """64 bits of the TRNG."""
        low = yield from _load(Trusted.TRNG_DATA)
        high = yield from _load(Trusted.TRNG_DATA)
        return high << 32 | low

    def find_slot(self, name: str) -> Flow[Slot]:
        """Raises Refused if no slot is provisioned under ``name``."""
        for index in range((yield from _load(Trusted.SLOT_COUNT))):
            yield from store(TRUSTED.base + Trusted.SLOT_SELECT.offset, index)
            if not (yield from _load(Trusted.SLOT_VALID)):
                continue
            if (yield from _load_bytes(Trusted.SLOT_NAME)).rstrip(b"\0") == name.encode():
                model_id = yield from _load_bytes(Trusted.SLOT_MODEL_ID)
                return Slot(name, model_id, (yield from _load(Trusted.SLOT_MIN_VERSION)))
        raise Refused(ServiceStatus.UNKNOWN_SLOT)


def _load(register: Register, index: int = 0) -> Flow[int]:
    return (yield from load(TRUSTED.base + register.at(index)))


def _load_bytes(register: Register) -> Flow[bytes]:
    """All words of a repeated register."""
    data = bytearray()
    for index in range(register.count):
        data += (yield from _load(register, index)).to_bytes(register.width // 8, "little")
    return bytes(data)
