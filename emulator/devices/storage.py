"""The storage controller ("flash"): blocks of 4 KiB, moved by DMA through the SMMU.

The transfer itself is native (native/dma.c): burst by burst in guest time, each translated, then performed.
"""

from __future__ import annotations

import enum
import mmap
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from emulator.memory_map import Window
from emulator.registers import RO, WO, Register

from .device import Device, EventSink

BLOCK_SIZE = 4096
MAX_BLOCKS = (1 << 32) - 1

Medium: TypeAlias = bytes | bytearray | memoryview | mmap.mmap


class Command(enum.IntEnum):
    """What CONTROL starts."""

    READ = 1  # storage to memory
    WRITE = 2  # memory to storage


class Cause(enum.IntEnum):
    """Why a transfer ended early; numbered as ``enum dma_error`` in native/api.h."""

    NONE = 0
    DMA_FAULT = 1  # the SMMU or a filter refused an access
    NO_MEDIUM = 2
    OUT_OF_RANGE = 3
    READ_ONLY = 4
    BAD_COMMAND = 5


@dataclass(frozen=True)
class Progress:
    """A transfer as it stands; ``moved`` counts bytes."""

    busy: bool
    cause: Cause
    moved: int


class DmaChannel(Protocol):
    """The native part: one DMA master."""

    def insert(self, medium: Medium | None, writable: bool) -> None:
        """Connect a medium, or none. Its memory is used in place."""

    def start(self, position: int, address: int, size: int, to_memory: bool) -> None:
        """Begin to move ``size`` bytes between ``position`` on the medium and ``address`` as the SMMU takes it."""

    def progress(self) -> Progress: ...


class Storage(Device):
    """Storage controller, of our own design in the manner of a simple block device."""

    prefix = "STORAGE"
    held = ("_started", "_refused")

    CAPACITY_BLOCKS = Register(0x000, access=RO, what="Blocks of 4 KiB; 0: no medium.")
    BLOCK = Register(0x004, what="First block.")
    COUNT = Register(0x008, what="Blocks to move.")
    ADDRESS = Register(0x010, width=64, what="Where in memory, as the SMMU's input address.")
    CONTROL = Register(0x018, access=WO, fields={"command": (1, 0, Command)}, what="Starts; ignored while busy.")
    STATUS = Register(
        0x01C, access=RO, fields={"busy": (0, 0), "done": (1, 1), "error": (2, 2), "cause": (7, 4, Cause)}
    )
    BYTES_DONE = Register(0x020, access=RO, width=64)

    def __init__(self, window: Window, events: EventSink, channel: DmaChannel) -> None:
        super().__init__(window, events)
        self._channel = channel
        self._started = False
        self._refused = Cause.NONE

    def insert(self, medium: Medium, writable: bool = False) -> None:
        """Connect a buffer or mapped file; the last block is filled up with zeros.

        Raises ValueError if it is too large, or to be written and no whole number of blocks.
        """
        size = memoryview(medium).nbytes
        if size > MAX_BLOCKS * BLOCK_SIZE:
            raise ValueError(f"a medium of {size} bytes exceeds the limit of {MAX_BLOCKS} blocks: use a smaller one")
        if writable and size % BLOCK_SIZE:
            raise ValueError(f"a writable medium of {size} bytes is no multiple of {BLOCK_SIZE}: pad its last block")
        self._channel.insert(medium, writable)
        self.CAPACITY_BLOCKS.value = -(-size // BLOCK_SIZE)

    def unplug(self) -> None:
        """Take the medium away, in the middle of a transfer if need be."""
        self._channel.insert(None, False)
        self.CAPACITY_BLOCKS.value = 0

    @CONTROL.on_write
    def _control_written(self, value: int) -> None:
        if self._channel.progress().busy:
            return
        self._started = True
        if value not in (Command.READ, Command.WRITE):
            self._refused = Cause.BAD_COMMAND
            return
        self._refused = Cause.NONE
        self._channel.start(
            self.BLOCK.value * BLOCK_SIZE,
            self.ADDRESS.value,
            self.COUNT.value * BLOCK_SIZE,
            value == Command.READ,
        )

    @STATUS.on_read
    def _status(self) -> int:
        progress = self._channel.progress()
        cause = self._refused or progress.cause
        ended = self._started and not progress.busy
        return progress.busy | (ended and not cause) << 1 | (ended and bool(cause)) << 2 | cause << 4

    @BYTES_DONE.on_read
    def _bytes_done(self) -> int:
        return 0 if self._refused else self._channel.progress().moved
