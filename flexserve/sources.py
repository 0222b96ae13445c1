"""The firmware's debug information where the phone has the firmware."""

from __future__ import annotations

import functools
from pathlib import Path

from emulator.debug.dwarf import DebugInfo
from emulator.debug.source import SourceMap
from emulator.memory_map import NORMAL_IMAGE_BASE, NORMAL_IMAGE_END, PROBE_IMAGE_BASE, SECURE_SRAM, DramLayout
from firmware.build import ELF_FOLDER, FOLDER, image_path


def phone_sources(layout: DramLayout, folder: Path = ELF_FOLDER) -> SourceMap:
    """Monitor, EL2 stub, both gates and the probe of a phone with this DRAM. Raises StaleBuildError."""
    info = functools.cache(lambda name: DebugInfo.load(image_path(name, folder)))
    monitor, gate, probe = (info(name) for name in ("monitor", "gate", "probe"))
    labels = {name: address for address, name in monitor.symbols}
    stub, stub_end = labels["el2_stub_start"], labels["el2_stub_end"]
    stub_base = layout.carve_out_base  # CARVE_OUT_EL2_STUB of firmware/el3/carve_out.h
    sources = SourceMap(FOLDER.parent)
    sources.add("monitor", monitor, SECURE_SRAM.base, SECURE_SRAM.end)
    sources.add("el2", monitor, stub_base, stub_base + stub_end - stub, stub_base - stub)
    for name, base in (("secure_gate", layout.secure_base), ("normal_gate", NORMAL_IMAGE_BASE)):
        sources.add(name, gate, base, base + PROBE_IMAGE_BASE - NORMAL_IMAGE_BASE, base)
    sources.add("probe", probe, PROBE_IMAGE_BASE, NORMAL_IMAGE_END, PROBE_IMAGE_BASE)
    return sources
