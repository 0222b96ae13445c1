"""Time that passes in blocks of NOPs: as exact as any other instructions', with the engine or past it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.machine import Machine, StopReason
from emulator.memory_map import DRAM_BASE, MIB, DramLayout
from emulator.native import ffi, lib

NOP, ADD, WFI = 0xD503201F, 0x91000400, 0xD503207F  # ADD x0, x0, #1
NOPS = 300


@pytest.fixture(name="machine")
def _machine() -> Iterator[Machine]:
    """At EL3, before 300 NOPs, an ADD, 300 more, and a WFI."""
    machine = Machine(DramLayout(64 * MIB))
    region = ffi.new("struct tzasc_region *")
    region.base, region.top, region.enabled = 0, (1 << 44) - 1, True
    region.secure_read = region.secure_write = True
    region.normal_read = region.normal_write = 0xFFFF
    lib.tzasc_set_region(machine.native, 0, region)
    lib.tzasc_set_control(machine.native, True, True)
    code = [*[NOP] * NOPS, ADD, *[NOP] * NOPS, WFI]
    machine.write_physical(DRAM_BASE, b"".join(word.to_bytes(4, "little") for word in code))
    machine.reset(DRAM_BASE)
    yield machine
    machine.close()


@pytest.mark.parametrize("step", [1, 7, 64, 299, 300, 301, 302, 450, 600])
def test_every_stop_is_at_its_instruction(machine: Machine, step: int) -> None:
    begun = machine.instructions
    for end in range(step, 2 * NOPS + 1, step):
        stop = machine.run(begun + end)
        assert stop.reason is StopReason.BUDGET
        assert machine.instructions - begun == end
        assert machine.core.pc == DRAM_BASE + 4 * end
        assert machine.core.x[0] == (end > NOPS)
    assert machine.run().reason is StopReason.WFI
    assert machine.core.x[0] == 1
