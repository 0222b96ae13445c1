"""Ports take pages in ranges, and what they reach is what the model lets them reach page by page."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from emulator.world import World
from emulator.world_port import PortAbort, WorldPort
from tests.emulator import bare
from tests.emulator.test_translation_model import (
    AF,
    ASIDS,
    NOT_GLOBAL,
    STAGE1_ROOTS,
    STAGE2_PAGE,
    STAGE2_TABLES,
    TABLE,
    Twins,
    live,
    randoms,
    start,
    twins,
)
from tests.emulator.translation_model import Access, Result

PAGES = 8
FRAMES = [DRAM_BASE + 0x10_0000 + PAGE_SIZE * frame for frame in range(PAGES)]
READ_ONLY, NS = 1 << 7, 1 << 5
STAGE2_NOT_READABLE = 1 << 6
EL1H = 0b0101
WORLDS = (World.SECURE, World.NORMAL)


def mostly_in_order(random: Random, page: int) -> int:
    return FRAMES[page] if random.randrange(5) else random.choice(FRAMES)


def map_stage1(random: Random, pair: Twins, page: int) -> None:
    flags = random.choice([0, 0, 0, NS, READ_ONLY]) | random.choice([0, NOT_GLOBAL])
    for root in STAGE1_ROOTS if random.randrange(2) else STAGE1_ROOTS[:1]:
        leaf = TABLE | AF | mostly_in_order(random, page) | flags
        pair.write_descriptor(root + 2 * PAGE_SIZE, page, random.choice([leaf] * 9 + [0]))


def map_stage2(random: Random, pair: Twins, page: int) -> None:
    leaf = mostly_in_order(random, page) | STAGE2_PAGE & ~random.choice([0, 0, 0, 0, STAGE2_NOT_READABLE])
    slot = (FRAMES[page] - DRAM_BASE) // PAGE_SIZE
    pair.write_descriptor(STAGE2_TABLES[2], slot, random.choice([leaf] * 9 + [0]))


def begin(random: Random, pair: Twins) -> None:
    start(random, pair)
    for page, frame in enumerate(FRAMES):
        pair.machine.write_physical(frame, bytes([page + 1]) * PAGE_SIZE)
        map_stage1(random, pair, page)
        map_stage2(random, pair, page)
    pair.machine.core.x[bare.PSTATE] = bare.DAIF | EL1H


def change(random: Random, pair: Twins) -> None:
    kind = random.randrange(8)
    if kind < 2:
        map_stage1(random, pair, random.randrange(PAGES))
    elif kind < 4:
        map_stage2(random, pair, random.randrange(PAGES))
    elif kind == 4:
        name = random.choice(["VAE1", "VAAE1", "IPAS2E1", "VMALLE1", "VMALLS12E1", "ASIDE1"])
        page = random.randrange(PAGES)
        address = FRAMES[page] if name.startswith("IPA") else page * PAGE_SIZE
        pair.tlbi(name, address >> 12 | random.choice(ASIDS) << 48)
    elif kind == 5:
        pair.set_filter(random.choice(FRAMES), random.random() < 0.5, random.random() < 0.5, bus_error=True)
    else:
        live(random, pair)


def expected(pair: Twins, first: int, end: int, access: Access) -> list[Result]:
    """Page by page, up to the first that is refused."""
    found: list[Result] = []
    for page in range(first, end):
        found.append(pair.model.probe(page * PAGE_SIZE, access, 1))
        result = found[-1]
        closed = not (pair.filter.normal if result.non_secure else pair.filter.secure)
        if not result.allowed or (result.physical == pair.filter.page and closed):
            return found[:-1]
    return found


def compare(random: Random, pair: Twins, ports: tuple[WorldPort, ...]) -> None:
    port = ports[pair.model.normal_world]
    first = random.randrange(PAGES - 1)
    end = random.randrange(first + 1, PAGES) + 1
    pages = expected(pair, first, end, Access.READ)
    if len(pages) == end - first:
        data = port.read(first * PAGE_SIZE, (end - first) * PAGE_SIZE)
        assert data == b"".join(pair.machine.read_physical(page.physical, PAGE_SIZE) for page in pages)
    else:
        with pytest.raises(PortAbort) as refused:
            port.read(first * PAGE_SIZE, (end - first) * PAGE_SIZE)
        assert refused.value.address == (first + len(pages)) * PAGE_SIZE


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(randoms, st.lists(randoms, min_size=40, max_size=100))
def test_a_range_reaches_what_its_pages_reach_one_by_one(first: Random, steps: list[Random]) -> None:
    with twins() as pair:
        begin(first, pair)
        ports = tuple(WorldPort(pair.machine.native, world) for world in WORLDS)
        for step in steps:
            change(step, pair)
            for _ in range(3):
                compare(step, pair, ports)


ANY = Random(1)  # noqa: S311


def test_each_page_of_a_range_has_its_own_entry_of_both_stages() -> None:
    """So that IPAS2E1 alone, which does not cover those, changes no page of it."""
    with twins() as pair:
        start(ANY, pair)
        for page, frame in enumerate(FRAMES):
            pair.machine.write_physical(frame, bytes([page + 1]) * PAGE_SIZE)
            pair.write_descriptor(STAGE1_ROOTS[0] + 2 * PAGE_SIZE, page, TABLE | AF | frame)
            pair.write_descriptor(STAGE2_TABLES[2], (frame - DRAM_BASE) // PAGE_SIZE, frame | STAGE2_PAGE)
        pair.machine.core.x[bare.PSTATE] = bare.DAIF | EL1H
        port = WorldPort(pair.machine.native, World.NORMAL)
        before = port.read(0, PAGES * PAGE_SIZE)
        pair.set_register("TTBR0_EL1", STAGE1_ROOTS[0] | 2 << 48)  # its pages are global
        assert port.read(0, PAGES * PAGE_SIZE) == before
        pair.write_descriptor(STAGE2_TABLES[2], (FRAMES[1] - DRAM_BASE) // PAGE_SIZE, FRAMES[7] | STAGE2_PAGE)
        pair.tlbi("IPAS2E1", FRAMES[1] >> 12)
        assert port.read(0, PAGES * PAGE_SIZE) == before
        pair.tlbi("VMALLE1")
        assert port.read(PAGE_SIZE, PAGE_SIZE) == bytes([8]) * PAGE_SIZE


def test_no_range_goes_beyond_the_table() -> None:
    """Even where the TLB still has pages of when the table was larger."""
    end = 1 << 25
    with twins() as pair:
        start(ANY, pair)
        root = STAGE1_ROOTS[0]
        pair.set_register("HCR_EL2", bare.HCR_RW)
        for address, frame in ((end - PAGE_SIZE, FRAMES[0]), (end, FRAMES[1])):
            pair.write_descriptor(root + PAGE_SIZE, address >> 21, root + 2 * PAGE_SIZE | TABLE)
            pair.write_descriptor(root + 2 * PAGE_SIZE, address >> 12 & 511, TABLE | AF | frame)
        pair.machine.core.x[bare.PSTATE] = bare.DAIF | EL1H
        port = WorldPort(pair.machine.native, World.NORMAL)
        port.read(end - PAGE_SIZE, 2 * PAGE_SIZE)
        pair.set_register("TCR_EL1", bare.TCR_EL1 & ~0x3F | 39)
        with pytest.raises(PortAbort) as refused:
            port.read(end - PAGE_SIZE, 2 * PAGE_SIZE)
        assert refused.value.address == end
