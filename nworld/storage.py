"""Driver of the storage controller: one transfer at a time, by DMA, and polled: the controller has no interrupt."""

from __future__ import annotations

from emulator.devices.storage import Cause, Command, Storage
from emulator.gate import Flow, charge, load, store
from emulator.memory_map import STORAGE
from emulator.registers import Register

POLL_PAUSE = 1_000  # instructions between two looks at a transfer


class TransferFailed(Exception):
    """The controller ended a transfer early."""

    def __init__(self, block: int, cause: Cause) -> None:
        super().__init__(f"storage did not move block {block}: {cause.name.lower().replace('_', ' ')}")
        self.block = block
        self.cause = cause


class StorageDriver:
    """Blocks of 4 KiB, counted from the start of the medium."""

    def load(self, block: int, address: int, blocks: int) -> Flow[None]:
        """Read ``blocks`` blocks into memory at physical address ``address``. Raises TransferFailed."""
        yield from self.transfer(Command.READ, block, address, blocks)

    def transfer(self, command: Command, block: int, address: int, blocks: int) -> Flow[None]:
        """Move blocks between the medium and memory, and wait until it is done. Raises TransferFailed."""
        yield from self.start(command, block, address, blocks)
        yield from self.finish(block)

    def start(self, command: Command, block: int, address: int, blocks: int) -> Flow[None]:
        """Begin a transfer and do not wait."""
        yield from self.prepare(block, address, blocks)
        yield from _store(Storage.CONTROL, command)

    def prepare(self, block: int, address: int, blocks: int) -> Flow[None]:
        """Describe a transfer, which a write of CONTROL will begin."""
        yield from _store(Storage.BLOCK, block)
        yield from _store(Storage.COUNT, blocks)
        yield from _store(Storage.ADDRESS, address)

    def finish(self, block: int) -> Flow[None]:
        """Wait for the end of a transfer that began at ``block``. Raises TransferFailed."""
        while _field(Storage.STATUS, "busy", (yield from _load(Storage.STATUS))):
            yield from charge(POLL_PAUSE)
        cause = _field(Storage.STATUS, "cause", (yield from _load(Storage.STATUS)))
        if cause != Cause.NONE:
            raise TransferFailed(block, Cause(cause))


def _load(register: Register) -> Flow[int]:
    return (yield from load(STORAGE.base + register.offset, register.width // 8))


def _store(register: Register, value: int) -> Flow[None]:
    yield from store(STORAGE.base + register.offset, value, register.width // 8)


def _field(register: Register, name: str, value: int) -> int:
    field = register.fields[name]
    return (value & field.mask) >> field.lsb
