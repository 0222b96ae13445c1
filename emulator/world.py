"""The two worlds, numbered as SCR_EL3.NS says, and the contexts below EL3: a world, and in the normal one a VMID."""

from __future__ import annotations

import enum

from emulator.native import lib


class World(enum.IntEnum):
    """Security state below EL3."""

    SECURE = 0
    NORMAL = 1


_WORLDS = (World.SECURE, World.NORMAL)


def world_of(context: int) -> World:
    """The world of the core's context, or an event's."""
    return _WORLDS[context & 1]


def vmid_of(context: int) -> int:
    """VTTBR_EL2.VMID of a context of the normal world; 0 of the secure world's."""
    return context >> lib.EVENT_VMID_SHIFT
