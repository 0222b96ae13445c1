"""A phone without kernels: guest loops in the normal world, a proxy in the secure world, the real monitor between them.

For measurements of the monitor at the speed of guest code (firmware/bench).
"""

from __future__ import annotations

from emulator.devices.board import populate
from emulator.image import Image
from emulator.machine import Machine, StopReason
from emulator.memory_map import NORMAL_IMAGE_BASE, PROBE_IMAGE_BASE, DramLayout
from emulator.native import lib
from firmware.build import image_path
from monitor.abi import DRIVER_READY, SECURE_READY


class LoopFailed(Exception):
    """A guest loop did not end as it should: a call in it failed, or it went astray."""


class LoopPhone:
    """Booted; ``dram_bytes`` as for `DramLayout`."""

    def __init__(self, dram_bytes: int) -> None:
        self.machine = Machine(DramLayout(dram_bytes))
        self.board = populate(self.machine)
        monitor, proxy, gate, self._probe = (
            Image.load(image_path(name)) for name in ("monitor", "proxy", "gate", "probe")
        )
        secure = self.machine.layout.secure_base
        driver = self.machine.layout.driver_base
        places = (0, secure, NORMAL_IMAGE_BASE, PROBE_IMAGE_BASE, driver)
        for image, base in zip((monitor, proxy, gate, self._probe, gate), places, strict=True):
            self.machine.load(image, base)
        self.machine.reset(monitor.entry)
        self.machine.core.x[0] = secure + proxy.entry
        self.machine.core.x[1] = NORMAL_IMAGE_BASE + gate.entry
        self.machine.core.x[2] = driver + gate.entry
        self._run_to(driver + gate.symbols["arrive_boot"])
        self._resume(driver + gate.symbols["gate_smc"], DRIVER_READY.function, driver + gate.symbols["arrive_entry"])
        self._run_to(secure + proxy.symbols["arrive_boot"])
        entry = secure + proxy.symbols["proxy_entry"]
        self._resume(secure + proxy.symbols["gate_smc"], SECURE_READY.function, entry, entry)
        self._run_to(NORMAL_IMAGE_BASE + gate.symbols["arrive_boot"])

    def loop(self, name: str, *arguments: int) -> None:
        """Run a loop of firmware/bench/loops.S to its end. Raises LoopFailed."""
        self._resume(PROBE_IMAGE_BASE + self._probe.symbols[name], *arguments)
        self._run_to(PROBE_IMAGE_BASE + self._probe.symbols["probe_done"])
        if status := self.machine.core.x[0]:
            raise LoopFailed(f"a call in {name} answered {status - (1 << 64) if status >> 63 else status}")

    def watch_calls(self) -> None:
        """From now on measure the longest call to EL3."""
        lib.core_watch_calls(self.machine.native, True)
        lib.core_longest_call(self.machine.native)

    def longest_call(self) -> int:
        """Instructions from the arrival of an SMC at EL3 to its return, the most since this was last asked."""
        return int(lib.core_longest_call(self.machine.native))

    def close(self) -> None:
        self.machine.close()

    def _resume(self, address: int, *arguments: int) -> None:
        for index, argument in enumerate(arguments):
            self.machine.core.x[index] = argument
        self.machine.core.pc = address

    def _run_to(self, address: int) -> None:
        stop = self.machine.run()
        if (stop.reason, stop.pc) != (StopReason.WFI, address):
            raise LoopFailed(f"stopped by {stop.reason.name} at {stop.pc:#x} instead of {address:#x}")
