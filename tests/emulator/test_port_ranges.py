"""Pages that lie together are accessed at once, and each of them as it is translated at that instant."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from emulator.memory_map import PAGE_SIZE
from emulator.native import lib
from emulator.world_port import PortAbort
from tests.emulator.guest import FRAMES, PAGE, TABLE, TABLES, WINDOW, Guest

PAGES = 8
CHANGED = 5  # of the window's pages
ELSEWHERE = FRAMES + 64 * PAGE_SIZE
SIZE = PAGES * PAGE_SIZE
LEVEL1, LEVEL2, LEVEL3 = (TABLES + 0x10_0000 + index * PAGE_SIZE for index in range(3))  # of other tables
LAST = TABLES + 2 * PAGE_SIZE  # level 3 of the guest's own


class Gathered(Guest):
    """Neighbouring pages are neighbours."""

    @staticmethod
    def scattered(index: int, _: int) -> int:
        return index


@pytest.fixture(name="guest")
def _guest() -> Iterator[Guest]:
    """It has accessed its pages at once often enough for them to be in the TLB together."""
    guest = Gathered(PAGES)
    guest.machine.write_physical(ELSEWHERE, b"\xbb" * PAGE_SIZE)
    for _ in range(3):
        guest.port.write(WINDOW, b"\xaa" * SIZE)
        assert guest.port.read(WINDOW, SIZE) == b"\xaa" * SIZE
    yield guest
    guest.machine.close()


def change(guest: Guest, entry: int) -> None:
    guest.machine.write_physical(LAST + CHANGED * 8, struct.pack("<Q", entry))


def invalidate(guest: Guest) -> None:
    lib.tlb_maintain(guest.machine.native, 0, 7, 3, (WINDOW >> 12) + CHANGED)  # TLBI VAAE1


def moved() -> bytes:
    return b"".join((b"\xbb" if page == CHANGED else b"\xaa") * PAGE_SIZE for page in range(PAGES))


@pytest.mark.parametrize(
    "access",
    [
        lambda guest: guest.port.read(WINDOW, SIZE),
        lambda guest: guest.port.write(WINDOW, bytes(SIZE)),
        lambda guest: guest.port.is_zero(WINDOW, SIZE),
    ],
    ids=["read", "write", "is zero"],
)
def test_a_page_is_refused_among_its_neighbours_from_its_tlbi_on(
    guest: Guest, access: Callable[[Guest], object]
) -> None:
    change(guest, 0)
    access(guest)  # the TLB still has it
    invalidate(guest)
    with pytest.raises(PortAbort) as abort:
        access(guest)
    assert abort.value.address == WINDOW + CHANGED * PAGE_SIZE


def test_a_page_is_elsewhere_from_its_tlbi_on(guest: Guest) -> None:
    change(guest, ELSEWHERE | PAGE)
    assert guest.port.read(WINDOW, SIZE) == b"\xaa" * SIZE
    invalidate(guest)
    assert guest.port.read(WINDOW, SIZE) == moved()


def test_a_page_that_may_not_be_written_is_read_among_its_neighbours(guest: Guest) -> None:
    frame = FRAMES + CHANGED * PAGE_SIZE
    change(guest, frame | PAGE | 1 << 7)
    invalidate(guest)
    for _ in range(3):
        assert guest.port.read(WINDOW, SIZE) == b"\xaa" * SIZE
    with pytest.raises(PortAbort) as abort:
        guest.port.write(WINDOW, bytes(SIZE))
    assert abort.value.address == WINDOW + CHANGED * PAGE_SIZE
    assert guest.machine.read_physical(frame, 2 * PAGE_SIZE) == b"\xaa" * (2 * PAGE_SIZE)


def test_other_tables_have_their_own_neighbours(guest: Guest) -> None:
    """Another address space: only the changed page is not where it is in the first one. No TLBI in between."""
    frames = [ELSEWHERE if page == CHANGED else FRAMES + page * PAGE_SIZE for page in range(PAGES)]
    entries = (frame | PAGE | 1 << 11 for frame in frames)
    guest.machine.write_physical(LEVEL1 + (WINDOW >> 30) % 512 * 8, struct.pack("<Q", LEVEL2 | TABLE))
    guest.machine.write_physical(LEVEL2, struct.pack("<Q", LEVEL3 | TABLE))
    guest.machine.write_physical(LEVEL3, struct.pack(f"<{PAGES}Q", *entries))
    for page in range(PAGES):  # the guest's own are of one address space as well
        entry = FRAMES + page * PAGE_SIZE | PAGE | 1 << 11
        guest.machine.write_physical(LAST + page * 8, struct.pack("<Q", entry))
    lib.tlb_maintain(guest.machine.native, 0, 7, 0, 0)  # TLBI VMALLE1
    for _ in range(3):
        guest.machine.core.write_sysreg("TTBR0_EL1", TABLES)
        assert guest.port.read(WINDOW, SIZE) == b"\xaa" * SIZE
        guest.machine.core.write_sysreg("TTBR0_EL1", LEVEL1 | 1 << 48)
        assert guest.port.read(WINDOW, SIZE) == moved()


def test_a_state_that_is_restored_has_its_own_neighbours(guest: Guest) -> None:
    change(guest, ELSEWHERE | PAGE)
    invalidate(guest)
    assert guest.port.read(WINDOW, SIZE) == moved()
    state = guest.machine.save()
    change(guest, FRAMES + CHANGED * PAGE_SIZE | PAGE)
    invalidate(guest)
    for _ in range(3):
        assert guest.port.read(WINDOW, SIZE) == b"\xaa" * SIZE
    guest.machine.restore(state)
    assert guest.port.read(WINDOW, SIZE) == moved()
