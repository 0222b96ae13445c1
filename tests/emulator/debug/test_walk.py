"""A walk in words says what the core would do: held against the native translation, address by address."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from emulator.debug.stream_walk import STREAM_BYTES, explain_stream
from emulator.debug.walk import Access, explain, read_virtual, to_physical
from emulator.devices.smmu import Smmu
from emulator.machine import Machine
from emulator.memory_map import DEVICES, DRAM_BASE, DRAM_MIN, NORMAL_IMAGE_END, PAGE_SIZE, SECURE_SRAM, StreamId
from emulator.native import ffi, lib
from emulator.world import World
from flexserve.system import System

TLBI_ALL = ((6, 3, 0), (4, 3, 4))  # ALLE3IS and ALLE1IS: op1, CRm, op2
ORDER = (Access.READ, Access.WRITE, Access.FETCH)  # as the native probe numbers them


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    system = System(DRAM_MIN)
    system.boot()
    yield system.machine
    system.dispose()


def addresses(machine: Machine) -> list[int]:
    layout = machine.layout
    steps = range(DRAM_BASE, layout.end, layout.size // 61 // PAGE_SIZE * PAGE_SIZE)
    bounds = [layout.carve_out_base, layout.secure_base, layout.ownership_base, layout.end]
    others = [0, 0x1234_5678_9000, 1 << 63, (1 << 64) - 8, SECURE_SRAM.base, SECURE_SRAM.end]
    return [*steps, *bounds, *others, *(window.base for window in DEVICES)]


@pytest.mark.parametrize("world", World)
def test_an_explanation_agrees_with_the_native_translation(machine: Machine, world: World) -> None:
    """At the normal gate, and with the same tables in the secure world: there the filters refuse the walks."""
    core, probe = machine.core, ffi.new("struct probe *")
    normal = core.read_sysreg("SCR_EL3")
    core.write_sysreg("SCR_EL3", normal & ~1 | world)
    for place in TLBI_ALL:
        lib.tlb_maintain(machine.native, *place, 0)
    verdicts = set()
    for address, access, level in itertools.product(addresses(machine), ORDER, (0, 1, 3)):
        lib.translate_probe(machine.native, address, ORDER.index(access), level, probe)
        found = explain(machine, address, access, level, world)
        translated = found.physical is not None
        assert (translated, found.physical or 0) == (probe.allowed, probe.physical if probe.allowed else 0), found
        verdicts.add((translated, found.allowed))
    core.write_sysreg("SCR_EL3", normal)
    assert {(True, True), (False, False)} <= verdicts


@pytest.mark.parametrize("hcr", [1 << 12, 1 << 27, 1 << 2, 0], ids=["DC", "TGE", "PTW", "no stage 2"])
def test_what_hcr_changes_is_explained_as_it_is_done(machine: Machine, hcr: int) -> None:
    """Stage 1 stays as it is but for what the bit does."""
    core, probe = machine.core, ffi.new("struct probe *")
    before = core.read_sysreg("HCR_EL2")
    core.write_sysreg("HCR_EL2", before & ~1 | hcr if hcr != 1 << 2 else before | hcr)
    for place in TLBI_ALL:
        lib.tlb_maintain(machine.native, *place, 0)
    for address, access in itertools.product(addresses(machine), ORDER):
        lib.translate_probe(machine.native, address, ORDER.index(access), 1, probe)
        found = explain(machine, address, access, 1, World.NORMAL)
        assert (found.physical is not None, found.physical or 0) == (probe.allowed, probe.physical * probe.allowed), (
            found
        )
    core.write_sysreg("HCR_EL2", before)
    for place in TLBI_ALL:
        lib.tlb_maintain(machine.native, *place, 0)


def test_a_page_outside_stage_2_is_refused_with_its_descriptor(machine: Machine) -> None:
    found = explain(machine, machine.layout.secure_base, Access.READ, 1, World.NORMAL)
    assert not found.allowed
    last = found.steps[-1]
    assert (last.stage, last.allowed) == ("stage 2", False)
    assert "= 0x0: invalid: translation fault, level 2" in last.text


def test_a_secure_access_to_normal_memory_is_refused_by_its_region(machine: Machine) -> None:
    found = explain(machine, DRAM_BASE, Access.READ, 1, World.SECURE)
    assert (found.allowed, found.physical) == (False, DRAM_BASE)
    assert found.steps[-1].stage == "TZASC"
    assert "region 1" in found.verdict
    assert "no secure reads" in found.verdict


def test_memory_is_read_as_the_core_addresses_it(machine: Machine) -> None:
    assert machine.core.level == 1
    assert to_physical(machine, DRAM_BASE + 8) == DRAM_BASE + 8
    assert read_virtual(machine, DRAM_BASE + PAGE_SIZE - 4, 8) == machine.read_physical(DRAM_BASE + PAGE_SIZE - 4, 8)
    with pytest.raises(ValueError, match="not mapped here: stage 2: level 2 descriptor"):
        to_physical(machine, machine.layout.ownership_base)


def test_an_entry_that_the_tlb_still_has_is_named(machine: Machine) -> None:
    """A page that was used, and then taken out of stage 2 without a TLBI."""
    page, probe = NORMAL_IMAGE_END, ffi.new("struct probe *")
    lib.translate_probe(machine.native, page, ORDER.index(Access.READ), 1, probe)
    before = explain(machine, page, Access.READ, 1, World.NORMAL)
    assert (before.allowed, before.stale) == (True, False)
    leaf = [step.descriptor for step in before.steps if step.stage == "stage 2" and step.descriptor and not step.depth][
        -1
    ]
    assert leaf
    descriptor = machine.read_physical(leaf, 8)
    machine.write_physical(leaf, bytes(8))
    stale = explain(machine, page, Access.READ, 1, World.NORMAL)
    assert (stale.allowed, stale.stale, stale.steps[-1].stage, stale.steps[-1].allowed) == (False, True, "TLB", True)
    assert f"physical {page:#x}, allows read, write" in stale.steps[-1].text
    for place in TLBI_ALL:
        lib.tlb_maintain(machine.native, *place, 0)
    assert not explain(machine, page, Access.READ, 1, World.NORMAL).stale
    machine.write_physical(leaf, descriptor)


def test_a_streams_explanation_agrees_with_the_smmu(machine: Machine) -> None:
    physical = ffi.new("uint64_t *")
    verdicts = set()
    for address, access in itertools.product(addresses(machine), (Access.READ, Access.WRITE)):
        passes = lib.smmu_translate(machine.native, StreamId.STORAGE, address, access is Access.WRITE, physical)
        found = explain_stream(machine, StreamId.STORAGE, address, access)
        assert (found.physical is not None, found.physical or 0) == (passes, physical[0] * passes), found
        verdicts.add(found.allowed)
    assert verdicts == {True, False}
    for stream, address in itertools.product((StreamId.NPU0, StreamId.NPU2), (DRAM_BASE, machine.layout.secure_base)):
        passes = lib.smmu_translate(machine.native, stream, address, False, physical)
        assert explain_stream(machine, stream, address, Access.READ).allowed == passes == (address == DRAM_BASE)


def test_a_stream_is_refused_by_what_refuses_it(machine: Machine) -> None:
    last = explain_stream(machine, StreamId.STORAGE, machine.layout.secure_base, Access.WRITE).steps[-1]
    assert (last.stage, last.allowed) == ("stage 2", False)
    assert "invalid: translation fault" in last.text
    table = next(device for _, device in machine.devices if isinstance(device, Smmu)).STRTAB_BASE["address"]
    place = (table << Smmu.STRTAB_BASE.fields["address"].lsb) + STREAM_BYTES * StreamId.NPU0
    entry = machine.read_physical(place, 8)
    machine.write_physical(place, (int.from_bytes(entry, "little") & ~0xE).to_bytes(8, "little"))  # Config: abort
    last = explain_stream(machine, StreamId.NPU0, DRAM_BASE, Access.READ).steps[-1]
    machine.write_physical(place, entry)
    assert (last.stage, last.allowed) == ("stream table", False)
