"""The two worlds, numbered as SCR_EL3.NS says."""

from __future__ import annotations

import enum


class World(enum.IntEnum):
    """Security state below EL3."""

    SECURE = 0
    NORMAL = 1
