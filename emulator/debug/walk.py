"""A translation explained: stage 1, stage 2 and the filters step by step, from what is in registers and memory now.

It reads the tables as they are, and says so where the TLB still holds something else. It changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.debug.bus_filter import judge
from emulator.debug.walker import Access, Refused, Step, Walk
from emulator.machine import Machine
from emulator.memory_map import PAGE_SIZE
from emulator.native import ffi, lib
from emulator.world import World

__all__ = ["Access", "Explanation", "Step", "explain", "read_virtual", "to_physical"]


@dataclass(frozen=True)
class Explanation:
    """``physical`` is None where translation ended before there was one; ``verdict`` is one line.

    ``stale``: the TLB holds something else than the tables say, and the core goes by that until a TLBI.
    """

    address: int
    access: Access
    level: int
    world: World
    steps: tuple[Step, ...]
    allowed: bool
    physical: int | None
    verdict: str
    stale: bool = False


def explain(machine: Machine, address: int, access: Access, level: int, world: World) -> Explanation:
    """Why an access at virtual ``address`` by exception level ``level`` (0 to 3) of ``world`` is allowed or refused.

    Of the world that does not run, stage 1 is not known: ``address`` is taken as what it would give.
    """
    walk = Walk(machine, access, level, World.SECURE if level == 3 else world)
    physical: int | None = None
    try:
        physical, non_secure = walk.run(address)
        verdict = judge(machine, physical, secure=not non_secure, write=access is Access.WRITE)
        walk.steps.append(Step(verdict.filter, verdict.why, verdict.allowed))
        allowed, side = verdict.allowed, "non-secure" if non_secure else "secure"
        text = f"allowed: {side} {access.value} of physical {physical:#x}"
        if not allowed:
            text = f"refused by the {verdict.filter}: {side} {access.value} of physical {physical:#x}: {verdict.why}"
    except Refused as refused:
        allowed, text = False, f"refused by {refused.args[0]}"
    stale = _stale_entry(walk, address, physical)
    if stale:
        walk.steps.append(stale)
        text += "; but the TLB has an older entry"
    return Explanation(address, access, level, world, tuple(walk.steps), allowed, physical, text, stale is not None)


def _stale_entry(walk: Walk, address: int, physical: int | None) -> Step | None:
    """What the TLB holds for the address, where the tables no longer say so. Of the context that runs, or of EL3."""
    if walk.level < 3 and walk.world is not walk.machine.core.world:
        return None
    cached = ffi.new("struct cached *")
    lib.translate_cached(walk.machine.native, address, walk.level, cached)
    allowed = bool(cached.rights >> list(Access).index(walk.access) & 1)
    if not cached.complete or (allowed and cached.physical == physical) or (not allowed and physical is None):
        return None
    rights = ", ".join(one.value for bit, one in enumerate(Access) if cached.rights >> bit & 1) or "nothing"
    return Step("TLB", f"an older entry counts until a TLBI: physical {cached.physical:#x}, allows {rights}", allowed)


def to_physical(machine: Machine, address: int) -> int:
    """Where a virtual address of the current context leads. Raises ValueError saying why it leads nowhere."""
    core = machine.core
    walk = Walk(machine, Access.READ, core.level, World.SECURE if core.level == 3 else core.world)
    try:
        return walk.run(address)[0]
    except Refused as refused:
        raise ValueError(f"{address:#x} is not mapped here: {refused.args[0]}") from None


def read_virtual(machine: Machine, address: int, size: int) -> bytes:
    """Memory as the current context addresses it, past the filters. Raises ValueError."""
    found = b""
    while size:
        part = min(size, PAGE_SIZE - address % PAGE_SIZE)
        found += machine.read_physical(to_physical(machine, address), part)
        address, size = address + part, size - part
    return found
