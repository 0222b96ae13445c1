"""Pages taken by force while the secure world is in the middle of something with them, at every instruction of it.

The attacker sets its timer and lets the secure world go on. When the core is its own again it asks for a page, waits
until the deadline is past, takes the page, and fills it with a pattern. Whatever the secure world was doing with that
page, it must never write to it any more, nor take it for its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from emulator.gate import Flow, read, write
from emulator.memory_map import PAGE_SIZE
from monitor.abi import MEM_ALLOCATE, MEM_RECLAIM, SECURE_CALL, SECURE_RESUME, PageState, Status
from monitor.services.calls import invoke, succeed
from monitor.services.messages import Service
from nworld.npu_sandbox import NpuSandbox

from .hostile import PATTERN, Hostile
from .registry import Attack, Carelessness, Moment, Play, Script, until, until_first
from .scene import Scene

REQUESTS = (Moment.ALLOCATE, Moment.LOAD, Moment.TOKEN, Moment.REQUEST)
NO_THREAD = 77
OWED = 6  # pages that a recall asks for
LAYER = 40  # of which weights must go

Window: TypeAlias = Callable[[Hostile, Scene], Script[int]]  # ends where the secure world is about to go on: a page
Act: TypeAlias = Callable[[Hostile, int], Flow[None]]


def _taken(window: Window, *, before: tuple[Act, ...] = (), behind: tuple[Act, ...] = ()) -> Play:
    """Take the page of ``window`` by force; ``before`` and ``behind``: what else is done while the core is ours."""

    def script(hostile: Hostile, scene: Scene) -> Script[bool | None]:
        page = yield from window(hostile, scene)
        scene.arm()
        yield from hostile.interrupt_at(hostile.choose(1))
        moment, _ = yield from until_first(Moment.INTERRUPTED, *REQUESTS)
        if moment is not Moment.INTERRUPTED:
            yield from hostile.stop_timer()
            return None
        for act in before:
            yield from act(hostile, page)
        if not (yield from _take(hostile, page)):
            assert scene.state(page) is not PageState.LOCKED, "a page that is LOCKED, and owed, and due, is refused"
            return None
        for act in behind:
            yield from act(hostile, page)
        if scene.lifted:
            yield from hostile.let_hear()
            if scene.believes_in(page):
                return True
        yield from until_first(*REQUESTS)
        return (yield from _is_used(hostile, scene, page))

    return script


def _revocation(hostile: Hostile, scene: Scene) -> Script[bool | None]:
    """A page is taken while the secure world waits for an answer. The entry in which it hears of that is interrupted.

    That goes on when the secure world has heard of it again, in an entry above.
    """
    while not (yield from until(Moment.TOKEN))[0]:
        pass
    page = scene.page_of("layer 5")
    taken = yield from _take(hostile, page)
    assert taken, "the page was not LOCKED"
    scene.arm()
    yield from hostile.interrupt_at(hostile.choose(1))
    yield from hostile.kernel.secure.poll()
    yield from hostile.stop_timer()
    if not scene.interrupted():
        return None
    return (yield from _is_used(hostile, scene, page))


def _take(hostile: Hostile, page: int) -> Flow[bool]:
    """Whether it was LOCKED, and is ours now."""
    yield from hostile.outlast((yield from hostile.recall(1)))
    status, *_ = yield from hostile.force(page)
    if status != Status.SUCCESS:
        return False
    yield from write(page, PATTERN)
    return True


def _is_used(hostile: Hostile, scene: Scene, page: int) -> Flow[bool]:
    """Whether anybody has written to the page that is ours, or takes it for LOCKED."""
    yield from hostile.settle()
    if scene.state(page) is PageState.ALLOCATED:
        yield from succeed(MEM_RECLAIM, page, 1, 0)
    if scene.believes_in(page) or (yield from read(page, PAGE_SIZE)) != PATTERN:
        return True
    scene.credit("the page has left the secure world's lists")
    yield from hostile.forget_granted(page)
    return False


# Windows


def _loaded(*, last: bool) -> Window:
    """A part of a layer's weights is in pages: the secure world locks and maps them. With the last part it has a whole
    layer, which it authenticates and decrypts.
    """

    def window(hostile: Hostile, _: Scene) -> Script[int]:
        medium = hostile.medium
        while True:
            moment, registers = yield from until_first(Moment.LOAD, Moment.TOKEN)
            if moment is Moment.TOKEN:
                yield from hostile.recall(LAYER)
                continue
            block, base, pages = registers
            if ((block + pages - medium.layer_a) % medium.layer_blocks == 0) == last:
                return base

    return window


def _growth(hostile: Hostile, _: Scene) -> Script[int]:
    """Pages are promised: the secure world locks and maps them, for its cache and its workspace."""
    while True:
        moment, registers = yield from until_first(Moment.ALLOCATE, Moment.REQUEST)
        if moment is Moment.ALLOCATE:
            return registers[0]
        yield from hostile.recall(OWED)


def _end_of_request(_: Hostile, scene: Scene) -> Script[int]:
    """The last token is out: the secure world drops its cache and its workspace."""
    while (yield from until(Moment.TOKEN))[0]:
        pass
    return scene.page_of("workspace")


def _recall(hostile: Hostile, scene: Scene) -> Script[int]:
    """Pages are asked back: the secure world drops what it has in them, and releases them."""
    while not (yield from until(Moment.TOKEN))[0]:
        pass
    page = scene.page_of("layer 5")
    yield from hostile.recall(LAYER)
    return page


def _jobs(_: Hostile, scene: Scene) -> Script[int]:
    """A token's jobs: features are staged, the driver is called, sums are taken back."""
    while True:
        (more,) = yield from until(Moment.TOKEN)
        if more and scene.npu.is_secure():
            return scene.page_of("npu features")


# What else is done while the core is ours


def _call(service: int, *arguments: int) -> Act:
    def act(_hostile: Hostile, _page: int) -> Flow[None]:
        yield from invoke(SECURE_CALL, service, *arguments)

    return act


def _answer(_hostile: Hostile, _page: int) -> Flow[None]:
    """Of a thread that does not wait."""
    yield from invoke(SECURE_RESUME, NO_THREAD, 0, 0, 0)


def _ask_for_more(hostile: Hostile, _page: int) -> Flow[None]:
    """And let the secure world hear of it."""
    yield from hostile.recall(OWED)
    yield from hostile.let_hear()


def _promise_again(hostile: Hostile, page: int) -> Flow[None]:
    """Once its loss is acknowledged the page is ALLOCATED, as it was before its lock."""
    yield from hostile.let_hear()
    yield from succeed(MEM_ALLOCATE, page, 1)


def _share(_hostile: Hostile, page: int) -> Flow[None]:
    yield from invoke(SECURE_CALL, Service.SHARE, page, 1)


def _at_every_instruction(
    name: str, tries: str, play: Play, begins: Moment = Moment.TOKEN, driver: type[NpuSandbox] | None = None
) -> Attack:
    return Attack(name, f"{tries}, at every instruction", play, begins, True, driver, Carelessness.DROP_REVOKED)


_lock, _decrypt = _loaded(last=False), _loaded(last=True)
_again = _taken(_decrypt, behind=(_promise_again,))
_calls = _taken(_recall, before=(_ask_for_more, _call(Service.CLOSE), _answer))
_shared = _taken(_end_of_request, before=(_answer,), behind=(_share, _call(Service.GENERATE)))

ATTACKS = tuple(
    _at_every_instruction(*attack)
    for attack in (
        ("race-lock", "takes a page while weights are locked and mapped", _taken(_lock)),
        ("race-decrypt", "takes a page while weights are authenticated and decrypted", _taken(_decrypt)),
        ("race-growth", "takes a page while cache and workspace grow", _taken(_growth), Moment.REQUEST),
        ("race-drop", "takes a page while a request's memory is dropped", _taken(_end_of_request)),
        ("race-recall", "takes a page while the secure world gives pages back", _taken(_recall)),
        ("race-revocation", "interrupts the entry in which the secure world hears of a page taken", _revocation),
        ("race-jobs", "takes a page of features while the NPU is used", _taken(_jobs), Moment.TOKEN, NpuSandbox),
        ("sequence-promise", "takes a page that is being decrypted into, and promises it again", _again),
        ("sequence-calls", "asks for more, closes the model, answers no request, and takes a page", _calls),
        ("sequence-share", "takes a page, shares it, and asks for text", _shared),
    )
)
