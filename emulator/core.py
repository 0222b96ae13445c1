"""The core's registers, as a debugger or a gate sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.native import ffi, lib
from emulator.world import World, world_of

if TYPE_CHECKING:
    from emulator.native._native import Machine as NativeMachine

_SP, _PC, _PSTATE = 31, 32, 33
GENERAL_REGISTERS = 31

# op0, op1, CRn, CRm, op2 (Arm ARM D19)
SYSTEM_REGISTERS = {
    "SCTLR_EL1": (3, 0, 1, 0, 0),
    "ACTLR_EL1": (3, 0, 1, 0, 1),
    "CPACR_EL1": (3, 0, 1, 0, 2),
    "TTBR0_EL1": (3, 0, 2, 0, 0),
    "TTBR1_EL1": (3, 0, 2, 0, 1),
    "TCR_EL1": (3, 0, 2, 0, 2),
    "SPSR_EL1": (3, 0, 4, 0, 0),
    "ELR_EL1": (3, 0, 4, 0, 1),
    "SP_EL0": (3, 0, 4, 1, 0),
    "FPCR": (3, 3, 4, 4, 0),
    "FPSR": (3, 3, 4, 4, 1),
    "AFSR0_EL1": (3, 0, 5, 1, 0),
    "AFSR1_EL1": (3, 0, 5, 1, 1),
    "ESR_EL1": (3, 0, 5, 2, 0),
    "FAR_EL1": (3, 0, 6, 0, 0),
    "PAR_EL1": (3, 0, 7, 4, 0),
    "MAIR_EL1": (3, 0, 10, 2, 0),
    "AMAIR_EL1": (3, 0, 10, 3, 0),
    "VBAR_EL1": (3, 0, 12, 0, 0),
    "CONTEXTIDR_EL1": (3, 0, 13, 0, 1),
    "TPIDR_EL1": (3, 0, 13, 0, 4),
    "TPIDR_EL0": (3, 3, 13, 0, 2),
    "TPIDRRO_EL0": (3, 3, 13, 0, 3),
    "CNTKCTL_EL1": (3, 0, 14, 1, 0),
    "CNTFRQ_EL0": (3, 3, 14, 0, 0),
    "CNTP_CTL_EL0": (3, 3, 14, 2, 1),
    "CNTP_CVAL_EL0": (3, 3, 14, 2, 2),
    "CNTV_CTL_EL0": (3, 3, 14, 3, 1),
    "CNTV_CVAL_EL0": (3, 3, 14, 3, 2),
    "SP_EL1": (3, 4, 4, 1, 0),
    "VPIDR_EL2": (3, 4, 0, 0, 0),
    "VMPIDR_EL2": (3, 4, 0, 0, 5),
    "SCTLR_EL2": (3, 4, 1, 0, 0),
    "ACTLR_EL2": (3, 4, 1, 0, 1),
    "HCR_EL2": (3, 4, 1, 1, 0),
    "MDCR_EL2": (3, 4, 1, 1, 1),
    "CPTR_EL2": (3, 4, 1, 1, 2),
    "HSTR_EL2": (3, 4, 1, 1, 3),
    "TTBR0_EL2": (3, 4, 2, 0, 0),
    "TCR_EL2": (3, 4, 2, 0, 2),
    "VTTBR_EL2": (3, 4, 2, 1, 0),
    "VTCR_EL2": (3, 4, 2, 1, 2),
    "SPSR_EL2": (3, 4, 4, 0, 0),
    "ELR_EL2": (3, 4, 4, 0, 1),
    "ESR_EL2": (3, 4, 5, 2, 0),
    "FAR_EL2": (3, 4, 6, 0, 0),
    "HPFAR_EL2": (3, 4, 6, 0, 4),
    "MAIR_EL2": (3, 4, 10, 2, 0),
    "VBAR_EL2": (3, 4, 12, 0, 0),
    "TPIDR_EL2": (3, 4, 13, 0, 2),
    "CNTVOFF_EL2": (3, 4, 14, 0, 3),
    "CNTHCTL_EL2": (3, 4, 14, 1, 0),
    "CNTHP_CTL_EL2": (3, 4, 14, 2, 1),
    "CNTHP_CVAL_EL2": (3, 4, 14, 2, 2),
    "SCTLR_EL3": (3, 6, 1, 0, 0),
    "ACTLR_EL3": (3, 6, 1, 0, 1),
    "SCR_EL3": (3, 6, 1, 1, 0),
    "CPTR_EL3": (3, 6, 1, 1, 2),
    "MDCR_EL3": (3, 6, 1, 3, 1),
    "TTBR0_EL3": (3, 6, 2, 0, 0),
    "TCR_EL3": (3, 6, 2, 0, 2),
    "MAIR_EL3": (3, 6, 10, 2, 0),
    "SPSR_EL3": (3, 6, 4, 0, 0),
    "ELR_EL3": (3, 6, 4, 0, 1),
    "ESR_EL3": (3, 6, 5, 2, 0),
    "FAR_EL3": (3, 6, 6, 0, 0),
    "VBAR_EL3": (3, 6, 12, 0, 0),
    "TPIDR_EL3": (3, 6, 13, 0, 2),
    "CNTPS_CTL_EL1": (3, 7, 14, 2, 1),
    "CNTPS_CVAL_EL1": (3, 7, 14, 2, 2),
}


class GeneralRegisters:
    """x0 to x30 by index."""

    def __init__(self, machine: NativeMachine) -> None:
        self._machine = machine
        self._values = ffi.new("uint64_t[]", GENERAL_REGISTERS)

    def __getitem__(self, index: int) -> int:
        return int(lib.core_read_register(self._machine, index))

    def __setitem__(self, index: int, value: int) -> None:
        lib.core_write_register(self._machine, index, value)

    def first(self, count: int) -> tuple[int, ...]:
        """x0 and on, ``count`` of them."""
        lib.core_read_first(self._machine, self._values, count)
        return tuple(ffi.unpack(self._values, count))

    def set_first(self, values: tuple[int, ...]) -> None:
        """x0 and on."""
        lib.core_write_first(self._machine, values, len(values))


class Core:
    """The registers of the one core, readable and writable while it does not run."""

    def __init__(self, machine: NativeMachine) -> None:
        self._machine = machine
        self.x = GeneralRegisters(machine)

    @property
    def pc(self) -> int:
        return self.x[_PC]

    @pc.setter
    def pc(self, value: int) -> None:
        self.x[_PC] = value

    @property
    def sp(self) -> int:
        return self.x[_SP]

    @sp.setter
    def sp(self, value: int) -> None:
        self.x[_SP] = value

    @property
    def pstate(self) -> int:
        return self.x[_PSTATE]

    @property
    def level(self) -> int:
        """Exception level, 0 to 3."""
        return self.pstate >> 2 & 3

    @property
    def world(self) -> World:
        """Security state below EL3, by SCR_EL3.NS; EL3 itself is secure whatever this says."""
        return world_of(self.context)

    @property
    def context(self) -> int:
        """`world` and, of the normal world's EL1, the VMID of its stage-2 table: see `emulator.world`."""
        return int(lib.core_context(self._machine))

    def read_sysreg(self, name: str) -> int:
        return int(lib.core_read_sysreg(self._machine, *SYSTEM_REGISTERS[name]))

    def write_sysreg(self, name: str, value: int) -> None:
        lib.core_write_sysreg(self._machine, *SYSTEM_REGISTERS[name], value)

    def read_vector(self, index: int) -> int:
        """Q register ``index``, 128 bits."""
        low, high = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        lib.core_read_vector(self._machine, index, low, high)
        return int(low[0]) | int(high[0]) << 64

    def write_vector(self, index: int, value: int) -> None:
        mask = (1 << 64) - 1
        lib.core_write_vector(self._machine, index, value & mask, value >> 64 & mask)
