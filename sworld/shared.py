"""The memory that both worlds reach: one extent of normal DRAM, named once per boot.

Everything in it may change at any time. A descriptor is copied out once, and only the copy is looked at.
"""

from __future__ import annotations

from emulator.gate import Flow, read, write
from emulator.memory_map import PAGE_SIZE
from monitor.services.messages import ServiceStatus

from .errors import Refused
from .mapping import ENTRIES, SHARED_WINDOW, Mapping

MAX_PAGES = ENTRIES


class SharedMemory:
    """Offsets are bytes from the start of the extent."""

    def __init__(self, pages: int) -> None:
        self.size = pages * PAGE_SIZE

    @classmethod
    def attach(cls, mapping: Mapping, base: int, pages: int) -> Flow[SharedMemory]:
        """Map ``pages`` pages at physical address ``base``, which the caller has checked."""
        frames = range(base, base + pages * PAGE_SIZE, PAGE_SIZE)
        yield from mapping.map((yield from mapping.table(SHARED_WINDOW)), SHARED_WINDOW, frames)
        return cls(pages)

    def holds(self, offset: int, size: int) -> bool:
        return 0 <= offset <= self.size and 0 <= size <= self.size - offset

    def copy_in(self, offset: int, size: int) -> Flow[bytes]:
        """Raises Refused if the range is not all shared memory."""
        if not self.holds(offset, size):
            raise Refused(ServiceStatus.BAD_REQUEST, offset)
        return (yield from read(SHARED_WINDOW + offset, size))

    def copy_out(self, offset: int, data: bytes) -> Flow[None]:
        """Raises Refused if the range is not all shared memory."""
        if not self.holds(offset, len(data)):
            raise Refused(ServiceStatus.BAD_REQUEST, offset)
        yield from write(SHARED_WINDOW + offset, data)
