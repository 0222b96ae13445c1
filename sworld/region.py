"""Regions of the pool: virtual pages with locked ones behind them, and what the NPU may do with those."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emulator.gate import Flow


class Kind(enum.IntEnum):
    """What a region holds; a recall takes the lower kinds first."""

    WEIGHTS = 0
    KV = 1
    ACTIVATIONS = 2


class DeviceAccess(enum.Enum):
    """What the NPU may do with a region's pages while it works for this world."""

    NONE = "none"
    READ = "read"
    WRITE = "write"


@dataclass
class Region:
    """Virtual pages from ``va``, the first ``len(frames)`` of them backed. ``ready``: the contents can be used.

    ``leaving``: pages that it has lost and that are still mapped. ``generation`` grows with every loss: whoever has
    looked at a region and was suspended since compares it.
    """

    kind: Kind
    name: str
    va: int
    pages: int
    device: DeviceAccess = DeviceAccess.NONE
    frames: list[int] = field(default_factory=list)
    leaving: list[int] = field(default_factory=list)
    ready: bool = False
    generation: int = 0


class Device(Protocol):
    """The NPU's view of regions, told of every page that comes and goes."""

    def attached(self, region: Region, first: int, frames: Sequence[int]) -> Flow[None]:
        """``frames`` are now the pages ``first`` and on of ``region``, LOCKED; unless it loses them meanwhile."""

    def dropped(self, region: Region, pages: int) -> Flow[None]:
        """The first ``pages`` pages of ``region`` are about to hold something else."""

    def discarded(self, region: Region) -> None:
        """``region`` is no more."""


class NoDevice:
    """Nothing sees the pool but this world's processor."""

    def attached(self, region: Region, first: int, frames: Sequence[int]) -> Flow[None]:
        yield from ()

    def dropped(self, region: Region, pages: int) -> Flow[None]:
        yield from ()

    def discarded(self, region: Region) -> None:
        pass
