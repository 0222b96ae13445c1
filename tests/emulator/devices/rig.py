"""A machine with every device on it, whose core performs single accesses: real instructions, MMU off."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from emulator import memory_map
from emulator.devices.board import populate
from emulator.devices.device import Device
from emulator.devices.storage import Command
from emulator.events import Event, EventKind
from emulator.machine import Machine
from emulator.memory_map import DRAM_BASE, MIB, SECURE_SRAM, DramLayout, Nsaid
from emulator.registers import Register

WFI = 0xD503207F
LOAD = {1: 0x39400001, 2: 0x79400001, 4: 0xB9400001, 8: 0xF9400001}  # ldrb, ldrh w1, ldr w1/x1, [x0]
STORE = {1: 0x39000001, 2: 0x79000001, 4: 0xB9000001, 8: 0xF9000001}  # strb, strh w1, str w1/x1, [x0]
CODE = SECURE_SRAM.base + 0x1000
VECTORS = SECURE_SRAM.base + 0x2000
VECTOR_STEP, VECTOR_COUNT = 0x80, 16
SCR_RW, SCR_NS, SCR_EA = 1 << 10, 1, 1 << 3
PSTATE, EL1H, EL3H, MASKED = 33, 5, 13, 0x3C0
HCR_RW = 1 << 31
ALL = 0xFFFF

PAGE = DRAM_BASE + MIB


class Abort(Exception):
    """The access took an exception."""


class Rig:
    """``events`` gathers what happened, in order."""

    def __init__(self) -> None:
        self.machine = Machine(DramLayout(64 * MIB))
        self.board = populate(self.machine)
        self.events: list[Event] = []
        self.code = CODE
        self.machine.events.listen(EventKind, self.events.append)
        for place in (CODE, *range(VECTORS, VECTORS + VECTOR_STEP * VECTOR_COUNT, VECTOR_STEP)):
            self.machine.write_physical(place, struct.pack("<2I", WFI, WFI))
        core = self.machine.core
        self.machine.reset(CODE)
        for level in ("EL1", "EL2", "EL3"):
            core.write_sysreg(f"VBAR_{level}", VECTORS)
        self.machine.run()

    # --- the CPU ----------------------------------------------------------------------------------------------------

    def load(self, address: int, size: int = 8, *, secure: bool = True) -> int:
        """One load at EL3, or at non-secure EL1. Raises Abort."""
        self._execute(LOAD[size], address, 0, secure)
        return self.machine.core.x[1]

    def store(self, address: int, value: int, size: int = 8, *, secure: bool = True) -> None:
        self._execute(STORE[size], address, value, secure)

    def _execute(self, instruction: int, address: int, value: int, secure: bool) -> None:
        core = self.machine.core
        self.machine.write_physical(self.code, struct.pack("<2I", instruction, WFI))
        core.write_sysreg("SCR_EL3", SCR_RW | SCR_EA | (0 if secure else SCR_NS))
        core.x[PSTATE] = MASKED & ~0x100 | (EL3H if secure else EL1H)
        core.pc, core.x[0], core.x[1] = self.code, address, value
        if self.machine.run().pc != self.code + 4:
            raise Abort

    # --- registers --------------------------------------------------------------------------------------------------

    def read(self, device: Device, register: Register, index: int = 0) -> int:
        """As secure software reads it."""
        return device.read(register.at(index), register.width // 8, True)

    def write(self, device: Device, register: Register, value: int, index: int = 0) -> None:
        device.write(register.at(index), register.width // 8, value, True)

    def region(self, index: int, base: int, top: int, *, attributes: int = 1, access: int = 0) -> None:
        """Program a TZASC region; ``attributes`` and ``access`` as in its registers."""
        tzasc = self.board.tzasc
        self.write(tzasc, tzasc.REGION_BASE_LOW.register, base & 0xFFFFFFFF, index)
        self.write(tzasc, tzasc.REGION_BASE_HIGH.register, base >> 32, index)
        self.write(tzasc, tzasc.REGION_TOP_LOW.register, top & 0xFFFFFFFF, index)
        self.write(tzasc, tzasc.REGION_TOP_HIGH.register, top >> 32, index)
        self.write(tzasc, tzasc.REGION_ID_ACCESS.register, access, index)
        self.write(tzasc, tzasc.REGION_ATTRIBUTES.register, attributes, index)

    def gate(self, opened: bool = True) -> None:
        self.write(self.board.tzasc, self.board.tzasc.GATE_KEEPER.register, int(opened))

    def reaction(self, reaction: int) -> None:
        self.write(self.board.tzasc, self.board.tzasc.ACTION.register, reaction)

    def open_dram(self) -> None:
        """Everybody may do everything, and denials would be errors."""
        self.region(0, 0, 0, attributes=0xC0000000, access=0xFFFFFFFF)
        self.reaction(1)
        self.gate()

    def open_sram(self) -> None:
        """Non-secure code can be fetched from SRAM."""
        self.write(self.board.tzpc, self.board.tzpc.R0SIZE.register, 0)

    def run_from_dram(self) -> None:
        """The accesses are fetched from DRAM; external aborts still go to EL3, in SRAM."""
        self.open_dram()
        self.code = PAGE + MIB

    # --- DMA --------------------------------------------------------------------------------------------------------

    def bypass_smmu(self) -> None:
        """DMA addresses are physical: for tests of the filters alone."""
        smmu = self.board.smmu
        self.write(smmu, smmu.GBPA.register, smmu.GBPA.register.fields["update"].mask)

    def start(self, command: Command, address: int, blocks: int = 1, block: int = 0) -> None:
        storage = self.board.storage
        self.write(storage, storage.BLOCK.register, block)
        self.write(storage, storage.COUNT.register, blocks)
        self.write(storage, storage.ADDRESS.register, address)
        self.write(storage, storage.CONTROL.register, command)

    def finish(self) -> int:
        """Let guest time pass until the storage controller is idle: its status."""
        while self.machine.advance_to_next_event():
            self.machine.core.pc = CODE + 4
            self.machine.run()
        return self.read(self.board.storage, self.board.storage.STATUS.register)

    def transfer(self, command: Command, address: int, blocks: int = 1, block: int = 0) -> int:
        """One transfer from beginning to end: its status."""
        self.start(command, address, blocks, block)
        return self.finish()

    # --- events -----------------------------------------------------------------------------------------------------

    def seen(self, kind: EventKind) -> list[tuple[int, ...]]:
        """Arguments of the events of a kind, so far."""
        self.machine.events.drain()
        return [event.args for event in self.events if event.kind is kind]

    def forget(self) -> None:
        self.machine.events.drain()
        self.events.clear()


@contextmanager
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        yield made
    finally:
        made.machine.close()


def device_number(window: memory_map.Window) -> int:
    return memory_map.DEVICES.index(window)


def id_access(*, read: tuple[Nsaid, ...] = (), write: tuple[Nsaid, ...] = ()) -> int:
    """REGION_ID_ACCESS's value."""
    return sum(1 << nsaid for nsaid in read) | sum(1 << 16 + nsaid for nsaid in write)
