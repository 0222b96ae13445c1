"""The phone's code and its sources: three gates, the EL2 stub where the monitor copies it."""

from __future__ import annotations

from emulator.memory_map import DRAM_MIN, NORMAL_IMAGE_BASE, DramLayout
from flexserve.sources import phone_sources
from flexserve.system import System


def test_every_image_is_found_where_the_phone_has_it() -> None:
    system = System(DRAM_MIN)
    try:
        system.boot()
        machine, sources = system.machine, phone_sources(DramLayout(DRAM_MIN))
        for name in (
            "monitor:monitor_exit",
            "secure_gate:gate_smc",
            "normal_gate:gate_smc",
            "driver_gate:gate_smc",
            "el2:el2_synchronous",
        ):
            (address,) = sources.addresses_of_symbol(name)
            image = sources.image_at(address)
            assert image is not None
            assert sources.name_at(address) == name
            (linked,) = [place for place, label in image.info.symbols if f"{image.name}:{label}" == name]
            assert machine.read_physical(address, 16) == image.info.bytes_at(linked, 16)
            assert sources.line_at(address) is not None
        assert sources.image_at(NORMAL_IMAGE_BASE) is not None
        assert machine.core.read_sysreg("VBAR_EL2") in sources.addresses_of_symbol("el2:el2_stub_start")
    finally:
        system.dispose()
