"""Lets the secure world leave with a pattern in every register: real instructions of its gate put them there."""

from __future__ import annotations

from emulator.core import SYSTEM_REGISTERS
from emulator.gate import Arrival, Gate
from emulator.image import Image
from emulator.machine import Machine
from emulator.memory_map import MIB, SECURE_SRAM
from emulator.world import World
from monitor.abi import SECURE_DONE
from nworld.attacks.registers import general_names, pattern
from nworld.attacks.scene import BlockFor

MONITOR_BYTES = MIB
FORGOTTEN_LIMIT = 4


class RegisterPlanter(Gate):
    """The secure world's gate, with one more thing that it can do."""

    def __init__(self, machine: Machine, gate: Image, base: int) -> None:
        super().__init__(machine.core, World.SECURE, gate.symbols, base)
        self._machine = machine
        self._block_for: BlockFor | None = None
        self._to_restore: dict[str, int] = {}

    def plant(self, block_for: BlockFor) -> None:
        """At the next SECURE_DONE."""
        self._block_for = block_for

    @property
    def has_planted(self) -> bool:
        """Whether the monitor keeps the patterns for the secure world: nearly all, for one may be what it forgets."""
        names = general_names()
        memory = self._machine.read_physical(SECURE_SRAM.base, MONITOR_BYTES)
        kept = [name for name in names if pattern("secure", name).to_bytes(8, "little") in memory]
        return len(names) - len(kept) <= FORGOTTEN_LIMIT

    def smc(self, function: int, arguments: tuple[int, ...], delay: int = 0) -> None:
        if self._block_for is None or function != SECURE_DONE.function:
            super().smc(function, arguments, delay)
            return
        core, block = self._machine.core, self.address("gate_stack")
        self._to_restore = {
            name: core.read_sysreg(name) for name in SYSTEM_REGISTERS if name.endswith(("_EL0", "_EL1"))
        }
        filled = (*arguments, *[0] * (5 - len(arguments)))
        self._machine.write_physical(block, self._block_for(function, filled))
        self._block_for = None
        core.sp = block
        core.pc = self.address("registers_smc")

    def arrival(self, pc: int) -> Arrival | None:
        """The kernel behind this gate gets its own registers back."""
        arrival = super().arrival(pc)
        if arrival and self._to_restore:
            for name, value in self._to_restore.items():
                self._machine.core.write_sysreg(name, value)
            self._to_restore = {}
        return arrival
