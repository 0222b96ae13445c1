"""The normal world: an honest one, what a hostile one can do in a gap, and false replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from monitor.abi import (
    MEM_ALLOCATE,
    MEM_NEXT_RELEASED,
    MEM_RECALL,
    MEM_RECLAIM,
    MINIMUM_DEADLINE,
    NPU_RECALL,
    NPU_RECLAIM,
    PageState,
    Status,
)
from monitor.services.messages import Request, RequestStatus, Service

from .core import LAYOUT, Act, Phone
from .memory import Memory
from .monitor import MonitorModel, Results

SHARED = DRAM_BASE + 0x20_0000  # the memory through which the worlds talk
SHARED_PAGES = 8
FREE = SHARED + 64 * PAGE_SIZE  # what is granted, from here on
GRANT = 3  # pages at most in one extent
JUNK = b"\xEE" * PAGE_SIZE

Reply: TypeAlias = tuple[int, ...]


class World(Protocol):
    """What an honest normal world needs of its phone."""

    @property
    def memory(self) -> Memory: ...

    @property
    def monitor(self) -> MonitorModel: ...

    def smc(self, function: int, *arguments: int) -> Results: ...


Lie: TypeAlias = Callable[["Asked"], Reply]


@dataclass
class Normal:
    """Serves requests: the lowest free pages, until ``limit`` are granted, and blocks of ``medium``.

    ``acts`` and ``lies`` come at requests, by number.
    """

    medium: bytes
    limit: int | None = None
    acts: dict[int, list[Act]] = field(default_factory=dict)
    lies: dict[int, Lie] = field(default_factory=dict)
    served: list[int] = field(default_factory=list)  # requests
    tokens: list[int] = field(default_factory=list)

    def answer(self, phone: Phone, request: int, arguments: tuple[int, ...]) -> Reply:
        """With whatever is planned for this request."""
        number = len(self.served)
        reply = self.serve(phone, request, arguments)
        for act in self.acts.get(number, []):
            act(phone)
        lie = self.lies.get(number)
        return lie(Asked(phone, arguments, reply)) if lie else reply

    def serve(self, phone: World, request: int, arguments: tuple[int, ...]) -> Reply:
        """As it should be."""
        self.served.append(request)
        match request:
            case Request.ALLOCATE_PAGES:
                left = arguments[0] if self.limit is None else self.limit - len(phone.monitor.state)
                base, pages = grant(phone, min(arguments[0], left)) if left > 0 else (0, 0)
                return (RequestStatus.DONE if pages else RequestStatus.OUT_OF_MEMORY, base, pages)
            case Request.LOAD_BLOCKS:
                block, base, pages = arguments[:3]
                load(phone, self.medium, block, base, pages)
            case Request.FREE_PAGES:
                reclaim_released(phone)
            case Request.TOKEN:
                self.tokens.append(arguments[0])
        return (RequestStatus.DONE,)


def grant(phone: World, wanted: int) -> tuple[int, int]:
    """The lowest NORMAL pages in a row, ALLOCATED."""
    monitor = phone.monitor
    base = FREE
    while monitor.page_state(base) is not PageState.NORMAL or base in monitor.revoked:
        base += PAGE_SIZE
    pages = 1
    while pages < min(wanted, GRANT) and is_free(phone, base + pages * PAGE_SIZE):
        pages += 1
    assert phone.smc(MEM_ALLOCATE.function, base, pages)[0] == Status.SUCCESS
    return base, pages


def is_free(phone: World, page: int) -> bool:
    return phone.monitor.page_state(page) is PageState.NORMAL and page not in phone.monitor.revoked


def load(phone: World, medium: bytes, block: int, base: int, pages: int) -> None:
    """By DMA: what is out of reach stays as it is."""
    for index in range(pages):
        page = base + index * PAGE_SIZE
        if reachable(phone, page):
            at = (block + index) * PAGE_SIZE
            phone.memory.write(page, medium[at : at + PAGE_SIZE].ljust(PAGE_SIZE, b"\0"))


def reachable(phone: World, page: int) -> bool:
    """By any master of the normal world's."""
    inside = DRAM_BASE <= page < LAYOUT.normal_end
    return inside and phone.monitor.page_state(page) in (PageState.NORMAL, PageState.ALLOCATED)


def reclaim_released(phone: World) -> None:
    cursor = 0
    while True:
        _, base, pages, cursor = phone.smc(MEM_NEXT_RELEASED.function, cursor)
        if pages:
            assert phone.smc(MEM_RECLAIM.function, base, pages, 0)[0] == Status.SUCCESS
        if not cursor:
            return


# Acts: what the normal world does while it has the core


def pages_in(phone: World, state: PageState) -> list[int]:
    return sorted(page for page, held in phone.monitor.state.items() if held is state)


def owe(phone: Phone, pages: int) -> None:
    """Ask for pages, and let the deadline pass."""
    phone.smc(MEM_RECALL.function, pages, MINIMUM_DEADLINE)
    phone.monitor.now += MINIMUM_DEADLINE


def force(number: int) -> Act:
    """Take the LOCKED page of this number by force; there may be none."""

    def act(phone: Phone) -> bool:
        locked = pages_in(phone, PageState.LOCKED)
        if number >= len(locked):
            return False
        owe(phone, 1)
        assert phone.force(locked[number])[0] == Status.SUCCESS
        return True

    return act


def force_and_promise_again(number: int) -> Act:
    """The same page is ALLOCATED again at once, if the secure world has acknowledged it, and holds what it likes."""

    def act(phone: Phone) -> bool:
        locked = pages_in(phone, PageState.LOCKED)
        if number >= len(locked):
            return False
        force(number)(phone)
        phone.call(Service.POLL)
        phone.smc(MEM_ALLOCATE.function, locked[number], 1)
        scribble(phone)
        return True

    return act


def force_all(phone: Phone) -> bool:
    locked = pages_in(phone, PageState.LOCKED)
    if locked:
        owe(phone, len(locked))
    for page in locked:
        assert phone.force(page)[0] == Status.SUCCESS
    return bool(locked)


def take_back(phone: Phone) -> bool:
    """Everything ALLOCATED or RELEASED."""
    pages = (*pages_in(phone, PageState.ALLOCATED), *pages_in(phone, PageState.RELEASED))
    for page in pages:
        assert phone.smc(MEM_RECLAIM.function, page, 1, 0)[0] == Status.SUCCESS
    return bool(pages)


def scribble(phone: Phone) -> None:
    """DMA over every page that the secure world may take for its own: ALLOCATED, or NORMAL again."""
    for page in list(phone.memory.pages):
        if page >= FREE and reachable(phone, page):
            phone.memory.write(page, JUNK)


def recall(pages: int) -> Act:
    """Asked for, and not taken."""

    def act(phone: Phone) -> None:
        phone.smc(MEM_RECALL.function, pages, 1000 * MINIMUM_DEADLINE)

    return act


def call(service: int, *arguments: int) -> Act:
    """SECURE_CALL, whatever it answers."""

    def act(phone: Phone) -> None:
        phone.call(service, *arguments)

    return act


def answer(thread: int) -> Act:
    """SECURE_RESUME of a thread that nobody asked to resume: refused while one is interrupted."""

    def act(phone: Phone) -> None:
        if phone.monitor.enter_by_reply() is Status.SUCCESS:
            phone._reply(thread, (0, 0, 0))

    return act


def force_npu(phone: Phone) -> None:
    phone.smc(NPU_RECALL.function, MINIMUM_DEADLINE)
    phone.monitor.now += MINIMUM_DEADLINE
    phone.smc(NPU_RECLAIM.function)


def start_job(looks: int) -> Act:
    """On the NPU, while it is the normal world's: NPU_ACQUIRE answers BUSY so often."""

    def act(phone: Phone) -> bool:
        monitor = phone.monitor
        if monitor.npu_is_secure or monitor.npu_drains:
            return False
        monitor.normal_job = looks
        return True

    return act


def interrupt_by_npu(phone: Phone) -> bool:
    """Its driver has it do so whenever it likes; the next entry says so."""
    phone.monitor.npu_interrupts = phone.monitor.npu_is_secure
    return phone.monitor.npu_is_secure


def name_of(act: Act) -> str:
    """For reports."""
    cells = [cell.cell_contents for cell in act.__closure__ or ()]
    numbers = [str(cell) for cell in cells if isinstance(cell, int | tuple)]
    return f"{act.__qualname__.split('.')[0]}({', '.join(numbers)})"


# Lies: what it answers instead of what is true


@dataclass(frozen=True)
class Asked:
    """A request, and the reply that an honest world would give."""

    phone: Phone
    arguments: tuple[int, ...]
    reply: Reply


def promised(base: int, pages: int = 1, status: int = RequestStatus.DONE) -> Lie:
    return lambda asked: (status, base, pages)


def held_page(state: PageState, number: int) -> Lie:
    """Promises a page in ``state``: of the secure world's own, or one that nobody has promised."""

    def lie(asked: Asked) -> Reply:
        pages = pages_in(asked.phone, state)
        return (RequestStatus.DONE, pages[number % len(pages)], 1) if pages else asked.reply

    return lie


def twice(asked: Asked) -> Reply:
    """The page before the new extent, which was promised last, is promised again."""
    status, base, pages = asked.reply
    return (status, base - PAGE_SIZE, pages + 1) if base > FREE else asked.reply


def larger(asked: Asked) -> Reply:
    return (*asked.reply[:2], asked.arguments[0] + 1)


def taken_back(asked: Asked) -> Reply:
    """What was promised is taken back before the answer."""
    take_back(asked.phone)
    return asked.reply


def partly_taken_back(asked: Asked) -> Reply:
    pages = pages_in(asked.phone, PageState.ALLOCATED)
    if pages:
        asked.phone.smc(MEM_RECLAIM.function, pages[-1], 1, 0)
    return asked.reply


def failed(asked: Asked) -> Reply:
    return (RequestStatus.STORAGE_FAILED, *asked.arguments[:2])


def nonsense(_: Asked) -> Reply:
    return ((1 << 64) - 1, (1 << 64) - 1, (1 << 63) + 1, 7)


def never_allocated(asked: Asked) -> Reply:
    return (RequestStatus.DONE, FREE + 1000 * PAGE_SIZE, min(asked.arguments[0], 4))


def failed_and_taken_back(asked: Asked) -> Reply:
    take_back(asked.phone)
    return failed(asked)


def scribbled(asked: Asked) -> Reply:
    """What was loaded is changed."""
    scribble(asked.phone)
    return asked.reply


def recalled_all(asked: Asked) -> Reply:
    """More is asked back than there is, so that promises are given up as well; they are taken back before that."""
    asked.phone.smc(MEM_RECALL.function, 10_000, 1000 * MINIMUM_DEADLINE)
    take_back(asked.phone)
    asked.phone.call(Service.POLL)
    return asked.reply


ALLOCATE_LIES: tuple[Lie, ...] = (
    *(held_page(state, number) for state in (PageState.LOCKED, PageState.ALLOCATED, PageState.RELEASED)
      for number in (0, -1)),
    promised(SHARED), promised(SHARED - PAGE_SIZE, 2), promised(FREE + 1), promised(DRAM_BASE - PAGE_SIZE),
    promised(LAYOUT.normal_end), promised(LAYOUT.normal_end - PAGE_SIZE, 2), promised(LAYOUT.secure_base),
    promised((1 << 64) - PAGE_SIZE), promised(0), promised(FREE, 0), promised(FREE, (1 << 64) - 1),
    promised(FREE + 100 * PAGE_SIZE, 1, 99), twice, larger, taken_back, partly_taken_back, nonsense, never_allocated,
)  # fmt: skip
LOAD_LIES: tuple[Lie, ...] = (
    failed, failed_and_taken_back, taken_back, partly_taken_back, nonsense, scribbled, recalled_all,
)  # fmt: skip
OTHER_LIES: tuple[Lie, ...] = (nonsense, recalled_all)


def lies_for(request: int) -> tuple[Lie, ...]:
    if request == Request.ALLOCATE_PAGES:
        return ALLOCATE_LIES
    return LOAD_LIES if request == Request.LOAD_BLOCKS else OTHER_LIES
