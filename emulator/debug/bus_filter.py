"""What TZASC and TZPC say to an access, in words, read from their registers (native/bus.c is what really judges)."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.devices.tzc400 import REGIONS, Reaction, Tzc400
from emulator.devices.tzpc import GROUP_BITS, SecurePages, Tzpc
from emulator.machine import Machine
from emulator.memory_map import DEVICES, DRAM_BASE, PAGE_SIZE, SECURE_SRAM, Nsaid, Reach, Window


@dataclass(frozen=True)
class Judgement:
    """``filter``: who judged (TZASC, TZPC, bus); ``why`` in words; ``is_error``: the master is told of a refusal."""

    allowed: bool
    filter: str
    why: str
    is_error: bool = True


def judge(machine: Machine, physical: int, *, secure: bool, write: bool, nsaid: Nsaid = Nsaid.CPU) -> Judgement:
    """Whether an access of a master passes the filter in front of what ``physical`` decodes to."""
    if DRAM_BASE <= physical < machine.layout.end:
        return _tzasc(machine, physical, secure, write, nsaid)
    tzpc = next((device for _, device in machine.devices if isinstance(device, Tzpc)), None)
    if physical in SECURE_SRAM:
        return _sram(tzpc, physical, secure)
    for window, _ in machine.devices:
        if physical in window:
            return _device(tzpc, window, secure)
    return Judgement(False, "bus", f"nothing decodes {physical:#x}: bus error")


def regions(tzasc: Tzc400) -> tuple[str, ...]:
    """The enabled regions in words, region 0 first."""
    return tuple(_region(tzasc, index) for index in range(REGIONS) if _enabled(tzasc, index))


def _tzasc(machine: Machine, physical: int, secure: bool, write: bool, nsaid: Nsaid) -> Judgement:
    tzasc = next((device for _, device in machine.devices if isinstance(device, Tzc400)), None)
    if tzasc is None:
        return Judgement(True, "bus", "DRAM; this board has no TZASC")
    if not tzasc.GATE_KEEPER["open_status"]:
        return _refused(tzasc, "the gate is closed: nothing passes")
    matching = [index for index in range(1, REGIONS) if _enabled(tzasc, index) and _covers(tzasc, index, physical)]
    for index in matching or [0]:
        if not _permits(tzasc, index, secure, write, nsaid):
            who = "secure" if secure else f"non-secure NSAID {nsaid.value} ({nsaid.name})"
            kind = "writes" if write else "reads"
            return _refused(tzasc, f"{_region(tzasc, index)}: no {who} {kind}")
    return Judgement(True, "TZASC", "; ".join(_region(tzasc, index) for index in matching or [0]))


def _permits(tzasc: Tzc400, index: int, secure: bool, write: bool, nsaid: Nsaid) -> bool:
    if secure:
        return bool(tzasc.REGION_ATTRIBUTES.at(index)["secure_write" if write else "secure_read"])
    return bool(tzasc.REGION_ID_ACCESS.at(index)["normal_write" if write else "normal_read"] >> nsaid & 1)


def _enabled(tzasc: Tzc400, index: int) -> bool:
    return bool(tzasc.REGION_ATTRIBUTES.at(index)["filter_enable"] & 1)


def _bounds(tzasc: Tzc400, index: int) -> tuple[int, int]:
    base = tzasc.REGION_BASE_HIGH.at(index).value << 32 | tzasc.REGION_BASE_LOW.at(index).value
    return base, tzasc.REGION_TOP_HIGH.at(index).value << 32 | tzasc.REGION_TOP_LOW.at(index).value


def _covers(tzasc: Tzc400, index: int, physical: int) -> bool:
    base, top = _bounds(tzasc, index)
    return base <= physical <= top


def _region(tzasc: Tzc400, index: int) -> str:
    base, top = _bounds(tzasc, index)
    attributes, access = tzasc.REGION_ATTRIBUTES.at(index), tzasc.REGION_ID_ACCESS.at(index)
    secure = "r" * attributes["secure_read"] + "w" * attributes["secure_write"] or "none"
    normal = [
        nsaid.name + ":" + "r" * (access["normal_read"] >> nsaid & 1) + "w" * (access["normal_write"] >> nsaid & 1)
        for nsaid in Nsaid
        if (access["normal_read"] | access["normal_write"]) >> nsaid & 1
    ]
    return f"region {index} {base:#x}..{top:#x} (secure {secure}; non-secure {' '.join(normal) or 'none'})"


def _refused(tzasc: Tzc400, why: str) -> Judgement:
    is_error = bool(tzasc.ACTION["reaction"] & Reaction.BUS_ERROR)
    consequence = "bus error" if is_error else "reads zeros, writes vanish"
    return Judgement(False, "TZASC", f"{why}: {consequence}", is_error)


def _device(tzpc: Tzpc | None, window: Window, secure: bool) -> Judgement:
    if secure:
        return Judgement(True, "TZPC", f"{window.name}: secure accesses pass")
    if tzpc is None or window not in DEVICES:
        passes, why = window.reach is Reach.NORMAL, "wired, not for the TZPC to decide"
    else:
        group, bit = divmod(DEVICES.index(window), GROUP_BITS)
        passes = bool(tzpc.DECPROT_STAT.at(group)["normal"] >> bit & 1)
        why = f"DECPROT({group}) bit {bit} = {int(passes)}"
    return Judgement(
        passes, "TZPC", f"{window.name}: non-secure accesses {'pass' if passes else 'are refused, bus error'}: {why}"
    )


def _sram(tzpc: Tzpc | None, physical: int, secure: bool) -> Judgement:
    if secure:
        return Judgement(True, "TZPC", "SECURE_SRAM: secure accesses pass")
    if tzpc is None:
        return Judgement(False, "TZPC", "SECURE_SRAM: wired as secure: bus error")
    pages = tzpc.R0SIZE["secure_pages"]
    inside = pages >= SecurePages.WHOLE_RAM or (physical - SECURE_SRAM.base) // PAGE_SIZE < pages
    why = "the page is secure: bus error" if inside else "the page is beyond the secure part"
    return Judgement(not inside, "TZPC", f"SECURE_SRAM: R0SIZE = {pages:#x}: {why}")
