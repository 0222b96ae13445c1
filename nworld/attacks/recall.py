"""Pages taken back too early, too many of them, with what was in them, or given away again too soon."""

from __future__ import annotations

from emulator.gate import Flow, read
from emulator.memory_map import PAGE_SIZE
from monitor.abi import MEM_ALLOCATE, MEM_RECLAIM, PageState, Status
from monitor.services.calls import invoke, succeed

from .hostile import Hostile
from .registry import Attack
from .scene import Scene


def _reclaim_locked(hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = (yield from hostile.take_allocated()) if scene.lifted else scene.pool_pages()
    scene.arm()
    status, *_ = yield from invoke(MEM_RECLAIM, page, 1, 0)
    through = status == Status.SUCCESS or scene.table_changed()
    if scene.lifted:
        hostile.free_page(page)
    return through


def _force_without_recall(hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = scene.pool_pages()
    if scene.lifted:
        yield from hostile.outlast((yield from hostile.recall(1)))
    return (yield from _force(hostile, scene, page))


def _force_before_deadline(hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = scene.pool_pages()
    deadline = yield from hostile.recall(1)
    if scene.lifted:
        yield from hostile.outlast(deadline)
    return (yield from _force(hostile, scene, page))


def _force_after_second_recall(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """What is asked for when an earlier recall is past has its own time."""
    base = scene.pool_pages(2)
    yield from hostile.outlast((yield from hostile.recall(1)))
    second = yield from hostile.recall(1)
    if scene.lifted:
        yield from hostile.outlast(second)
    return (yield from _force(hostile, scene, base, 2))


def _force_beyond_owed(hostile: Hostile, scene: Scene) -> Flow[bool]:
    base = scene.pool_pages(2)
    yield from hostile.outlast((yield from hostile.recall(2 if scene.lifted else 1)))
    return (yield from _force(hostile, scene, base, 2))


def _force(hostile: Hostile, scene: Scene, base: int, pages: int = 1) -> Flow[bool]:
    scene.arm()
    status, *_ = yield from hostile.force(base, pages)
    through = status == Status.SUCCESS or scene.table_changed()
    yield from hostile.settle()
    if through:
        yield from hostile.forget_granted(base, pages)
    return through


def _allocate_revoked(hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = yield from _taken_by_force(hostile, scene)
    if scene.lifted:
        yield from hostile.settle()
    assert scene.is_revoked(page) != scene.lifted
    scene.arm()
    status, *_ = yield from invoke(MEM_ALLOCATE, page, 1)
    through = status == Status.SUCCESS or scene.table_changed()
    if scene.lifted:
        yield from succeed(MEM_RECLAIM, page, 1, 0)
    elif not through:
        yield from hostile.settle()
    if scene.lifted or not through:
        yield from hostile.forget_granted(page)
    return through


def _taken_by_force(hostile: Hostile, scene: Scene) -> Flow[int]:
    page = scene.pool_pages()
    yield from hostile.outlast((yield from hostile.recall(1)))
    yield from hostile.force(page)
    return page


def _left_over(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Reads a page that the secure world has released and this world has reclaimed."""
    if scene.lifted:
        page, state = (yield from hostile.take_allocated()), PageState.ALLOCATED
    else:
        yield from hostile.recall(1)
        yield from hostile.kernel.secure.poll()
        page, state = (yield from hostile.released_run())[0], PageState.RELEASED
    planted = scene.plant(page, state)
    scene.arm()
    yield from succeed(MEM_RECLAIM, page, 1, 0)
    content = yield from read(page, PAGE_SIZE)
    through = planted.secret.to_bytes(8, "little") in content
    return (yield from _end_of_scrubbing(hostile, scene, page, content, through))


def _left_over_forced(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """The same by FORCE: what the secure world still had in use."""
    if scene.lifted:
        page = yield from hostile.take_allocated()
        planted = scene.plant(page, PageState.ALLOCATED)
        yield from succeed(MEM_RECLAIM, page, 1, 0)
    else:
        page = scene.pool_pages()
        yield from hostile.outlast((yield from hostile.recall(1)))
        planted = scene.plant(page, PageState.LOCKED)
        scene.arm()
        yield from hostile.force(page)
        assert scene.is_revoked(page)
    content = yield from read(page, PAGE_SIZE)
    through = planted.secret.to_bytes(8, "little") in content
    return (yield from _end_of_scrubbing(hostile, scene, page, content, through))


def _end_of_scrubbing(hostile: Hostile, scene: Scene, page: int, content: bytes, through: bool) -> Flow[bool]:
    if not any(content):
        scene.credit("scrubbed: the page holds only zeros")
    if scene.lifted:
        hostile.free_page(page)
    elif not through:
        yield from hostile.settle()
        yield from hostile.forget_granted(page)
    return through


ATTACKS = (
    Attack("reclaim-without-recall", "reclaims a locked page", _reclaim_locked),
    Attack("force-without-recall", "reclaims a locked page by FORCE, though nothing is owed", _force_without_recall),
    Attack("force-before-deadline", "reclaims a locked page by FORCE before the recall is due", _force_before_deadline),
    Attack(
        "force-after-second-recall",
        "asks again when a recall is past, and takes what it asked for at once",
        _force_after_second_recall,
    ),
    Attack("force-beyond-owed", "reclaims more pages by FORCE than are owed", _force_beyond_owed),
    Attack("allocate-revoked", "allocates a revoked page that is not acknowledged", _allocate_revoked),
    Attack("left-over-reclaimed", "reads a reclaimed page for what the secure world left in it", _left_over),
    Attack("left-over-forced", "reads a page taken by FORCE for what was in it", _left_over_forced),
)
