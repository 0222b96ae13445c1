"""The general registers at one instant, and where the core stands."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.core import Core
from emulator.world import World


@dataclass(frozen=True)
class Registers:
    """``x``: x0 to x30; ``world``: of what runs below EL3."""

    x: tuple[int, ...]
    sp: int
    pc: int
    pstate: int
    world: World

    @property
    def level(self) -> int:
        return self.pstate >> 2 & 3

    @property
    def place(self) -> str:
        """Exception level and world: ``EL1 normal``. EL3 belongs to neither world."""
        return "EL3" if self.level == 3 else f"EL{self.level} {self.world.name.lower()}"

    @property
    def flags(self) -> str:
        """Condition flags and masks, capital where set: ``NzcvDAIF``."""
        bits = zip("nzcvdaif", (31, 30, 29, 28, 9, 8, 7, 6), strict=True)
        return "".join(letter.upper() if self.pstate >> bit & 1 else letter for letter, bit in bits)

    def named(self) -> dict[str, int]:
        """Every register by its name."""
        return {**{f"x{index}": value for index, value in enumerate(self.x)}, "sp": self.sp, "pc": self.pc}


def read_registers(core: Core) -> Registers:
    return Registers(tuple(core.x[index] for index in range(31)), core.sp, core.pc, core.pstate, core.world)
