"""Walks in words against the core's own, on the random tables and registers that the translation is tested with."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.debug.syndrome import describe_fault
from emulator.debug.walk import Access, explain
from emulator.native import ffi, lib
from emulator.world import World
from tests.emulator.test_translation_model import (
    EDITED_SLOTS,
    REGISTERS,
    TABLES,
    Twins,
    descriptor,
    fill,
    randoms,
    register_value,
    twins,
    virtual_address,
)

TLBI_ALL = ((6, 3, 0), (4, 3, 0), (4, 3, 4))  # ALLE3IS, ALLE2IS, ALLE1IS: op1, CRm, op2


def change(random: Random, pair: Twins) -> None:
    if random.random() < 0.5:
        pair.write_descriptor(random.choice(TABLES), random.choice(EDITED_SLOTS), descriptor(random))
    else:
        name = random.choice(REGISTERS)
        pair.set_register(name, register_value(random, name))
    for place in TLBI_ALL:
        lib.tlb_maintain(pair.machine.native, *place, 0)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(randoms, st.lists(randoms, min_size=10, max_size=30))
def test_an_explanation_ends_as_the_cores_walk_does(start: Random, steps: list[Random]) -> None:
    with twins() as pair:
        machine, probe = pair.machine, ffi.new("struct probe *")
        lib.tzpc_set(machine.native, (1 << 32) - 1, 0)  # as on a board without a TZPC
        fill(start, pair)
        addresses = [virtual_address(start) for _ in range(16)]
        for step in steps:
            change(step, pair)
            world = machine.core.world
            for _ in range(8):
                address, access = step.choice(addresses), step.choice(list(Access))
                level = step.choice([0, 0, 1, 1, 1, 2, 3] if world is World.NORMAL else [0, 1, 1, 3])
                lib.translate_probe(machine.native, address, list(Access).index(access), level, probe)
                found = explain(machine, address, access, level, world)
                assert (found.physical is not None) == probe.allowed, found
                if probe.allowed:
                    assert found.physical == probe.physical, found
                    assert ("non-secure " in found.verdict) == probe.non_secure, found
                else:
                    assert describe_fault(probe.syndrome & 0x3F) in found.verdict, found
                    assert found.verdict.startswith(f"refused by stage {1 + (probe.syndrome >> 8 & 1)}"), found
