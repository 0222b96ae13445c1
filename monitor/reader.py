"""Reads what the rules look at out of a machine, past every filter and without executing anything."""

from __future__ import annotations

from emulator.devices.smmu import Smmu
from emulator.image import Image
from emulator.inspection import Inspection, Memory, Registers
from emulator.machine import Machine, MmioDevice
from emulator.memory_map import SMMU
from monitor.hardware import DEADLINES, REGISTERS, TICKS, TIMER, Hardware, Layout, Raw, Snapshot
from monitor.memory import WORD

KNOWN_BYTES = 1 << 25  # of snapshots that are remembered


class Reader:
    """Looks at one machine, which ``image`` is the monitor of."""

    def __init__(self, machine: Machine, image: Image) -> None:
        self.layout = layout = Layout(machine.layout, image)
        self._machine = machine
        self._inspection = Inspection(machine.native)
        self._registers = Registers(machine.native, REGISTERS)
        self._timer = Registers(machine.native, TIMER)
        self._ticks = Registers(machine.native, TICKS)
        self._left_ticks = Memory(machine.native, [layout.ticks])
        self._memory = Memory(machine.native, list(layout.memory.values()))
        self._variables = Memory(machine.native, [*layout.variables.places, layout.variable("pages_in")])
        self._deadlines = Memory(machine.native, [layout.variable(name) for name in DEADLINES])
        self._contexts = Memory(machine.native, layout.saved())
        self._known: list[Snapshot] = []
        self._most_known = max(KNOWN_BYTES // self._memory.size, 2)
        self._snapshots = 0
        self._smmu: MmioDevice | None = None

    def look(self, before: Hardware | None = None) -> Hardware:
        """``before``: what was seen last."""
        memory, seen = self._snapshot(), self._inspection
        raw = Raw(
            self._registers.read() + seen.other_registers(),
            seen.filters(),
            seen.smmu_registers() + self._kept_by_smmu().to_bytes(WORD, "little"),
            seen.streams(),
            seen.core_tlb.read(),
            seen.smmu_tlb.read(),
            seen.transfers(),
            seen.interrupts(),
            seen.npu(),
            self._variables.read(),
            memory.number,
            self._contexts.read(),
            self._timer.read() + self._deadlines.read(),
            self._ticks.read() + self._left_ticks.read(),
        )
        return Hardware(self.layout, raw, memory, self._machine, before)

    def _snapshot(self) -> Snapshot:
        """The same one for the same memory, as long as it is among the last that were seen."""
        for index, known in enumerate(self._known):
            if self._memory.holds(known.data):
                if index:
                    self._known.insert(0, self._known.pop(index))
                return known
        self._snapshots += 1
        self._known.insert(0, Snapshot(self.layout, self._snapshots, self._memory.read()))
        del self._known[self._most_known :]
        return self._known[0]

    def _kept_by_smmu(self) -> int:
        """CR1, which the device keeps and the native part has no use for."""
        if self._smmu is None:
            self._smmu = next(device for window, device in self._machine.devices if window == SMMU)
        return self._smmu.values[Smmu.CR1.offset]
