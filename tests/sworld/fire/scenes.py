"""Runs: a schedule, a script of the normal world's calls, and what must hold at the end of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from emulator.gate import Flow, Registers
from emulator.memory_map import PAGE_SIZE
from monitor.services.messages import GenerateRequest, OpenRequest, Service, ServiceStatus
from sworld.kernel import SecureKernel
from sworld.region import DeviceAccess, Kind, Region

from . import judge
from .core import Act, Driver, Phone, Point
from .model import SLOT, TOKEN, Computations, stored
from .normal import (
    SHARED,
    SHARED_PAGES,
    Lie,
    Normal,
    call,
    force,
    force_all,
    force_and_promise_again,
    force_npu,
    interrupt_by_npu,
    lies_for,
    recall,
    reclaim_released,
    scribble,
    start_job,
    take_back,
)

REQUEST, PROMPT, TEXT = 0, PAGE_SIZE, 2 * PAGE_SIZE  # offsets in shared memory
PROMPT_BYTES = b"ab"
POOL = 100  # the first of the services of PoolKernel
NAMED = {status.value for status in ServiceStatus}

Script: TypeAlias = Callable[[Phone], None]


@dataclass
class Planned:
    """``acts`` in the gap of each number."""

    acts: Mapping[int, Sequence[Act]] = field(default_factory=dict)
    is_over_if_idle = True

    def at(self, point: Point, phone: Phone) -> list[Act]:
        return list(self.acts.get(point.number, ()))


@dataclass
class Random:
    """Up to three acts in every ``spacing``-th gap, by ``seed``."""

    seed: int
    spacing: int
    is_over_if_idle = False

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - not for cryptography

    def at(self, point: Point, phone: Phone) -> list[Act]:
        if self._random.randrange(self.spacing):
            return []
        return [self._random.choice(EVERYTHING) for _ in range(self._random.randrange(1, 4))]


EVERYTHING: tuple[Act, ...] = (
    *(force(number) for number in range(20)), *(force_and_promise_again(number) for number in range(20)),
    force_all, take_back, scribble, recall(1), recall(7), recall(100), force_npu, reclaim_released,
    start_job(1), start_job(3), interrupt_by_npu,
    call(Service.POLL), call(Service.SHARE, SHARED + 64 * PAGE_SIZE, 8), call(Service.OPEN, REQUEST),
    call(Service.GENERATE, REQUEST), call(Service.CLOSE), call(999, 1, 2, 3, 4),
)  # fmt: skip


@dataclass
class Run:
    """One phone under one schedule; ``results`` of the script's calls by name. ``gaps``: up to where it settles."""

    phone: Phone
    normal: Normal
    computations: Computations
    gaps: int = 0
    results: list[ServiceStatus] = field(default_factory=list)

    def call(self, service: int, *arguments: int) -> ServiceStatus:
        """A call that is not made in a gap: it is served, and refused by name if at all."""
        status, *results = self.phone.call(service, *arguments)
        assert status == 0
        assert results[0] in NAMED
        self.results.append(ServiceStatus(results[0]))
        return self.results[-1]


def make(
    acts: Mapping[int, Sequence[Act]] | Random | None = None,
    *,
    requests: Mapping[int, list[Act]] | None = None,
    lies: Mapping[int, Lie] | None = None,
    use_npu: bool = False,
    driver: Driver | None = None,
    kernel: type[SecureKernel] = SecureKernel,
    normal: type[Normal] = Normal,
) -> Run:
    """A phone that has shared its memory, judged at every step."""
    content = stored()
    world = normal(content.medium, acts=dict(requests or {}), lies=dict(lies or {}))
    computations = Computations(content.plaintexts)
    schedule = acts if isinstance(acts, Random) else Planned(acts or {})
    held = Planned()
    phone = Phone(world, held, computations.operations(), (content.slot,), use_npu=use_npu, kernel=kernel)
    computations.pool = phone.kernel.pool
    phone.driver = computations.driver = driver or Driver()
    judge.Judge(phone, content.plain_pages())
    run = Run(phone, world, computations)
    assert run.call(Service.SHARE, SHARED, SHARED_PAGES) is ServiceStatus.DONE
    phone.schedule, phone.points = schedule, 0
    phone.judging = not (isinstance(schedule, Planned) and schedule.acts)  # what comes before was judged without it
    return run


def open_model(run: Run) -> ServiceStatus:
    run.phone.memory.write(SHARED + REQUEST, OpenRequest(SLOT).pack())
    return run.call(Service.OPEN, REQUEST)


def generate(run: Run, tokens: int = 2) -> ServiceStatus:
    request = GenerateRequest(PROMPT, len(PROMPT_BYTES), TEXT, PAGE_SIZE, tokens, 0.0, 1.0)
    run.phone.memory.write(SHARED + REQUEST, request.pack())
    run.phone.memory.write(SHARED + PROMPT, PROMPT_BYTES)
    run.normal.tokens.clear()
    result = run.call(Service.GENERATE, REQUEST)
    if result is ServiceStatus.DONE:
        assert run.normal.tokens == [TOKEN] * tokens
    return result


def settle(run: Run) -> None:
    """Whatever the normal world has begun is over: nothing is owed, everything released is its own again."""
    phone = run.phone
    run.gaps = phone.points
    phone.schedule, phone.judging = Planned(), True
    run.normal.acts, run.normal.lies = {}, {}
    phone.poll()
    reclaim_released(phone)
    phone.monitor.claim.owed = 0
    phone.monitor.npu_claim.owed = 0


def serve(run: Run) -> None:
    """A model is opened, serves a request, and is closed; afterwards everything is as it was before."""
    open_model(run)
    generate(run)
    settle(run)
    judge.at_rest(run.phone)
    run.call(Service.CLOSE)
    reclaim_released(run.phone)
    judge.empty(run.phone)


def serve_to_the_end(run: Run) -> None:
    """The same, and the model is closed before anything has settled."""
    open_model(run)
    generate(run)
    run.call(Service.CLOSE)
    settle(run)
    judge.empty(run.phone)


def serve_again(run: Run) -> None:
    """Nobody attacks any more: a model is served as if nothing had been."""
    assert open_model(run) is ServiceStatus.DONE
    assert generate(run) is ServiceStatus.DONE
    assert run.call(Service.CLOSE) is ServiceStatus.DONE
    reclaim_released(run.phone)
    judge.empty(run.phone)


def points(
    script: Callable[[Run], None],
    acts: Mapping[int, Sequence[Act]] | None = None,
    *,
    use_npu: bool = False,
    kernel: type[SecureKernel] = SecureKernel,
) -> int:
    """Gaps of a script that nobody disturbs, or nothing but ``acts``."""
    run = make(acts, use_npu=use_npu, kernel=kernel)
    script(run)
    return run.gaps


def requests(script: Callable[[Run], None]) -> list[int]:
    """Requests of a script that nobody disturbs."""
    run = make()
    script(run)
    return run.normal.served


def all_lies(script: Callable[[Run], None]) -> list[tuple[int, Lie]]:
    """Each lie that fits, at each request."""
    return [(number, lie) for number, request in enumerate(requests(script)) for lie in lies_for(request)]


# Flows of the pool by themselves


class PoolKernel(SecureKernel):
    """Services that are flows of the pool, one by one: short enough to try everything everywhere."""

    def _boot(self, base: int, end: int) -> Flow[None]:
        yield from super()._boot(base, end)
        self.kept: dict[int, Region] = {}
        flows: tuple[Callable[..., Flow[Registers]], ...] = (
            self._reserve_and_back, self._load, self._drop, self._discard, self._give_back, self._recall,
        )  # fmt: skip
        guarded = self.service._one_at_a_time
        self.service.handlers.update({POOL + index: guarded(flow) for index, flow in enumerate(flows)})

    def _region(self, number: int, pages: int) -> Region:
        if number not in self.kept:
            access = DeviceAccess(("none", "read", "write")[number % 3])
            kind = (Kind.WEIGHTS, Kind.KV, Kind.ACTIVATIONS)[number % 3]
            self.kept[number] = self.pool.reserve(kind, f"region {number}", pages * PAGE_SIZE, access)
        return self.kept[number]

    def _reserve_and_back(self, number: int, pages: int, *_: int) -> Flow[Registers]:
        region = self._region(number, pages)
        yield from self.pool.back(region, pages)
        assert len(region.frames) >= pages
        return ()

    def _load(self, number: int, pages: int, *_: int) -> Flow[Registers]:
        region = self._region(number, pages)
        while len(region.frames) < pages:
            generation = region.generation
            grant = yield from self.pool.promise(pages - len(region.frames))
            yield from self.pool.keep(grant, region, generation)
        return ()

    def _drop(self, number: int, *_: int) -> Flow[Registers]:
        yield from self.pool.drop(self._region(number, 1))
        return ()

    def _discard(self, number: int, *_: int) -> Flow[Registers]:
        region = self._region(number, 1)
        del self.kept[number]
        yield from self.pool.discard(region)
        return ()

    def _give_back(self, *_: int) -> Flow[Registers]:
        return ((yield from self.pool.give_back()),)

    def _recall(self, owed: int, *_: int) -> Flow[Registers]:
        yield from self.pool.recall(owed)
        return ()


BACK, LOAD, DROP, DISCARD, GIVE_BACK, RECALL = range(POOL, POOL + 6)

Calls: TypeAlias = tuple[tuple[int, ...], ...]


class PoolFlow(NamedTuple):
    """Calls ``before`` the one that is ``disturbed``; what the normal world ``takes`` out of that one's first reply.

    With a page taken, SECURE_RESUME answers BUSY: an entry that serves the revocation comes before the reply.
    """

    before: Calls
    disturbed: tuple[int, ...]
    takes: tuple[Act, ...] = ()


FLOWS: Mapping[str, PoolFlow] = {
    "back": PoolFlow((), (BACK, 0, 4)),
    "back more": PoolFlow(((BACK, 1, 3),), (BACK, 4, 4)),
    "back out of free pages": PoolFlow(((BACK, 2, 4), (DROP, 2)), (BACK, 5, 6)),
    "load": PoolFlow((), (LOAD, 1, 5)),
    "load more": PoolFlow(((LOAD, 1, 3), (BACK, 0, 2)), (LOAD, 4, 4)),
    "drop": PoolFlow(((BACK, 1, 4), (BACK, 2, 3)), (DROP, 1)),
    "discard": PoolFlow(((BACK, 2, 4), (BACK, 0, 2)), (DISCARD, 2)),
    "give back": PoolFlow(((BACK, 1, 6), (DROP, 1), (BACK, 2, 2)), (GIVE_BACK,)),
    "recall free pages": PoolFlow(((BACK, 1, 6), (DROP, 1)), (RECALL, 4)),
    "recall a region": PoolFlow(((BACK, 0, 3), (BACK, 1, 3), (BACK, 2, 3)), (RECALL, 5)),
    "recall everything": PoolFlow(((BACK, 0, 3), (BACK, 1, 3)), (RECALL, 100)),
    "revocation": PoolFlow(((BACK, 1, 3), (BACK, 2, 2)), (BACK, 4, 2), (force(1),)),
    "revocation of two runs": PoolFlow(((BACK, 1, 3), (BACK, 2, 2)), (BACK, 4, 2), (force(0), force(3))),
    "revocation of what is free": PoolFlow(((BACK, 1, 4), (DROP, 1)), (LOAD, 4, 2), (force(1),)),
    "revocation, then a recall": PoolFlow(((BACK, 1, 3), (BACK, 2, 2)), (LOAD, 4, 2), (force(1), recall(2))),
}


def pool_flow(name: str) -> Callable[[Run], None]:
    """The flow of this name, then everything back."""

    def script(run: Run) -> None:
        before, disturbed, takes = FLOWS[name]
        schedule, run.phone.schedule = run.phone.schedule, Planned()
        judging, run.phone.judging = run.phone.judging, False
        for one in before:
            assert run.call(*one) is ServiceStatus.DONE
        run.phone.schedule, run.phone.points, run.phone.judging = schedule, 0, judging
        run.normal.acts = {len(run.normal.served): list(takes)}
        run.call(*disturbed)
        settle(run)
        judge.at_rest(run.phone)
        assert isinstance(run.phone.kernel, PoolKernel)
        for number in list(run.phone.kernel.kept):
            assert run.call(DISCARD, number) is ServiceStatus.DONE
        run.call(GIVE_BACK)
        reclaim_released(run.phone)
        judge.empty(run.phone)

    return script


