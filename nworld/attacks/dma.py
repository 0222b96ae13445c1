"""The storage controller as a weapon: DMA at memory that is not the normal world's, or that is changing hands."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.storage import Command
from emulator.gate import Flow
from emulator.memory_map import PAGE_SIZE
from monitor.abi import MEM_ALLOCATE, MEM_RECLAIM, PAGES_PER_CALL, PageState
from monitor.services.calls import succeed

from .hostile import Hostile
from .registry import Attack, Moment, Play, Script, until
from .scene import VALUE_OFFSET, Planted, Scene

RECALLED_PAGES = 128  # enough for a run of RELEASED pages that takes EL3 long to scrub
SHORTEST_RUN = 40
TURNS_BEFORE_RECLAIM = 250  # of two instructions: the second burst is translated while EL3 scrubs

_OUT, _IN = Command.WRITE, Command.READ  # as the memory sees it

Target = Callable[[Hostile, Scene], Planted]


def _loaded(hostile: Hostile, scene: Scene) -> Planted:
    """A locked page that DMA had filled: the SMMU has translated it before."""
    return scene.locked(hostile.loaded)


def _out(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from hostile.fill_scratch()
        planted = target(hostile, scene)
        yield from hostile.dma(Command.WRITE, hostile.medium.scratch, planted.address)
        return (yield from hostile.read_back(hostile.medium.scratch, VALUE_OFFSET)) == planted.secret

    return script


def _in(target: Target) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        yield from hostile.fill_scratch()
        planted = target(hostile, scene)
        yield from hostile.dma(Command.READ, hostile.medium.scratch, planted.address)
        return scene.altered(planted.address)

    return script


def _in_flight(command: Command) -> Play:
    """Begins a transfer when a load is over, and answers at once: LOCK finds a burst translated and not performed.

    What moves in is the very ciphertext that was there, or the secure world would see through it for another reason.
    """

    def script(hostile: Hostile, scene: Scene) -> Script[bool]:
        yield from hostile.fill_scratch()
        yield from hostile.kernel.flexmem.press(1)
        hostile.grant_limit = 1
        block, page, _ = yield from until(Moment.LOAD)
        hostile.grant_limit = None
        assert scene.state(page) is PageState.ALLOCATED
        source = hostile.medium.scratch if command is Command.WRITE else hostile.package_block + block
        scene.arm()
        yield from hostile.kernel.storage.start(command, source, page, 1)
        yield from until(Moment.TOKEN)
        return scene.reached_while_locked(page)

    return script


def _during_reclaim(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Reads the last page of a reclaimed extent while EL3 scrubs the others: by then it must not be mapped.

    The burst before it reads a page of the same extent that is ALLOCATED, and so mapped all the time.
    """
    yield from hostile.fill_scratch()
    base, pages = yield from _released_extent(hostile, scene)
    target = base + (pages - 1) * PAGE_SIZE
    planted = scene.plant(target, PageState.ALLOCATED if scene.lifted else PageState.RELEASED)
    scene.arm()
    yield from hostile.transfer_while_calling(
        (Command.WRITE, hostile.medium.scratch, target - PAGE_SIZE, 2),
        TURNS_BEFORE_RECLAIM,
        (MEM_RECLAIM, base, pages, 0),
    )
    through = (yield from hostile.read_back(hostile.medium.scratch + 1, VALUE_OFFSET)) == planted.secret
    yield from hostile.forget_granted(base, pages)
    return through


def _released_extent(hostile: Hostile, scene: Scene) -> Flow[tuple[int, int]]:
    """Pages of which the last is RELEASED and the one before ALLOCATED."""
    yield from hostile.recall(RECALLED_PAGES)
    yield from hostile.kernel.secure.poll()
    base, pages = yield from hostile.released_run()
    assert SHORTEST_RUN <= pages <= PAGES_PER_CALL, f"the longest run of RELEASED pages has {pages}"
    mapped = 2 if scene.lifted else 1
    first_mapped = base + (pages - 2) * PAGE_SIZE
    yield from succeed(MEM_RECLAIM, first_mapped, mapped, 0)
    yield from succeed(MEM_ALLOCATE, first_mapped, mapped)
    return base, pages


ATTACKS = (
    Attack("dma-read-locked", "moves a locked page to storage", _out(_loaded)),
    Attack("dma-write-locked", "moves a block from storage into a locked page", _in(_loaded)),
    Attack("dma-read-secure-dram", "moves secure DRAM to storage", _out(lambda _, scene: scene.secure_dram())),
    Attack("dma-write-carve-out", "moves a block into the carve-out", _in(lambda _, scene: scene.carve_out())),
    Attack("dma-out-across-lock", "begins DMA out of a page, to end after its lock", _in_flight(_OUT), control=False),
    Attack("dma-in-across-lock", "begins DMA into a page, to end after its lock", _in_flight(_IN), control=False),
    Attack("dma-during-reclaim", "moves a page to storage while it is being reclaimed", _during_reclaim),
)
