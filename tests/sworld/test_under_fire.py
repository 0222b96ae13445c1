"""The secure kernel under fire: in the gap before and behind each of its steps the normal world does whatever it can.

Short flows meet everything everywhere, a whole service samples of it; with UNDER_FIRE=everything in the environment
(scripts/acceptance/under_fire.sh) it meets everything everywhere as well, which takes more than half an hour.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import costs
from emulator.memory_map import PAGE_SIZE
from monitor.abi import (
    MEM_LOCK,
    MEM_RECALL,
    MEM_RELEASE,
    MINIMUM_DEADLINE,
    NPU_MAP,
    NPU_UNMAP,
    Call,
    PageState,
)
from monitor.services.messages import DriverOperation, GenerateRequest, Request, RequestStatus, Service, ServiceStatus
from sworld import npu, workspace
from sworld.region import DeviceAccess, Kind

from .fire import judge
from .fire.core import Act, Idle, Phone, Point
from .fire.driver import LIES, Liar
from .fire.normal import (
    SHARED,
    SHARED_PAGES,
    Normal,
    Reply,
    call,
    failed,
    force,
    force_all,
    force_and_promise_again,
    name_of,
    pages_in,
    reclaim_released,
    scribble,
    take_back,
)
from .fire.scenes import (
    BACK,
    EVERYTHING,
    FLOWS,
    LOAD,
    PROMPT,
    REQUEST,
    TEXT,
    Planned,
    PoolKernel,
    Random,
    Run,
    all_lies,
    generate,
    make,
    open_model,
    points,
    pool_flow,
    serve,
    serve_again,
    serve_to_the_end,
)

EVERYWHERE = os.environ.get("UNDER_FIRE") == "everything"
REVOCATIONS = [name for name, flow in FLOWS.items() if flow.takes]
PAGES = 9  # that a pool flow has LOCKED at most, but for one
IN_POOL_FLOWS: tuple[Act, ...] = (
    *(force(number) for number in range(PAGES)), *(force_and_promise_again(number) for number in range(4)),
    force_all, take_back,
)  # fmt: skip
TWICE: tuple[Act, ...] = (call(Service.POLL), force(0), force(2), force_and_promise_again(1), force_all)
SEEDS = 60
SINGLES = 126
PAIRS = 200
FALSE_ANSWERS = 26
LYING_SEEDS = 30
NEVER = 1 << 40  # multiplications: as many as no job has


@pytest.fixture(autouse=True)
def _every_step_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every action is paid by itself, so that the core can be taken behind each."""
    monkeypatch.setattr(costs, "MIN_STAY", 0)


@pytest.mark.parametrize("name", FLOWS)
def test_pool_flow_survives_everything_everywhere(name: str) -> None:
    script = pool_flow(name)
    for number in range(points(script, use_npu=True, kernel=PoolKernel)):
        for act in IN_POOL_FLOWS:
            try:
                script(make({number: [act]}, use_npu=True, kernel=PoolKernel))
            except Idle:
                continue
            except Exception as failed:
                raise AssertionError(f"gap {number}, {name_of(act)}") from failed


@pytest.mark.parametrize("name", REVOCATIONS)
def test_revocation_survives_any_two_things_anywhere(name: str) -> None:
    """An entry that serves a revocation is interrupted, and so is the entry that serves it above; a sample, or all."""
    script = pool_flow(name)
    pairs: list[dict[int, list[Act]]] = []
    for first in range(points(script, use_npu=True, kernel=PoolKernel)):
        for act in TWICE:
            try:
                total = points(script, {first: [act]}, use_npu=True, kernel=PoolKernel)
            except Idle:
                continue
            pairs += ({first: [act], second: [other]} for second in range(first + 1, total) for other in TWICE)
    for acts in pairs if EVERYWHERE else random.Random(0).sample(pairs, PAIRS):  # noqa: S311 - not for cryptography
        try:
            script(make(acts, use_npu=True, kernel=PoolKernel))
        except Idle:
            continue
        except Exception as failed:
            raise AssertionError({gap: name_of(act) for gap, (act,) in acts.items()}) from failed


@pytest.mark.parametrize("name", FLOWS)
def test_pool_flow_undisturbed_leaves_nothing(name: str) -> None:
    """The judge is asked at every step: what the other test begins with."""
    pool_flow(name)(make(use_npu=True, kernel=PoolKernel))


@pytest.mark.parametrize("use_npu", [False, True], ids=["processor", "npu"])
def test_model_is_served_undisturbed(use_npu: bool) -> None:
    run = make(use_npu=use_npu)
    serve(run)
    assert run.results == [ServiceStatus.DONE] * 4
    serve_again(run)
    if run.phone.kernel.npu:
        assert run.phone.kernel.npu.state.jobs > 10, "the NPU has not been used"


@pytest.mark.parametrize("use_npu", [False, True], ids=["processor", "npu"])
def test_service_survives_any_one_thing_anywhere(use_npu: bool) -> None:
    """A sample that meets every act, and every stretch of the flow; or all of it."""
    total = points(serve, use_npu=use_npu)
    singles = total * len(EVERYTHING) if EVERYWHERE else SINGLES
    for index in range(singles):
        act = EVERYTHING[index % len(EVERYTHING)]
        number = index * total // singles
        run = make({number: [act]}, use_npu=use_npu)
        try:
            serve(run)
            serve_again(run)
        except Idle:
            continue
        except Exception as failed:
            raise AssertionError(f"gap {number}, {name_of(act)}") from failed


@pytest.mark.parametrize("seed", range(SEEDS))
def test_service_survives_sequences(seed: int) -> None:
    """Up to three things in each of many gaps, above interrupted threads as well."""
    run = make(Random(seed, spacing=3 + 4 * seed % 97), use_npu=bool(seed % 2))
    serve(run)
    serve_again(run)


@pytest.fixture
def jobs_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job is begun at once and waited for later, though the model is small; requests come in between."""
    monkeypatch.setattr(npu, "OVERLAP_MACS", 0)
    monkeypatch.setattr(workspace, "SMALLEST_HALF", 1)


class WhileItMultiplies(Random):
    """And weights are taken whenever a job has begun: they are asked for again before it is waited for."""

    _is_under_way = False

    def at(self, point: Point, phone: Phone) -> list[Act]:
        acts = super().at(point, phone)
        before, self._is_under_way = self._is_under_way, bool(phone.kernel.npu and phone.kernel.npu._under_way)
        return [take_weights, *acts] if self._is_under_way and not (before or point.above) else acts


def take_weights(phone: Phone) -> None:
    """A page of each layer's."""
    for region in phone.kernel.pool.state.regions:
        if region.kind is Kind.WEIGHTS and region.frames:
            force(pages_in(phone, PageState.LOCKED).index(region.frames[0]))(phone)


def met_while_serving(run: Run, which: str) -> Counter[str]:
    """What has come to pass of the NPU, from a whole service and another one behind it."""
    try:
        serve_to_the_end(run)
        serve_again(run)
    except Exception as failed:
        raise AssertionError(which) from failed
    return run.phone.met


@pytest.mark.usefixtures("jobs_overlap")
def test_every_false_answer_of_the_driver_is_found_out() -> None:
    """One, in each call: a sample that meets every lie and every stretch of the flow; or all of it.

    What the driver is asked when the NPU has interrupted is among the calls.
    """
    honest = make(WhileItMultiplies(0, NEVER), use_npu=True)
    serve_to_the_end(honest)
    calls = honest.phone.driver.calls
    singles = calls * len(LIES) if EVERYWHERE else FALSE_ANSWERS
    told: Counter[str] = Counter()
    for index in range(singles):
        number, name = index * calls // singles, list(LIES)[index % len(LIES)]
        run = make(WhileItMultiplies(0, NEVER), use_npu=True, driver=Liar({number: name}))
        told += met_while_serving(run, f"call {number}: {name}")
    assert told.keys() >= {*LIES, "POWER by service", "SUBMIT by service", "WAIT by service", "WAIT by fiq"}


@pytest.mark.usefixtures("jobs_overlap")
def test_driver_fails_and_lies_in_any_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under fire, with interrupts of the NPU's and normal jobs that are waited for; each of these does come."""
    met: Counter[str] = Counter()
    for seed in range(LYING_SEEDS):
        monkeypatch.setattr(npu, "OVERLAP_MACS", (0, NEVER)[seed % 2])
        schedule = WhileItMultiplies(seed, spacing=3 + 4 * seed % 29)
        run = make(schedule, use_npu=True, driver=Liar(seed=seed))
        met += met_while_serving(run, f"seed {seed}")
    assert met.keys() >= {*LIES, *(f"{operation.name} by service" for operation in DriverOperation), "FIQ", "BUSY"}


@pytest.mark.parametrize("use_npu", [False, True], ids=["processor", "npu"])
def test_every_false_reply_is_refused_by_name_or_harmless(use_npu: bool) -> None:
    for number, lie in all_lies(serve):
        run = make(lies={number: lie}, use_npu=use_npu)
        try:
            serve(run)
            serve_again(run)
        except Exception as failed:
            raise AssertionError(f"request {number}: {lie.__qualname__}") from failed


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(0, 150), st.lists(st.sampled_from(EVERYTHING), min_size=1, max_size=3), max_size=6))
def test_any_schedule(acts: dict[int, list[Act]]) -> None:
    """What fails here is made smaller by itself."""
    run = make(acts)
    try:
        serve(run)
        serve_again(run)
    except Idle:
        return


# The windows that were open, by name

Where: TypeAlias = Callable[[Point, Phone], bool]


class Once:
    """``act`` in the first gap that ``where`` wants."""

    is_over_if_idle = False

    def __init__(self, where: Where, act: Act) -> None:
        self._where = where
        self._act = act
        self.came = False

    def at(self, point: Point, phone: Phone) -> list[Act]:
        if self.came or not self._where(point, phone):
            return []
        self.came = True
        return [self._act]


def take_last(phone: Phone) -> None:
    """The last LOCKED page."""
    force(len(pages_in(phone, PageState.LOCKED)) - 1)(phone)


def force_last(phone: Phone) -> None:
    """The same, and it is written over, as is whatever the normal world reaches."""
    take_last(phone)
    scribble(phone)


def at_call(call: Call, *, before: bool) -> Where:
    """Just before a call is made, or when it has been and the kernel has not heard of it; with a page to be taken."""

    def where(point: Point, phone: Phone) -> bool:
        here = point.site.kind == "smc" and point.site.number == call.function and point.before == before
        return here and bool(pages_in(phone, PageState.LOCKED))

    return where


AROUND = [(call, before) for call in (MEM_LOCK, NPU_MAP, NPU_UNMAP) for before in (True, False)] + [(MEM_RELEASE, True)]


@pytest.mark.parametrize(("call", "before"), AROUND, ids=lambda value: getattr(value, "name", value))
def test_page_that_is_taken_around_a_call_is_nobodys(call: Call, before: bool) -> None:
    """Behind MEM_LOCK the page was in no list: the thread went on, and decrypted into what was the normal world's.

    The page comes again: no load fails for that.
    """
    run = make(use_npu=True)
    run.phone.schedule = schedule = Once(at_call(call, before=before), take_last if before else force_last)
    assert open_model(run) is ServiceStatus.DONE
    assert generate(run) is ServiceStatus.DONE
    assert run.call(Service.CLOSE) is ServiceStatus.DONE
    assert schedule.came
    serve_again(run)


def test_what_is_taken_by_force_in_a_recall_is_paid_by_that() -> None:
    """As long as nothing has been released: what is taken then is one of the pages asked for."""
    name = "recall a region"
    script_before, recall, _ = FLOWS[name]
    tried = 0
    for number in range(points(pool_flow(name), use_npu=True, kernel=PoolKernel)):
        released: list[int] = []

        def look(phone: Phone, seen: list[int] = released) -> None:
            seen.extend(pages_in(phone, PageState.RELEASED))

        run = make(use_npu=True, kernel=PoolKernel)
        for one in script_before:
            assert run.call(*one) is ServiceStatus.DONE
        locked = len(pages_in(run.phone, PageState.LOCKED))
        run.phone.schedule, run.phone.points = Planned({number: [look, force(0)]}), 0
        run.call(*recall)
        if not released:
            tried += 1
            assert len(pages_in(run.phone, PageState.LOCKED)) == locked - recall[1], number
    assert tried > 5


def test_page_that_is_taken_inside_a_drop_is_nobodys() -> None:
    """It was in no list there, and came back as a free page: the next request's cache was the normal world's."""

    def leaving(_: Point, phone: Phone) -> bool:
        return any(region.leaving for region in phone.kernel.pool.state.regions)

    run = make()
    assert open_model(run) is ServiceStatus.DONE
    run.phone.schedule = schedule = Once(leaving, force_last)
    generate(run)
    assert schedule.came
    assert generate(run) is ServiceStatus.DONE


def test_region_whose_pages_are_taken_while_it_is_decrypted_is_not_ready() -> None:
    def paying(point: Point, phone: Phone) -> bool:
        return point.site.kind == "spin" and _full(phone)

    run = make()
    run.phone.schedule = schedule = Once(paying, force_all)
    assert open_model(run) is ServiceStatus.DONE
    assert schedule.came
    pool = run.phone.kernel.pool
    assert all(len(region.frames) == region.pages for region in pool.state.regions if region.ready)
    assert generate(run) is ServiceStatus.DONE


class BeforeProjections:
    """A page of weights goes whenever a program has been given room and its job is not in the book."""

    is_over_if_idle = False

    def __init__(self) -> None:
        self.came = 0
        self._seen = (0, 0)

    def at(self, point: Point, phone: Phone) -> list[Act]:
        book = phone.kernel.npu._book if phone.kernel.npu else None
        if book is None or point.above:
            return []
        before, self._seen = self._seen, (book.state.next_program, len(book.state.jobs))
        if self._seen[0] <= before[0] or self._seen[1] != before[1]:
            return []
        weights = next(region for region in phone.kernel.pool.state.regions if region.name == "layer 1")
        if not weights.frames:
            return []
        self.came += 1
        return [force(pages_in(phone, PageState.LOCKED).index(weights.frames[0]))]


def test_projection_that_is_not_made_takes_no_room() -> None:
    """Room was taken before its weights were read, and never given back: the region outgrew its addresses."""
    run = make(use_npu=True)
    assert open_model(run) is ServiceStatus.DONE
    run.phone.schedule = schedule = BeforeProjections()
    for _ in range(12):
        assert generate(run) is ServiceStatus.DONE
    assert schedule.came > 12
    engine = run.phone.kernel.npu
    assert engine and engine._book
    assert engine._book.state.next_projection <= engine._book._limits.projections


def _full(phone: Phone) -> bool:
    """All pages of a chunk are there, and its decryption is being paid for."""
    return any(
        region.device is DeviceAccess.READ and len(region.frames) == region.pages and not region.ready
        for region in phone.kernel.pool.state.regions
    )


@pytest.mark.parametrize(
    "service", [Service.OPEN, Service.GENERATE, Service.CLOSE, Service.SHARE, 999], ids=str
)
def test_entry_above_an_interrupted_thread_serves_revocations_only(service: int) -> None:
    """Whatever else it brings, the thread below may be in the middle of it."""
    answers: list[int] = []

    def act(phone: Phone) -> None:
        force(0)(phone)
        answers.extend(phone.call(service, 0, 8)[:2])

    run = make()
    run.phone.schedule = Once(at_call(MEM_LOCK, before=False), act)
    open_model(run)
    assert answers == [0, ServiceStatus.IN_USE]


def test_recall_that_comes_above_an_interrupted_thread_waits_for_it() -> None:
    """The monitor says again at the next entry what is owed."""
    released: list[int] = []

    def act(phone: Phone) -> None:
        force(0)(phone)
        phone.smc(MEM_RECALL.function, 2, 100 * MINIMUM_DEADLINE)
        phone.poll()
        released.append(len(pages_in(phone, PageState.RELEASED)))

    run = make()
    run.phone.schedule = Once(at_call(MEM_LOCK, before=False), act)
    open_model(run)
    assert released == [0]
    assert run.phone.monitor.claim.owed == 0


class Deceiver(Normal):
    """Asks for pages back at the first token; the next request for pages it answers with one of the region ``lie``."""

    lie: str | None = None
    asked = False
    promised: int | None = None

    def answer(self, phone: Phone, request: int, arguments: tuple[int, ...]) -> Reply:
        reply = super().answer(phone, request, arguments)
        if request == Request.TOKEN and self.lie and not self.asked:
            self.asked = True
            phone.smc(MEM_RECALL.function, 3, 100 * MINIMUM_DEADLINE)
        if request == Request.ALLOCATE_PAGES and self.asked and self.promised is None:
            frames = [region.frames for region in phone.kernel.pool.state.regions if region.name == self.lie]
            self.promised = frames[0][0]
            return (RequestStatus.DONE, self.promised, 1)
        return reply


USED = ("shared", "layer 0", "kv of layer 1", "workspace", "npu features", "npu programs", "npu sums", "npu checks")


@pytest.mark.parametrize("name", USED)
def test_page_that_is_in_use_is_no_grant(name: str) -> None:
    """Whatever it is used for, by the processor or by the NPU: it would be declined, and given away while in use."""
    run = make(use_npu=True, normal=Deceiver)
    assert open_model(run) is ServiceStatus.DONE
    normal, phone = run.normal, run.phone
    assert isinstance(normal, Deceiver)
    normal.lie = name
    assert generate(run) is ServiceStatus.BAD_GRANT
    assert normal.promised is not None
    assert phone.monitor.page_state(normal.promised) is PageState.LOCKED
    held = [region.name for region in phone.kernel.pool.state.regions if normal.promised in region.frames]
    assert held in ([name], []), "a page has changed its region"
    normal.lie = None
    assert generate(run) is ServiceStatus.DONE
    assert run.call(Service.CLOSE) is ServiceStatus.DONE
    reclaim_released(phone)
    serve_again(run)


def test_refused_opens_cost_nothing_that_lasts() -> None:
    """4,305 of them ended the kernel: each had virtual addresses and page tables of its own."""
    run = make()
    serve(run)
    states = set()
    for turn in range(30):
        run.normal.lies = {len(run.normal.served) + turn % 8 + 1: failed}
        assert open_model(run) in (ServiceStatus.STORAGE_FAILED, ServiceStatus.OUT_OF_MEMORY, ServiceStatus.DONE)
        run.normal.lies = {}
        if run.results[-1] is ServiceStatus.DONE:
            run.call(Service.CLOSE)
        reclaim_released(run.phone)
        judge.empty(run.phone)
        states.add(run.phone.kernel.pool._mapping.state.next)
    assert len(states) == 1
    assert ServiceStatus.STORAGE_FAILED in run.results


Words: TypeAlias = tuple[int, int, int, int]
ARGUMENTS = st.one_of(
    st.integers(0, 9), st.sampled_from([REQUEST, SHARED, SHARED_PAGES * PAGE_SIZE - 1, PAGE_SIZE, 2**52]),
    st.integers(0, 2**64 - 1), st.integers(1, 2**32).map(lambda less: 2**64 - less),
)  # fmt: skip
FLOATS = st.one_of(st.sampled_from([0.0, 1.0, 1e-45, 3e38]), st.floats(width=32))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(Service), ARGUMENTS), st.tuples(ARGUMENTS, ARGUMENTS, ARGUMENTS, ARGUMENTS),
            st.tuples(ARGUMENTS, ARGUMENTS, ARGUMENTS, ARGUMENTS, ARGUMENTS), FLOATS, FLOATS, st.binary(max_size=40),
        ),
        min_size=1, max_size=6,
    ),
    st.booleans(),
)  # fmt: skip
def test_any_arguments_of_a_service_are_refused_by_name(
    calls: list[tuple[int, Words, tuple[int, int, int, int, int], float, float, bytes]], is_open: bool
) -> None:
    """By the words of the call, of the descriptor and of the prompt that it names: no call ends the kernel."""
    run = make(use_npu=True)
    if is_open:
        assert open_model(run) is ServiceStatus.DONE
    for service, arguments, words, temperature, top_p, prompt in calls:
        run.phone.memory.write(SHARED + REQUEST, GenerateRequest(*words, temperature, top_p).pack())
        run.phone.memory.write(SHARED + PROMPT, prompt)
        run.call(service, *arguments)
        sane = GenerateRequest(PROMPT, len(prompt), TEXT, PAGE_SIZE, 2, temperature, top_p)
        run.phone.memory.write(SHARED + REQUEST, sane.pack())
        run.call(Service.GENERATE, REQUEST)
    run.call(Service.CLOSE)
    reclaim_released(run.phone)
    judge.empty(run.phone)
    serve_again(run)


def test_calls_while_a_thread_waits_for_its_reply_are_refused_by_name() -> None:
    run = make(kernel=PoolKernel)
    answers: list[int] = []
    run.normal.acts = {0: [lambda phone: answers.extend(phone.call(service, 0, 4)[1] for service in (BACK, LOAD))]}
    assert run.call(BACK, 0, 2) is ServiceStatus.DONE
    assert answers == [ServiceStatus.IN_USE] * 2


def test_reply_to_a_thread_that_does_not_wait_is_refused_by_name() -> None:
    run = make()
    for thread in (0, 7, (1 << 64) - 1):
        left = run.phone._reply(thread, (0, 0, 0))
        assert left.arguments == (ServiceStatus.UNKNOWN_THREAD, thread)
    serve_again(run)
