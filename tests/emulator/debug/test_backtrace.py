"""Backtraces of the monitor at work: from a C function out through the SMC to the gate that made the call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.debug.backtrace import Frame, backtrace
from emulator.debug.memory import dump
from emulator.memory_map import DRAM_MIN, NORMAL_IMAGE_END
from flexserve.sources import phone_sources
from flexserve.system import System
from monitor import abi


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    system = System(DRAM_MIN)
    system.boot()
    yield system
    system.dispose()


def frames_at(system: System, symbol: str) -> tuple[Frame, ...]:
    """The backtrace where a call of MEM_ALLOCATE first comes by ``symbol``, instruction by instruction."""
    machine, sources = system.machine, phone_sources(system.machine.layout)
    (there,) = sources.addresses_of_symbol(symbol)
    (smc,) = sources.addresses_of_symbol("normal_gate:gate_smc")
    machine.core.pc = smc
    for index, value in enumerate((abi.MEM_ALLOCATE.function, NORMAL_IMAGE_END, 4)):
        machine.core.x[index] = value
    while machine.core.pc != there:
        machine.run(machine.instructions + 1)
    frames = backtrace(machine, sources)
    machine.run()
    assert machine.core.x[0] in {0, abi.Status.WRONG_STATE + (1 << 64)}
    return frames


def test_a_c_function_unwinds_to_the_gate(system: System) -> None:
    frames = frames_at(system, "monitor:ownership_expect")
    assert [(frame.place or "").partition("+")[0] for frame in frames] == [
        "monitor:ownership_expect",
        "monitor:mem_allocate",
        "monitor:smc_entry",
        "monitor:vectors",
        "normal_gate:gate_smc",
    ]
    assert [frame.entered for frame in frames] == ["", "", "", "", "SMC: #0x0"]
    assert [frame.level for frame in frames] == [3, 3, 3, 3, 1]
    assert frames[2].source
    assert frames[2].source.path == "firmware/el3/smc.c"


def test_assembly_without_frames_still_names_who_made_the_call(system: System) -> None:
    frames = frames_at(system, "monitor:monitor_exit")
    assert [(frame.place or "").partition("+")[0] for frame in frames] == [
        "monitor:monitor_exit",
        "normal_gate:gate_smc",
    ]


def test_a_gate_has_no_callers(system: System) -> None:
    assert len(backtrace(system.machine, phone_sources(system.machine.layout))) == 1


def test_memory_reads_as_bytes_and_text(system: System) -> None:
    system.machine.write_physical(NORMAL_IMAGE_END, b"ABCD\0\x01\x7fxyzzy and more")
    first, second = dump(system.machine, NORMAL_IMAGE_END, 20, physical=True)
    assert str(first) == "0x0040200000  41 42 43 44 00 01 7f 78 79 7a 7a 79 20 61 6e 64  ABCD...xyzzy and"
    assert second.data == b" mor"
    assert dump(system.machine, NORMAL_IMAGE_END, 20, physical=False) == (first, second)
    with pytest.raises(ValueError, match="is not memory"):
        dump(system.machine, 0, 4, physical=True)
