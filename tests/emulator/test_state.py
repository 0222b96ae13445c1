"""A machine's state is all of it, and a file that says anything else is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.machine import Machine
from emulator.memory_map import DRAM_BASE, DRAM_MIN, PAGE_SIZE, DramLayout
from emulator.state import MachineState, StateError
from tests.emulator.bare import assemble, bare_machine

NATIVE = Path(__file__).resolve().parents[2] / "emulator" / "native"

# Of these structs every field is saved, but for those that are named here.
NOT_STATE = {
    "core": {
        # the engine, and how far it is inside a block: nothing at a stop
        "engine", "engine_context", "block_start", "block_bytes", "limit", "quiet_until", "part_bytes", "held",
        "forgetting", "refusal", "trap", "trap_address", "caught_at", "semihosting_called", "lost",
        # found out again when it is needed
        "registers", "fetched", "float_traps", "float_level", "float_generation", "float_free", "timers_due", "lines",
        # behind system registers, which are saved
        "hcr_virtual", "virtual_offset",
        # about one call of core_run, or for messages
        "stuck_at", "stuck", "first_fault",
        # the host's memory
        "scrubbed", "scrubbed_count",
        # how the machine was put together, and who listens
        "semihosting", "watch_calls",
    },
    "tzasc": set(),
    "tzpc": set(),
    "tlb": {"entries"},  # slot by slot
    "tlb_entry": set(),
    "smmu": {"registers"},  # word by word
    "smmu_stream": set(),
    "dma_channel": {"stream", "nsaid", "medium", "medium_bytes", "writable"},  # how it was put together; `state_medium`
    "dma_burst": set(),
    "gic": {"candidate"},  # found out again
    "gic_interrupt": set(),
    "gic_virtual": {"candidate"},
    "pmu": set(),
    "timer": {"compare"},  # behind CNTx_CVAL
    "table": {"base"},  # how the machine was put together
}  # fmt: skip


def fields(struct: str) -> set[str]:
    """Names of the fields of a struct of the native machine's."""
    for header in sorted(NATIVE.glob("*.h")):
        found = re.search(rf"^struct {struct} \{{\n(.*?)^\}};", header.read_text(), re.MULTILINE | re.DOTALL)
        if found:
            body = re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL)
            body = re.sub(r"\{[^}]*\}", "", body)
            return {match[1] for match in re.finditer(r"(\w+)(?:\[[^\]]*\])*;", body)}
    raise AssertionError(f"there is no struct {struct}")


@pytest.mark.parametrize("struct", NOT_STATE)
def test_every_field_is_saved(struct: str) -> None:
    saved = (NATIVE / "state.c").read_text()
    known = fields(struct)
    assert known >= NOT_STATE[struct], "the list names what there is not"
    assert {name for name in known - NOT_STATE[struct] if not re.search(rf"(?:->|\.){name}\b", saved)} == set()


def guest() -> Machine:
    """In the middle of an exclusive sequence, with something in every vector register."""
    machine = bare_machine()
    image = assemble(
        "_start: ldr x1, =0x41000000\n mov x2, #5\n str x2, [x1]\n fmov d3, #1.5\n ldxr x3, [x1]\n add x3, x3, #1\n"
        "stxr w4, x3, [x1]\n ldr x5, [x1]\n b ."
    )
    machine.load(image)
    machine.reset(image.entry)
    machine.run(5)
    return machine


def dumped(state: MachineState) -> bytes:
    file = io.BytesIO()
    state.write(file)
    return file.getvalue()


def test_exclusive_claim_is_state() -> None:
    machine, other = guest(), bare_machine()
    state = machine.save()
    other.restore(state)
    for one in (machine, other):
        one.run(9)
        assert one.core.x[4] == 0  # the store was exclusive
        assert one.core.x[5] == 6
        assert one.core.read_vector(3) == 0x3FF8_0000_0000_0000
    assert dumped(machine.save()) == dumped(other.save())
    machine.close()
    other.close()


def test_state_in_a_file_is_the_state() -> None:
    machine = guest()
    state = machine.save()
    again = MachineState.read(io.BytesIO(dumped(state)))
    assert (again.core, dict(again.pages), again.media) == (state.core, dict(state.pages), state.media)
    machine.close()


def test_snapshot_costs_what_has_changed() -> None:
    machine = bare_machine(DramLayout(DRAM_MIN).size)
    for page in range(0, 8 << 20, PAGE_SIZE):
        machine.write_physical(DRAM_BASE + page, b"x")
    first = machine.save()
    machine.write_physical(DRAM_BASE + 5 * PAGE_SIZE, b"y")
    second = machine.save()
    assert len(second.pages) == len(first.pages) == 2048
    assert [a for a in first.pages if first.pages[a] is not second.pages[a]] == [DRAM_BASE + 5 * PAGE_SIZE]
    machine.restore(first)
    assert machine.read_physical(DRAM_BASE + 5 * PAGE_SIZE, 1) == b"x"
    machine.close()


def test_state_of_a_larger_machine_is_refused() -> None:
    machine, other = bare_machine(128 << 20), bare_machine(64 << 20)
    machine.write_physical(DRAM_BASE + (100 << 20), b"x")
    with pytest.raises(StateError, match="another machine"):
        other.restore(machine.save())
    machine.close()
    other.close()


SMALL = dumped(guest().save())


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(SMALL) - 1), change=st.integers(1, 255), cut=st.booleans())
def test_damaged_state_is_refused_or_harmless(place: int, change: int, cut: bool) -> None:
    data = bytearray(SMALL)
    if cut:
        del data[place:]
    else:
        data[place] ^= change
    machine = bare_machine()
    try:
        machine.restore(MachineState.read(io.BytesIO(bytes(data))))
        machine.run(machine.instructions + 3)
    except StateError:
        pass
    finally:
        machine.close()


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 1 << 20), change=st.integers(1, 255))
def test_damaged_native_state_is_refused_or_harmless(place: int, change: int) -> None:
    state = MachineState.read(io.BytesIO(SMALL))
    core = bytearray(state.core)
    core[place % len(core)] ^= change
    machine = bare_machine()
    try:
        machine.restore(MachineState(bytes(core), state.devices, state.media, state.pages))
    except StateError:
        pass
    finally:
        machine.close()
