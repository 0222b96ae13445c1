"""What changed between two stops: registers, system registers, page ownership, and what the filters' registers say."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from emulator.debug import system_registers
from emulator.debug.devices import read_device
from emulator.debug.registers import read_registers
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, SMMU, TZASC, TZPC

from .ownership import entries, state_name
from .scene import Scene

WATCHED = (TZASC, TZPC, SMMU)


@dataclass(frozen=True)
class Change:
    """``where``: a register, or a run of pages."""

    group: str
    where: str
    before: str
    after: str


@dataclass(frozen=True)
class Record:
    """What is compared, as it stood at a stop."""

    registers: dict[str, int]
    system: dict[str, int]
    devices: dict[str, int]
    ownership: bytes


def record(scene: Scene) -> Record:
    attached = {window for window, _ in scene.machine.devices}
    return Record(
        read_registers(scene.machine.core).named(),
        {register.name: register.value for register in system_registers.read_all(scene.machine.core)},
        {
            f"{window.name}.{register.name}": register.value
            for window in WATCHED
            if window in attached
            for register in read_device(scene.machine, window)
        },
        entries(scene) if scene.monitored else b"",
    )


def changes(before: Record, after: Record) -> tuple[Change, ...]:
    """Group by group: registers, system registers, devices, pages."""
    found = [
        Change(group, name, f"{old[name]:#x}", f"{value:#x}")
        for group, old, new in (
            ("register", before.registers, after.registers),
            ("system register", before.system, after.system),
            ("device", before.devices, after.devices),
        )
        for name, value in new.items()
        if name in old and old[name] != value
    ]
    return (*found, *_page_changes(before.ownership, after.ownership))


def _page_changes(before: bytes, after: bytes) -> tuple[Change, ...]:
    """Runs of pages that went from one same state to another."""
    old, new = (np.frombuffer(table, dtype=np.uint8).astype(np.int64) for table in (before, after))
    if len(old) != len(new):
        return ()
    moves = np.where(old == new, -1, old << 8 | new)
    edges = [0, *(np.nonzero(np.diff(moves))[0] + 1).tolist(), len(moves)]
    found = []
    for first, end in itertools.pairwise(edges):
        if first < end and moves[first] >= 0:
            base, last = DRAM_BASE + first * PAGE_SIZE, DRAM_BASE + end * PAGE_SIZE
            where = f"{base:#x}..{last:#x} ({end - first} page{'s' if end - first > 1 else ''})"
            found.append(Change("pages", where, state_name(int(old[first])), state_name(int(new[first]))))
    return tuple(found)
