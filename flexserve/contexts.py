"""Who an event's context is: one of the two worlds, or the driver context, which is non-secure, too."""

from __future__ import annotations

from emulator.world import vmid_of, world_of
from monitor.abi import Vmid

SENTENCE_NAMES = {"secure": "the secure world", "normal": "the normal world", "driver": "the driver context"}


def context_name(number: int) -> str:
    """``secure``, ``normal`` or ``driver``."""
    return "driver" if vmid_of(number) == Vmid.DRIVER else world_of(number).name.lower()
