"""The NPU between the worlds: every call, each failure of its row, and who reaches what before, during and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.devices.smmu_structures import Opcode
from emulator.events import Event, EventKind
from emulator.memory_map import MIB, NPU0, PAGE_SIZE, StreamId
from emulator.world import World
from monitor import abi
from monitor.abi import Call, Pending, Status
from monitor.memory import CarveOut
from monitor.view import read_reverse_table, read_stage2

from .npu import (
    CLOCK,
    EVERY_PAGE,
    POWER,
    STATUS,
    STREAMS,
    dma_reaches,
    normal_reaches,
    power_on,
    start_job,
)
from .phone import NEVER, PAGE, STATUS_MASK, Phone

IOVA = 0x10_0000
NPU_SPACE = 64 * MIB  # as much as there is DRAM
ALL = set(STREAMS)
NONE: set[StreamId] = set()


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    yield phone
    phone.machine.close()


def mapped(phone: Phone) -> dict[int, int]:
    """IOVA to physical address, as the NPU's own table has it."""
    mapping = read_stage2(phone.machine, phone.layout.carve_out_base + CarveOut.NPU_ROOT)
    return dict(zip(mapping.inputs.tolist(), mapping.outputs.tolist(), strict=True))


def acquire(phone: Phone) -> None:
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS


def draining(phone: Phone) -> None:
    """A normal job is in flight, and the secure world wants the NPU."""
    power_on(phone)
    start_job(phone, PAGE)
    assert phone.status(abi.NPU_ACQUIRE) == Status.BUSY


def recalled(phone: Phone) -> None:
    acquire(phone)
    phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE)


def revoked(phone: Phone) -> None:
    recalled(phone)
    phone.wait(abi.MINIMUM_DEADLINE)
    assert phone.status(abi.NPU_RECLAIM) == Status.SUCCESS


def pending(phone: Phone) -> Pending:
    """What an entry into the secure world says."""
    phone.enter(World.NORMAL)
    phone.smc(abi.SECURE_CALL.function)
    return Pending(phone.registers(1)[0])


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [1, 63, 64, 65, 200])
def test_map_and_unmap_do_a_window_and_say_how_much(phone: Phone, pages: int) -> None:
    for first in range(0, pages, abi.PAGES_PER_CALL):
        phone.lock(PAGE + first * PAGE_SIZE, min(abi.PAGES_PER_CALL, pages - first))
    done = min(pages, abi.PAGES_PER_CALL)
    assert phone.call(abi.NPU_MAP, IOVA, PAGE, pages) == {"status": 0, "done": done}
    wanted = {IOVA + index * PAGE_SIZE: PAGE + index * PAGE_SIZE for index in range(done)}
    assert mapped(phone) == wanted
    assert read_reverse_table(phone.machine, phone.layout) == {page: iova for iova, page in wanted.items()}
    assert phone.call(abi.NPU_UNMAP, IOVA, pages) == {"status": 0, "done": done}
    assert mapped(phone) == {} == read_reverse_table(phone.machine, phone.layout)


def test_unmap_passes_over_what_is_not_mapped(phone: Phone) -> None:
    phone.lock(PAGE, 2)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 1)
    phone.call(abi.NPU_MAP, IOVA + 2 * PAGE_SIZE, PAGE + PAGE_SIZE, 1)
    assert phone.call(abi.NPU_UNMAP, IOVA - PAGE_SIZE, 3) == {"status": 0, "done": 3}
    assert mapped(phone) == {IOVA + 2 * PAGE_SIZE: PAGE + PAGE_SIZE}


def test_first_and_last_address_of_the_npu_can_be_mapped(phone: Phone) -> None:
    phone.lock(PAGE, 2)
    assert phone.status(abi.NPU_MAP, 0, PAGE, 1) == Status.SUCCESS
    assert phone.status(abi.NPU_MAP, NPU_SPACE - PAGE_SIZE, PAGE + PAGE_SIZE, 1) == Status.SUCCESS
    assert mapped(phone) == {0: PAGE, NPU_SPACE - PAGE_SIZE: PAGE + PAGE_SIZE}


@pytest.mark.parametrize("mode", ["normal", "secure"])
def test_page_that_is_given_back_leaves_the_npus_table(phone: Phone, mode: str) -> None:
    phone.lock(PAGE, 4)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 4)
    if mode == "secure":
        acquire(phone)
    assert phone.call(abi.MEM_RELEASE, PAGE + PAGE_SIZE, 2) == {"status": 0, "done": 2}
    assert mapped(phone) == {IOVA: PAGE, IOVA + 3 * PAGE_SIZE: PAGE + 3 * PAGE_SIZE}


@pytest.mark.parametrize("mode", ["normal", "secure"])
def test_page_that_is_taken_by_force_leaves_the_npus_table(phone: Phone, mode: str) -> None:
    phone.lock(PAGE, 4)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 4)
    if mode == "secure":
        acquire(phone)
    phone.call(abi.MEM_RECALL, 2, abi.MINIMUM_DEADLINE)
    phone.wait(abi.MINIMUM_DEADLINE)
    assert phone.call(abi.MEM_RECLAIM, PAGE, 2, abi.FORCE) == {"status": 0, "done": 2}
    assert mapped(phone) == {IOVA + index * PAGE_SIZE: PAGE + index * PAGE_SIZE for index in (2, 3)}


def unmap(phone: Phone) -> None:
    phone.status(abi.NPU_UNMAP, IOVA, 2)


def release(phone: Phone) -> None:
    phone.status(abi.MEM_RELEASE, PAGE, 2)


@pytest.mark.parametrize("take", [unmap, release])
def test_secure_npu_has_forgotten_a_page_before_the_call_returns(phone: Phone, take: Callable[[Phone], None]) -> None:
    """A TLBI for each address and a SYNC behind them, which waits for DMA under way too."""
    phone.lock(PAGE, 2)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 2)
    acquire(phone)
    commands: list[Event] = []
    phone.machine.events.listen((EventKind.SMMU_COMMAND,), commands.append)
    take(phone)
    found = [(event.args[0] & 0xFF, event.args[0] >> 32, event.args[1] & ~0xFFF) for event in commands]
    tlbi = (Opcode.TLBI_S2_IPA, abi.Vmid.NPU)
    assert found == [(*tlbi, IOVA), (*tlbi, IOVA + PAGE_SIZE), (Opcode.SYNC, 0, 0)]


# --- the switch ----------------------------------------------------------------------------------------------------


def test_normal_world_has_the_npu_after_boot(phone: Phone) -> None:
    assert all(normal_reaches(phone, page) for page in EVERY_PAGE[-1:])
    assert dma_reaches(phone, PAGE) == dma_reaches(phone, PAGE, write=True) == ALL


def test_acquire_takes_registers_and_streams(phone: Phone) -> None:
    power_on(phone)
    assert all(normal_reaches(phone, page) for page in EVERY_PAGE if page % NPU0.size == 0)  # and fills its TLB
    phone.lock(PAGE, 2)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 1)
    phone.call(abi.NPU_MAP, IOVA + PAGE_SIZE, PAGE + PAGE_SIZE, 1, abi.NPU_WRITE)
    assert dma_reaches(phone, PAGE) == dma_reaches(phone, IOVA) == NONE  # LOCKED, and no DRAM
    acquire(phone)
    assert [page for page in EVERY_PAGE if normal_reaches(phone, page)] == []
    assert (dma_reaches(phone, IOVA), dma_reaches(phone, IOVA, write=True)) == (ALL, NONE)
    assert dma_reaches(phone, IOVA + PAGE_SIZE, write=True) == ALL
    for address in (PAGE, PAGE + 8 * PAGE_SIZE, 0, POWER, phone.layout.carve_out_base, phone.layout.secure_base):
        assert dma_reaches(phone, address) == NONE


def test_release_gives_registers_and_streams_back(phone: Phone) -> None:
    phone.lock()
    phone.call(abi.NPU_MAP, IOVA, PAGE, 1)
    acquire(phone)
    assert phone.status(abi.NPU_RELEASE) == Status.SUCCESS
    assert normal_reaches(phone, STATUS)
    assert dma_reaches(phone, IOVA) == dma_reaches(phone, PAGE) == NONE
    assert dma_reaches(phone, PAGE + PAGE_SIZE, write=True) == ALL
    assert mapped(phone) == {IOVA: PAGE}  # for the next time


def test_nothing_survives_a_switch_in_the_registers(phone: Phone) -> None:
    """Each way, what the one world leaves in registers the other finds as out of reset."""
    power_on(phone)
    register = NPU0.base + 0x10
    assert phone.probe("probe_write_word", register, 0x1234_5670) == "registers_done"
    acquire(phone)
    assert phone.status(abi.NPU_RELEASE) == Status.SUCCESS
    for switch in (POWER, CLOCK):
        phone.probe("probe_read_word", switch)
        assert phone.registers(1) == [0]
    power_on(phone)
    phone.probe("probe_read_word", register)
    assert phone.registers(1) == [0]


def test_registers_go_at_once_and_streams_when_the_normal_job_is_over(phone: Phone) -> None:
    draining(phone)
    assert not any(normal_reaches(phone, page) for page in EVERY_PAGE)
    assert dma_reaches(phone, PAGE) == ALL  # the job's own
    assert phone.status(abi.NPU_ACQUIRE) == Status.BUSY


def test_job_that_does_not_end_is_aborted_after_the_drain(phone: Phone) -> None:
    """Its core has lost its clock."""
    power_on(phone)
    start_job(phone, PAGE)
    assert phone.probe("probe_write_word", CLOCK, 0) == "registers_done"
    polls = [phone.status(abi.NPU_ACQUIRE)]
    while polls[-1] == Status.BUSY and len(polls) <= 8:
        phone.wait(abi.NPU_DRAIN_TICKS // 8)
        polls.append(phone.status(abi.NPU_ACQUIRE))
    assert polls == [Status.BUSY] * 8 + [Status.SUCCESS]
    assert phone.status(abi.NPU_ACQUIRE) == Status.WRONG_STATE  # it is secure


def test_driver_is_not_called_while_the_normal_job_drains(phone: Phone) -> None:
    draining(phone)
    assert phone.call(abi.DRIVER_CALL) == {"status": Status.WRONG_STATE}
    assert phone.core.world is World.SECURE


def test_release_before_the_drain_has_ended_leaves_the_normal_job_alone(phone: Phone) -> None:
    draining(phone)
    assert phone.status(abi.NPU_RELEASE) == Status.SUCCESS
    phone.probe("probe_read_word", STATUS)
    assert phone.registers(1) == [1]


# --- recall --------------------------------------------------------------------------------------------------------


def test_recall_of_what_is_the_callers_own_is_nothing(phone: Phone) -> None:
    assert phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE) == {"status": 0, "deadline": 0}
    assert pending(phone) == Pending.NEW_CALL


def test_recall_is_told_at_every_entry_until_the_npu_is_given_back(phone: Phone) -> None:
    recalled(phone)
    assert pending(phone) == pending(phone) == Pending.NEW_CALL | Pending.NPU_RECALL
    assert phone.status(abi.NPU_RELEASE) == Status.SUCCESS
    assert pending(phone) == Pending.NEW_CALL


def test_second_recall_keeps_the_earlier_deadline(phone: Phone) -> None:
    acquire(phone)
    first = phone.call(abi.NPU_RECALL, 4 * abi.MINIMUM_DEADLINE)["deadline"]
    assert first > phone.machine.instructions
    assert phone.call(abi.NPU_RECALL, 40 * abi.MINIMUM_DEADLINE)["deadline"] == first
    assert phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE)["deadline"] < first


@pytest.mark.parametrize("prepare", [recalled, draining], ids=["secure", "draining"])
def test_reclaim_takes_the_npu_back_after_the_deadline(phone: Phone, prepare: Callable[[Phone], None]) -> None:
    prepare(phone)
    phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE)
    phone.wait(abi.MINIMUM_DEADLINE)
    assert phone.status(abi.NPU_RECLAIM) == Status.SUCCESS
    assert normal_reaches(phone, STATUS)
    assert dma_reaches(phone, PAGE) == ALL
    assert phone.status(abi.NPU_RECLAIM) == Status.NOT_OWED


def test_revocation_is_told_until_the_next_acquire(phone: Phone) -> None:
    revoked(phone)
    assert pending(phone) == pending(phone) == Pending.NEW_CALL | Pending.NPU_REVOKED
    acquire(phone)
    assert pending(phone) == Pending.NEW_CALL


# --- rows ----------------------------------------------------------------------------------------------------------


def nothing(phone: Phone) -> None:
    pass


def locked(phone: Phone) -> None:
    phone.lock(PAGE, 2)


def allocated(phone: Phone) -> None:
    phone.call(abi.MEM_ALLOCATE, PAGE, 2)


def page_mapped(phone: Phone) -> None:
    phone.lock(PAGE, 3)
    phone.call(abi.NPU_MAP, IOVA, PAGE + PAGE_SIZE, 1)


SPACE_PAGES = NPU_SPACE // PAGE_SIZE
TO_2_64 = ((1 << 64) - IOVA) // PAGE_SIZE  # pages from IOVA on that end there
FAILURES: list[tuple[Call, Status, Callable[[Phone], None], tuple[int, ...]]] = [
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA, PAGE, 0)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA + 8, PAGE, 1)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA, PAGE + 8, 1)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (NPU_SPACE, PAGE, 1)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (NPU_SPACE - PAGE_SIZE, PAGE, 2)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (1 << 32, PAGE, 1)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (STATUS_MASK & ~0xFFF, PAGE, 1)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA, PAGE, STATUS_MASK)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA, PAGE, 1 << 52)),  # its end, in 64 bits, is its beginning
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA, PAGE, (1 << 52) + 1)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA, PAGE, TO_2_64)),
    (abi.NPU_MAP, Status.INVALID_PARAMETER, locked, (IOVA, PAGE, 1, 2)),
    (abi.NPU_MAP, Status.DENIED, locked, (IOVA, POWER, 1)),
    (abi.NPU_MAP, Status.DENIED, locked, (IOVA, STATUS_MASK & ~0xFFF, 1)),
    (abi.NPU_MAP, Status.DENIED, locked, (IOVA, 0x0E00_0000, 1)),
    (abi.NPU_MAP, Status.DENIED, locked, (IOVA, 0x4000_0000 + 64 * MIB - PAGE_SIZE, 1)),
    (abi.NPU_MAP, Status.WRONG_STATE, nothing, (IOVA, PAGE, 1)),
    (abi.NPU_MAP, Status.WRONG_STATE, allocated, (IOVA, PAGE, 1)),
    (abi.NPU_MAP, Status.WRONG_STATE, locked, (IOVA, PAGE, 3)),  # the last one is not locked
    (abi.NPU_MAP, Status.WRONG_STATE, page_mapped, (IOVA, PAGE, 1)),  # the address is taken
    (abi.NPU_MAP, Status.WRONG_STATE, page_mapped, (2 * IOVA, PAGE, 2)),  # the second page is mapped elsewhere
    (abi.NPU_UNMAP, Status.INVALID_PARAMETER, page_mapped, (IOVA, 0)),
    (abi.NPU_UNMAP, Status.INVALID_PARAMETER, page_mapped, (IOVA + 8, 1)),
    (abi.NPU_UNMAP, Status.INVALID_PARAMETER, page_mapped, (0, SPACE_PAGES + 1)),
    (abi.NPU_UNMAP, Status.INVALID_PARAMETER, page_mapped, (IOVA, STATUS_MASK)),
    *((abi.NPU_UNMAP, Status.INVALID_PARAMETER, page_mapped, (IOVA, pages))
      for pages in (1 << 52, (1 << 52) + 1, TO_2_64, TO_2_64 + 1)),
    (abi.NPU_ACQUIRE, Status.WRONG_STATE, acquire, ()),
    (abi.NPU_ACQUIRE, Status.BUSY, draining, ()),
    (abi.NPU_RELEASE, Status.WRONG_STATE, nothing, ()),
    (abi.NPU_RELEASE, Status.WRONG_STATE, revoked, ()),
    (abi.NPU_RECALL, Status.INVALID_PARAMETER, acquire, (abi.MINIMUM_DEADLINE - 1,)),
    (abi.NPU_RECALL, Status.INVALID_PARAMETER, acquire, (STATUS_MASK,)),
    (abi.NPU_RECLAIM, Status.NOT_OWED, nothing, ()),
    (abi.NPU_RECLAIM, Status.NOT_OWED, acquire, ()),
    (abi.NPU_RECLAIM, Status.NOT_DUE, recalled, ()),
]


@pytest.mark.parametrize(
    ("call", "status", "prepare", "arguments"),
    FAILURES,
    ids=lambda value: value.name if isinstance(value, Call | Status) else None,
)
def test_fails_as_its_row_says(
    phone: Phone, call: Call, status: Status, prepare: Callable[[Phone], None], arguments: tuple[int, ...]
) -> None:
    prepare(phone)
    bounds = (phone.layout.carve_out_base, phone.layout.secure_base), (phone.layout.secure_end, phone.layout.end)
    before = [phone.machine.read_physical(base, end - base) for base, end in bounds]
    assert phone.call(call, *arguments) == {"status": status}
    assert phone.registers(len(call.returns))[1:] == [0] * (len(call.returns) - 1)
    assert [phone.machine.read_physical(base, end - base) for base, end in bounds] == before


def test_each_failing_status_of_the_table_is_tried() -> None:
    tried = {(call.name, status) for call, status, *_ in FAILURES}
    rows = [call for call in abi.CALLS if call.name.startswith("NPU_")]
    assert tried == {(call.name, status) for call in rows for status in call.fails}


# --- bounds --------------------------------------------------------------------------------------------------------


def test_mapping_calls_stay_within_the_bound_of_every_call(phone: Phone) -> None:
    phone.lock(PAGE, 64)
    for call, *arguments in (
        (abi.NPU_MAP, IOVA, PAGE, 64, abi.NPU_WRITE), (abi.NPU_ACQUIRE,), (abi.NPU_UNMAP, IOVA, 64),
        (abi.NPU_MAP, IOVA, PAGE, 64), (abi.MEM_RELEASE, PAGE, 64),
    ):  # fmt: skip
        assert phone.status(call, *arguments) == Status.SUCCESS
        assert phone.instructions <= abi.MAX_CALL_INSTRUCTIONS, call.name


def working(phone: Phone) -> None:
    power_on(phone)
    start_job(phone, PAGE + MIB)


def test_switch_to_the_normal_world_and_back_is_bounded(phone: Phone) -> None:
    """What FEATURES says of the two calls; nothing in the tables or in the normal world makes it longer."""
    phone.lock(PAGE, 64)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 64)
    acquire(phone)
    for prepare in (nothing, power_on, working):
        assert phone.status(abi.NPU_RELEASE) == Status.SUCCESS
        taken = phone.instructions
        prepare(phone)
        while (status := phone.status(abi.NPU_ACQUIRE)) == Status.BUSY:
            phone.wait(abi.NPU_DRAIN_TICKS // 4)
        assert status == Status.SUCCESS
        taken += phone.instructions
        assert abi.MAX_SWITCH_INSTRUCTIONS / 4 < taken <= abi.MAX_SWITCH_INSTRUCTIONS
    assert phone.machine.instructions < NEVER
