"""One interrupt in a call, at instructions all along it: same results, nothing lost, every rule kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from emulator.world import World
from monitor import abi
from monitor.abi import Call, Status

from .npu import broken
from .phone import PAGE, Phone
from .test_preemption import arm, serve

IOVA = 0x10_0000
AHEAD = 1 << 40  # of the timer until it is set for the instruction under test
STEP = 7  # instructions from one try to the next; 1 takes some ten minutes

Prepare: TypeAlias = Callable[[Phone], None]
State: TypeAlias = tuple[list[int], bytes, bytes, World, bool]


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    arm(phone, AHEAD)
    yield phone
    phone.machine.close()


def nothing(phone: Phone) -> None:
    pass


def allocated(phone: Phone) -> None:
    phone.call(abi.MEM_ALLOCATE, PAGE, 2)


def locked(phone: Phone) -> None:
    phone.lock(PAGE, 2)


def mapped(phone: Phone) -> None:
    locked(phone)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 2)


def released(phone: Phone) -> None:
    locked(phone)
    phone.call(abi.MEM_RELEASE, PAGE, 2)


def revoked(phone: Phone) -> None:
    phone.revoke()


def secure_npu(phone: Phone) -> None:
    mapped(phone)
    phone.call(abi.NPU_ACQUIRE)


def in_driver(phone: Phone) -> None:
    secure_npu(phone)
    phone.enter(World.SECURE)
    phone.smc(abi.DRIVER_CALL.function)


NORMAL, SECURE, DRIVER = "normal", "secure", "driver"
SCENES: tuple[tuple[Call, str, Prepare, tuple[int, ...]], ...] = (
    (abi.FLEX_VERSION, NORMAL, nothing, ()),
    (abi.FLEX_VERSION, SECURE, nothing, ()),
    (abi.FLEX_FEATURES, SECURE, nothing, (abi.Feature.SCAN_PAGES,)),
    (abi.MEM_ALLOCATE, NORMAL, nothing, (PAGE, 2)),
    (abi.MEM_LOCK, SECURE, allocated, (PAGE, 2)),
    (abi.MEM_RELEASE, SECURE, mapped, (PAGE, 2)),
    (abi.MEM_RECLAIM, NORMAL, released, (PAGE, 2)),
    (abi.MEM_RECALL, NORMAL, locked, (1, abi.MINIMUM_DEADLINE)),
    (abi.MEM_NEXT_RELEASED, NORMAL, released, ((PAGE - 0x4000_0000) // 0x1000,)),
    (abi.MEM_NEXT_REVOKED, SECURE, nothing, (0,)),
    (abi.MEM_ACK_REVOKED, SECURE, revoked, (PAGE, 1)),
    (abi.NPU_MAP, SECURE, locked, (IOVA, PAGE, 2)),
    (abi.NPU_UNMAP, SECURE, secure_npu, (IOVA, 2)),
    (abi.NPU_ACQUIRE, SECURE, mapped, ()),
    (abi.NPU_RELEASE, SECURE, secure_npu, ()),
    (abi.NPU_RECALL, NORMAL, secure_npu, (abi.MINIMUM_DEADLINE,)),
    (abi.NPU_RECLAIM, NORMAL, nothing, ()),
    (abi.DRIVER_CALL, SECURE, secure_npu, (1, 2, 3)),
    (abi.DRIVER_RETURN, DRIVER, in_driver, (4, 5, 6)),
    (abi.SECURE_CALL, NORMAL, nothing, (7, 8)),
    (abi.SECURE_DONE, SECURE, nothing, (9, 10)),
    (abi.SECURE_RPC, SECURE, nothing, (3, 1)),
)


NAMES = [f"{call.name}-{where}" for call, where, *_ in SCENES]


def stand(phone: Phone, where: str) -> None:
    if where != DRIVER:
        phone.enter(World.NORMAL if where == NORMAL else World.SECURE)
    for index in range(8, 31):
        phone.core.x[index] = 0xAB00 + index


def state(phone: Phone) -> State:
    """Where the core is and with which registers, and what the monitor has noted."""
    layout = phone.layout
    return (
        phone.registers(31),
        phone.machine.read_physical(layout.secure_end, layout.end - layout.secure_end),
        phone.machine.read_physical(layout.npu_tables_base, 0x1_0000),
        phone.core.world,
        phone.in_driver,
    )


def without_time(call: Call, found: State) -> State:
    """A deadline is so many ticks from when the call is served."""
    registers = list(found[0])
    for index, word in enumerate(call.returns):
        registers[index] = 0 if word.name == "deadline" else registers[index]
    return (registers, *found[1:])


def by_normal_timer(phone: Phone, ticks: int) -> None:
    phone.core.write_sysreg("CNTP_CVAL_EL0", phone.machine.instructions + ticks)


def by_secure_timer(phone: Phone, ticks: int) -> None:
    """As left over from a deadline that means nothing any more."""
    phone.core.write_sysreg("CNTPS_CVAL_EL1", phone.machine.instructions + ticks)
    phone.core.write_sysreg("CNTPS_CTL_EL1", 1)


@pytest.mark.parametrize("interrupt", [by_normal_timer, by_secure_timer], ids=["normal-irq", "secure-timer"])
@pytest.mark.parametrize(("call", "where", "prepare", "arguments"), SCENES, ids=NAMES)
def test_interrupt_changes_no_result(
    phone: Phone, call: Call, where: str, prepare: Prepare, arguments: tuple[int, ...],
    interrupt: Callable[[Phone, int], None],
) -> None:  # fmt: skip
    prepare(phone)
    stand(phone, where)
    begin = phone.machine.save()
    phone.smc(call.function, *arguments)
    length, expected = phone.instructions, without_time(call, state(phone))
    preemptions = 0
    for ticks in range(1, length + 1, STEP):
        phone.machine.restore(begin)
        interrupt(phone, ticks)
        phone.smc(call.function, *arguments)
        while phone.core.world is World.NORMAL and not phone.in_driver and phone.registers(1) == [Status.PREEMPTED]:
            preemptions += 1
            serve(phone)
            phone.smc(abi.SECURE_RESUME.function, abi.INTERRUPTED_THREAD)
        assert without_time(call, state(phone)) == expected, ticks
        assert broken(phone) == [], ticks
    if interrupt is by_normal_timer and where != NORMAL and call not in (abi.SECURE_DONE, abi.SECURE_RPC):
        assert preemptions > 0
