"""Loads, stores and fetches of memory that is not the normal world's any more, by its own translation tables."""

from __future__ import annotations

from collections.abc import Callable

from emulator.gate import Flow

from .hostile import Hostile
from .registry import Attack, Play
from .scene import Planted, Scene

OVERWRITE = 0xBAD0_BAD0_BAD0_BAD0

Target = Callable[[Hostile, Scene], Planted]


def _locked(_: Hostile, scene: Scene) -> Planted:
    return scene.locked()


def _warmed(hostile: Hostile, scene: Scene) -> Planted:
    return scene.locked(hostile.warmed)


def _secure_dram(_: Hostile, scene: Scene) -> Planted:
    return scene.secure_dram()


def _secure_sram(_: Hostile, scene: Scene) -> Planted:
    return scene.secure_sram()


def _read(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        planted = target(hostile, scene)
        return (yield from hostile.load(planted.value)) == planted.secret

    return script


def _write(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        planted = target(hostile, scene)
        yield from hostile.store(planted.value, OVERWRITE)
        return scene.altered(planted.address)

    return script


def _execute(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        planted = target(hostile, scene)
        return (yield from hostile.run(planted.address)) == planted.secret

    return script


ATTACKS = (
    Attack("cpu-read-locked", "loads a secret from a locked page", _read(_locked)),
    Attack("cpu-write-locked", "stores into a locked page", _write(_locked)),
    Attack("cpu-execute-locked", "branches into a locked page", _execute(_locked)),
    Attack("cpu-read-warm-tlb", "loads by a TLB entry that was made before the lock", _read(_warmed)),
    Attack("cpu-write-warm-tlb", "stores by a TLB entry that was made before the lock", _write(_warmed)),
    Attack("cpu-execute-warm-tlb", "branches by a TLB entry that was made before the lock", _execute(_warmed)),
    Attack("cpu-read-secure-dram", "loads from the secure kernel's memory", _read(_secure_dram)),
    Attack("cpu-write-secure-dram", "stores into the secure kernel's memory", _write(_secure_dram)),
    Attack("cpu-read-secure-sram", "loads from the monitor's memory", _read(_secure_sram)),
)
