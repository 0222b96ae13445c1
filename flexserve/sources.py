"""Debug information of the code that a machine runs, at the addresses where it runs."""

from __future__ import annotations

import functools
from pathlib import Path

from elftools.common.exceptions import ELFError

from emulator.debug.dwarf import DebugInfo
from emulator.debug.source import SourceMap
from emulator.image import Image, ImageError
from emulator.memory_map import NORMAL_IMAGE_BASE, NORMAL_IMAGE_END, PROBE_IMAGE_BASE, SECURE_SRAM, DramLayout
from firmware.build import ELF_FOLDER, FOLDER, image_path
from monitor.memory import CarveOut


def phone_sources(layout: DramLayout, folder: Path = ELF_FOLDER) -> SourceMap:
    """Monitor, EL2 stub, the three gates and the probe of a phone with this DRAM. Raises StaleBuildError."""
    info = functools.cache(lambda name: DebugInfo.load(image_path(name, folder)))
    monitor, gate, probe = (info(name) for name in ("monitor", "gate", "probe"))
    labels = {name: address for address, name in monitor.symbols}
    stub, stub_end = labels["el2_stub_start"], labels["el2_stub_end"]
    stub_base = layout.carve_out_base + CarveOut.EL2_STUB
    sources = SourceMap(FOLDER.parent)
    sources.add("monitor", monitor, SECURE_SRAM.base, SECURE_SRAM.end)
    sources.add("el2", monitor, stub_base, stub_base + stub_end - stub, stub_base - stub)
    gates = {
        "secure_gate": layout.secure_base,
        "normal_gate": NORMAL_IMAGE_BASE,
        "driver_gate": layout.driver_base,
    }
    for name, base in gates.items():
        sources.add(name, gate, base, base + PROBE_IMAGE_BASE - NORMAL_IMAGE_BASE, base)
    sources.add("probe", probe, PROBE_IMAGE_BASE, NORMAL_IMAGE_END, PROBE_IMAGE_BASE)
    return sources


def image_sources(path: Path) -> SourceMap:
    """Of an ELF file that runs where it is linked; of anything else nothing is known."""
    sources = SourceMap(Path())
    try:
        image, info = Image.load(path), DebugInfo.load(path)
    except (ImageError, ELFError, OSError):
        return sources
    for segment in image.segments:
        sources.add(path.stem, info, segment.address, segment.address + segment.size)
    return sources
