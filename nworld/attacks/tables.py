"""Page tables in memory that the walker must not read, and writes to what decides who may reach what."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.smmu import Smmu
from emulator.devices.tzc400 import Tzc400
from emulator.devices.tzpc import Tzpc
from emulator.gate import Flow, write
from emulator.memory_map import DRAM_BASE, GIB, SMMU, TZASC, TZPC, Window
from emulator.registers import Register

from .hostile import UPPER_HALF, Hostile
from .registry import Attack, Play
from .scene import SECRET_ENTRY, WINDOW_ENTRY, Planted, Scene

PAR_FAULT = 1
PAR_ADDRESS = 0x0000_FFFF_FFFF_F000
MARK = 0x7AB1_E5EE_4B1D_0001

Target = Callable[[Scene], Planted]


def _walk(target: Target) -> Play:
    """A load that reaches a page of our own only if the walker has read the table."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        marked = hostile.take_page()
        yield from write(marked, MARK.to_bytes(8, "little"))
        planted = target(scene)
        address = UPPER_HALF + WINDOW_ENTRY * GIB + marked - DRAM_BASE
        value = yield from hostile.load_through(planted.address, address)
        hostile.free_page(marked)
        return value == MARK

    return script


def _ask(target: Target) -> Play:
    """PAR_EL1 would hold an address out of the secret table."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        planted = target(scene)
        par = yield from hostile.ask_through(planted.address, UPPER_HALF + SECRET_ENTRY * GIB)
        return par is not None and not par & PAR_FAULT and par & PAR_ADDRESS == planted.block

    return script


def _reprogram(window: Window, register: Register, value: int, index: int = 0) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        address = scene.register(window.base, register.at(index))
        yield from hostile.store_register(address, value)
        return scene.altered(address)

    return script


def _map_back(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """The stage-2 entry of a locked page, made what it was before the lock."""
    page = scene.locked().address
    entry = scene.stage2_entry(page)
    yield from hostile.store(entry, page | 0x7FF)
    return scene.altered(entry)


ATTACKS = (
    Attack("tables-in-locked-page", "walks a page table in a locked page", _walk(lambda scene: scene.locked())),
    Attack("tables-in-secure-dram", "walks a page table in secure DRAM", _walk(lambda scene: scene.secure_dram())),
    Attack("tables-in-secure-sram", "walks a page table in secure SRAM", _walk(lambda scene: scene.secure_sram())),
    Attack("at-locked-page", "asks AT about a page table in a locked page", _ask(lambda scene: scene.locked())),
    Attack("at-secure-dram", "asks AT about a page table in secure DRAM", _ask(lambda scene: scene.secure_dram())),
    Attack("at-carve-out", "asks AT about a page table in the carve-out", _ask(lambda scene: scene.carve_out())),
    Attack(
        "write-tzasc",
        "opens secure DRAM to every master in the TZASC",
        _reprogram(TZASC, Tzc400.REGION_ID_ACCESS, 0xFFFF_FFFF, 3),
    ),
    Attack("write-tzpc", "gives the secure SRAM away in the TZPC", _reprogram(TZPC, Tzpc.R0SIZE, 0)),
    Attack("write-smmu", "switches the SMMU off", _reprogram(SMMU, Smmu.CR0, 0)),
    Attack("write-stage-2", "maps a locked page back into stage 2", _map_back),
)
