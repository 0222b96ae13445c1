"""SMCs whose arguments, function or caller are not what they should be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from emulator.gate import Flow, smc
from emulator.memory_map import DRAM_BASE, PAGE_SIZE, SECURE_SRAM, STORAGE
from monitor.abi import (
    CALLS,
    DRIVER_CALL,
    DRIVER_READY,
    DRIVER_RETURN,
    FAST,
    FLEX_VERSION,
    MEM_ACK_REVOKED,
    MEM_ALLOCATE,
    MEM_DECLINE,
    MEM_LOCK,
    MEM_NEXT_REVOKED,
    MEM_RECALL,
    MEM_RECLAIM,
    MEM_RELEASE,
    NPU_ACQUIRE,
    NPU_MAP,
    NPU_RECALL,
    NPU_RELEASE,
    NPU_UNMAP,
    NPU_WRITE,
    PAGES_PER_CALL,
    PSCI_CPU_SUSPEND,
    PSCI_SYSTEM_OFF,
    PSCI_SYSTEM_RESET,
    SECURE_DONE,
    SECURE_READY,
    SECURE_RPC,
    Call,
    Caller,
    PageState,
    Status,
    find,
    signed,
)
from monitor.services.calls import invoke, succeed
from monitor.services.messages import DriverOperation, DriverStatus
from nworld.npu_sandbox import NpuSandbox

from .hostile import Hostile
from .registry import Attack, Play
from .scene import Scene

Address = Callable[[Scene], int]
SWEEP_ROUNDS = 16
WINDOW_ORDER = PAGES_PER_CALL.bit_length() - 1


def _got_through(scene: Scene, status: int) -> bool:
    return status >= Status.SUCCESS or scene.table_changed()


def _twice(hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = hostile.take_extent(0) if scene.lifted else (yield from hostile.take_allocated())
    assert scene.lifted or scene.state(page) is PageState.ALLOCATED
    scene.arm()
    status, *_ = yield from invoke(MEM_ALLOCATE, page, 1)
    through = _got_through(scene, status)
    yield from hostile.drop_allocated(page)
    return through


def _overlapping(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Four pages of which the last two are taken: all or nothing."""
    base, taken = hostile.take_extent(2), 0 if scene.lifted else 2
    if taken:
        yield from invoke(MEM_ALLOCATE, base + taken * PAGE_SIZE, taken)
        assert scene.state(base + taken * PAGE_SIZE) is PageState.ALLOCATED
    scene.arm()
    status, *_ = yield from invoke(MEM_ALLOCATE, base, 4)
    through = _got_through(scene, status)
    if taken and not through:
        yield from hostile.drop_allocated(base + taken * PAGE_SIZE, taken)
        for page in range(base, base + taken * PAGE_SIZE, PAGE_SIZE):
            hostile.free_page(page)
    elif not taken:
        yield from hostile.drop_allocated(base, 4)
    return through


def _outside(address: Address, pages: int = 1) -> Play:
    """ALLOCATE of what is no normal memory."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        own = hostile.take_extent(0)
        scene.arm()
        base, count = (own, 1) if scene.lifted else (address(scene), pages)
        status, *_ = yield from invoke(MEM_ALLOCATE, base, count)
        through = _got_through(scene, status)
        if scene.lifted:
            yield from hostile.drop_allocated(own)
        else:
            hostile.free_page(own)
        return through

    return script


def _beyond(call: Call, pages: Callable[[int], int], *flags: int) -> Play:
    """``call`` on so many pages, by the address of the first. PAGES_PER_CALL of them are ours, and suit the call.

    In a lifted scene on the first alone.
    """

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        base = hostile.take_extent(WINDOW_ORDER)
        if call is MEM_RECLAIM:
            yield from succeed(MEM_ALLOCATE, base, PAGES_PER_CALL)
        scene.arm()
        status, *_ = yield from invoke(call, base, 1 if scene.lifted else pages(base), *flags)
        through = _got_through(scene, status)
        for page in range(base, base + PAGES_PER_CALL * PAGE_SIZE, PAGE_SIZE):
            if scene.state(page) is PageState.ALLOCATED:
                yield from succeed(MEM_RECLAIM, page, 1, 0)
        hostile.free_extent(base, WINDOW_ORDER)
        return through

    return script


def _around(_: int) -> int:
    """The end, computed in 64 bits, is that of the first page."""
    return (1 << 64) // PAGE_SIZE + 1


def _to_the_end(base: int) -> int:
    """The end, computed in 64 bits, is zero."""
    return ((1 << 64) - base) // PAGE_SIZE


def _lock(hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = yield from hostile.take_allocated()
    assert scene.state(page) is PageState.ALLOCATED
    scene.arm()
    status, *_ = yield from invoke(MEM_LOCK, page, 1)
    through = _got_through(scene, status)
    if not through:
        yield from hostile.drop_allocated(page)
    return through


def _release(_hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = scene.pool_pages()
    scene.arm()
    status, *_ = yield from invoke(MEM_RELEASE, page, 1)
    return _got_through(scene, status)


def _made_by_the_wrong(rows: Callable[[int], tuple[tuple[Call, tuple[int, ...]], ...]]) -> Play:
    """``rows``: calls and arguments, by an address of code. Those that would only ask come first."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        scene.arm()
        for call, arguments in rows(hostile.probe["probe_done"]):
            assert not call.by & Caller.NORMAL
            status, *_ = yield from invoke(call, *arguments)
            if status != Status.NOT_SUPPORTED:
                return True
        return scene.table_changed()

    return script


_of_the_secure_world = _made_by_the_wrong(
    lambda entry: (
        (MEM_NEXT_REVOKED, (0,)),
        (MEM_ACK_REVOKED, (DRAM_BASE, 1)),
        (MEM_LOCK, (DRAM_BASE, 1)),
        (MEM_RELEASE, (DRAM_BASE, 1)),
        (MEM_DECLINE, (DRAM_BASE, 1)),
        (SECURE_READY, (entry, entry)),
        (SECURE_RPC, (1, 1)),
        (SECURE_DONE, (0,)),
    )
)
_of_the_npu = _made_by_the_wrong(
    lambda entry: (
        (NPU_MAP, (0, DRAM_BASE, 1, NPU_WRITE)),
        (NPU_UNMAP, (0, 1)),
        (NPU_ACQUIRE, ()),
        (NPU_RELEASE, ()),
        (DRIVER_CALL, (DriverOperation.POWER,)),
        (DRIVER_RETURN, (DriverStatus.DONE,)),
        (DRIVER_READY, (entry,)),
    )
)


def _all_refused(functions: tuple[int, ...], *arguments: int) -> Play:
    """Each answers NOT_SUPPORTED and changes nothing. In a lifted scene a known call is made instead."""

    def script(_hostile: Hostile, scene: Scene) -> Flow[bool]:
        scene.arm()
        for function in (FLEX_VERSION.function,) if scene.lifted else functions:
            status, *_ = yield from smc(function, *arguments)
            if status != Status.NOT_SUPPORTED:
                return True
        return scene.table_changed()

    return script


def _unknown() -> tuple[int, ...]:
    """The neighbours of every call, the other calling convention of each, and the corners of the number space."""
    near = {call.function + step for call in CALLS for step in (-1, 1)} | {call.function ^ 1 << 30 for call in CALLS}
    corners = {0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, FAST, 0xC300_0000, 0xBF00_FF01}
    return tuple(sorted(function for function in near | corners if not find(function)))


def _reserved() -> tuple[int, ...]:
    """Bits 23:17 of a fast call must be zero (SMCCC 1.5, 2.5)."""
    calls = (MEM_ALLOCATE, MEM_RECLAIM, FLEX_VERSION)
    return tuple(call.function | 1 << bit for call in calls for bit in range(17, 24))


def _immediate(hostile: Hostile, scene: Scene) -> Flow[bool]:
    page = hostile.take_extent(0)
    scene.arm()
    if scene.lifted:
        status, *_ = yield from invoke(MEM_ALLOCATE, page, 1)
    else:
        result = yield from hostile.call_with_immediate(MEM_ALLOCATE, page, 1)
        status = Status.NOT_SUPPORTED if result is None else signed(result)
    through = _got_through(scene, status)
    if scene.lifted:
        yield from hostile.drop_allocated(page)
    elif not through:
        hostile.free_page(page)
    return through


def _arbitrary(_hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Every fast call but those that any argument suits, with registers full of noise."""
    harmless = (PSCI_SYSTEM_OFF, PSCI_SYSTEM_RESET, PSCI_CPU_SUSPEND, MEM_RECALL, NPU_RECALL)
    scene.arm()
    for call in (row for row in CALLS if row.is_fast and row.args and row not in harmless):
        for turn in range(SWEEP_ROUNDS):
            arguments = (0,) if scene.lifted else noise(f"{call.name} {turn}")
            status, *_ = yield from invoke(call, *arguments)
            if status >= Status.SUCCESS:
                return True
    return scene.table_changed()


def noise(seed: str) -> tuple[int, ...]:
    """Seven 64-bit numbers, the same for the same ``seed``."""
    digest = hashlib.sha512(seed.encode()).digest()
    return tuple(int.from_bytes(digest[index * 8 : index * 8 + 8], "little") for index in range(7))


ATTACKS = (
    Attack("allocate-twice", "allocates a page that is ALLOCATED already", _twice),
    Attack("allocate-overlapping", "allocates an extent that overlaps an allocated one", _overlapping),
    Attack("allocate-carve-out", "allocates the carve-out", _outside(lambda scene: scene.layout.carve_out_base)),
    Attack(
        "allocate-into-carve-out",
        "allocates an extent that ends inside the monitor's carve-out",
        _outside(lambda scene: scene.layout.normal_end - PAGE_SIZE, 2),
    ),
    Attack("allocate-secure-dram", "allocates secure DRAM", _outside(lambda scene: scene.layout.secure_base)),
    Attack("allocate-secure-sram", "allocates secure SRAM", _outside(lambda _: SECURE_SRAM.base)),
    Attack("allocate-mmio", "allocates a device's registers", _outside(lambda _: STORAGE.base)),
    Attack("allocate-past-dram", "allocates what lies past the end of DRAM", _outside(lambda scene: scene.layout.end)),
    Attack("allocate-wrapping", "allocates an extent whose end wraps at 2^64", _beyond(MEM_ALLOCATE, _around)),
    Attack("allocate-to-2-64", "allocates an extent whose end is 2^64", _beyond(MEM_ALLOCATE, _to_the_end)),
    Attack("reclaim-to-2-64", "reclaims an extent whose end is 2^64", _beyond(MEM_RECLAIM, _to_the_end, 0)),
    Attack("lock-from-normal", "calls LOCK from the normal world", _lock, control=False),
    Attack("release-from-normal", "calls RELEASE on a locked page from the normal world", _release, control=False),
    Attack("wrong-world-function", "makes each call of the secure world", _of_the_secure_world, control=False),
    Attack(
        "npu-wrong-world-function",
        "makes each call of the secure world and of the driver context about the NPU",
        _of_the_npu,
        control=False,
        driver=NpuSandbox,
    ),
    Attack("unknown-function", "calls functions that no table names", _all_refused(_unknown())),
    Attack("reserved-bits", "sets reserved bits in function identifiers", _all_refused(_reserved(), DRAM_BASE, 1)),
    Attack("smc-immediate", "makes a call with an immediate that is not zero", _immediate),
    Attack("arbitrary-registers", "makes each fast call with noise in every register", _arbitrary),
)
