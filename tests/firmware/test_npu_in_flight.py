"""Pages that leave the NPU's reach while a secure job is at work on them: nothing moves once the call has returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.devices.npu import NpuControl, NpuCore
from emulator.devices.npu_program import TASK_COMMANDS, Task, amount, program
from emulator.events import Event, EventKind, NpuWhat
from emulator.memory_map import PAGE_SIZE
from monitor import abi
from monitor.abi import PAGES_PER_CALL, PageState

from .npu import STREAMS
from .phone import PAGE, Phone

COUNT, COLUMNS, ROWS = 32, 8192, 256  # 128 rows are a step of 65,000 ticks; its sums fill four pages
PLACES = {"features": (0, 64), "weights": (64, 512), "sums": (576, 8), "program": (584, 1)}  # first page, pages
IN_THE_FIRST_STEP = 24_000  # ticks from the start: the first group's sums are posted
OVER = 400_000
FIRST_SUMS, SECOND_SUMS = PLACES["sums"][0], PLACES["sums"][0] + 4
FIRST_WEIGHTS, SECOND_WEIGHTS = PLACES["weights"][0], PLACES["weights"][0] + 256

Take = Callable[[Phone, int], None]


def prepare(phone: Phone) -> None:
    """The secure NPU has what a job needs; IOVAs are those of the extent, from 0."""
    pages = sum(count for _, count in PLACES.values())
    for first in range(0, pages, PAGES_PER_CALL):
        count = min(PAGES_PER_CALL, pages - first)
        phone.lock(address(first), count)
        flags = abi.NPU_WRITE if first == FIRST_SUMS else 0
        assert phone.call(abi.NPU_MAP, first * PAGE_SIZE, address(first), count, flags)["done"] == count
    assert phone.status(abi.NPU_ACQUIRE) == abi.Status.SUCCESS


@pytest.fixture
def phone() -> Iterator[Phone]:
    """A job is about to begin, and a page is due."""
    phone = Phone().boot()
    prepare(phone)
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.wait(abi.MINIMUM_DEADLINE)
    phone.events.clear()
    phone.machine.events.listen((EventKind.DMA, EventKind.NPU), phone.events.append)
    yield phone
    phone.machine.close()


def address(page: int) -> int:
    return PAGE + page * PAGE_SIZE


def start(phone: Phone) -> None:
    """As the driver would; the job does the same task twice."""
    iova = {name: first * PAGE_SIZE for name, (first, _) in PLACES.items()}
    task = Task(iova["features"], iova["weights"], iova["sums"], COUNT, COLUMNS, ROWS)
    phone.machine.write_physical(address(PLACES["program"][0]), program([task, task], iova["program"]))
    for register in (NpuControl.POWER, NpuControl.CLOCK):
        phone.board.npu.control.write(register.offset, 4, 7, False)
    for register, value in (
        (NpuCore.PC_BASE_ADDRESS, iova["program"]),
        (NpuCore.PC_REGISTER_AMOUNTS, amount(TASK_COMMANDS)),
        (NpuCore.PC_TASK_CON, 2),
        (NpuCore.PC_OPERATION_ENABLE, 1),
    ):
        phone.board.npu.cores[0].write(register.offset, 4, value, False)


def release(phone: Phone, page: int) -> None:
    assert phone.call(abi.MEM_RELEASE, address(page), 1)["done"] == 1


def unmap(phone: Phone, page: int) -> None:
    assert phone.call(abi.NPU_UNMAP, page * PAGE_SIZE, 1)["done"] == 1


def force(phone: Phone, page: int) -> None:
    assert phone.call(abi.MEM_RECLAIM, address(page), 1, abi.FORCE)["done"] == 1


def moves(events: list[Event], page: int) -> list[bool]:
    """The NPU's DMA at a page: whether it was a write."""
    return [
        bool(event.args[4])
        for event in events
        if event.kind is EventKind.DMA
        and event.args[0] in STREAMS
        and event.args[2] <= address(page) < event.args[2] + event.args[3]
    ]


def run(phone: Phone, take: Take, page: int) -> tuple[list[Event], list[Event]]:
    """What happens while ``page`` is taken in the first step, and what after the call has returned."""
    start(phone)
    phone.wait(IN_THE_FIRST_STEP)
    assert moves(events(phone), FIRST_SUMS) == []
    take(phone, page)
    during = events(phone)
    phone.wait(OVER)
    assert not phone.board.npu.control.read(NpuControl.STATUS.offset, 4, False)
    return during, events(phone)


def events(phone: Phone) -> list[Event]:
    """Since the last time."""
    phone.machine.events.drain()
    found = list(phone.events)
    phone.events.clear()
    return found


def told(events: list[Event]) -> list[NpuWhat]:
    return [NpuWhat(event.args[1]) for event in events if event.kind is EventKind.NPU]


@pytest.mark.parametrize("take", [release, unmap, force])
def test_posted_sums_are_written_before_the_call_returns_and_never_after(phone: Phone, take: Take) -> None:
    during, after = run(phone, take, FIRST_SUMS)
    assert moves(during, FIRST_SUMS) == [True]
    assert moves(after, FIRST_SUMS) == []
    assert moves(after, SECOND_SUMS) == [True]  # the task goes on with what it still has
    assert told(after) == [NpuWhat.TASK_DONE, NpuWhat.FAULT]


@pytest.mark.parametrize("take", [release, unmap, force])
@pytest.mark.parametrize("page", [SECOND_SUMS, SECOND_WEIGHTS])
def test_job_that_comes_to_a_page_which_is_gone_ends_with_a_dma_error(phone: Phone, take: Take, page: int) -> None:
    during, after = run(phone, take, page)
    assert moves(during, page) == moves(after, page) == []
    assert told(after) == [NpuWhat.FAULT]


@pytest.mark.parametrize("take", [release, unmap, force])
def test_page_that_the_smmu_has_translated_before_is_gone_as_well(phone: Phone, take: Take) -> None:
    """The weights of the first step, which the second task wants again."""
    during, after = run(phone, take, FIRST_WEIGHTS)
    assert moves(during, FIRST_WEIGHTS) == moves(after, FIRST_WEIGHTS) == []
    assert told(after) == [NpuWhat.TASK_DONE, NpuWhat.FAULT]


def test_page_taken_by_force_holds_only_zeros_although_sums_were_posted_to_it(phone: Phone) -> None:
    phone.machine.write_physical(address(0), bytes([1]) * (COUNT * COLUMNS))
    phone.machine.write_physical(address(PLACES["weights"][0]), bytes([1]) * (ROWS * COLUMNS))
    run(phone, force, FIRST_SUMS)
    assert not any(phone.machine.read_physical(address(FIRST_SUMS), PAGE_SIZE))
    assert any(phone.machine.read_physical(address(SECOND_SUMS), PAGE_SIZE))


def test_released_page_is_nobodys_in_every_table(phone: Phone) -> None:
    run(phone, release, FIRST_SUMS)
    assert phone.entry(address(FIRST_SUMS)) == PageState.RELEASED
    assert phone.call(abi.MEM_RECLAIM, address(FIRST_SUMS), 1, 0)["done"] == 1
    assert not any(phone.machine.read_physical(address(FIRST_SUMS), PAGE_SIZE))
