"""The interrupts of the NPU's cores when it changes hands: each is its owner's, whole, and nothing of it crosses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from emulator.inspection import TLB_ENTRY
from emulator.memory_map import GIC_DISTRIBUTOR
from emulator.world import World
from monitor import abi
from monitor.abi import Pending, Status, Vmid

from .gic import GICD_ISACTIVER, GICD_ISPENDR, NOTHING, NPU_LINE, acknowledge, is_over, listen, taken_at_el3
from .phone import PAGE, Phone
from .test_npu_switch import pending
from .test_preemption import GICD_ISENABLER, load, store
from .test_secure_interrupts import IOVA, PAGES, TICKS, by_force, by_release, start

GICD_ICENABLER, GICD_IPRIORITYR = 0x180, 0x400
LINES = [NPU_LINE + core for core in range(3)]
WORD = NPU_LINE // 32 * 4
PRIORITIES = 0xF0D0_B090  # of four interrupts, and no two words are the same
BITS = [1 << line % 32 for line in LINES]
Take = Callable[[Phone], None]


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    listen(phone)
    yield phone
    phone.machine.close()


def distributor(register: int) -> int:
    return GIC_DISTRIBUTOR.base + register + WORD


def enable(phone: Phone, cores: int) -> None:
    phone.enter(World.NORMAL)
    wanted = sum(bit for core, bit in enumerate(BITS) if cores >> core & 1)
    store(phone, distributor(GICD_ICENABLER), sum(BITS))
    store(phone, distributor(GICD_ISENABLER), wanted)


def enabled(phone: Phone) -> int:
    found = load(phone, distributor(GICD_ISENABLER))
    return sum(1 << core for core, bit in enumerate(BITS) if found & bit)


@pytest.mark.parametrize("take", [by_release, by_force])
@pytest.mark.parametrize("cores", range(8))
def test_normal_world_finds_each_as_it_had_it(phone: Phone, cores: int, take: Take) -> None:
    enable(phone, cores)
    for first in range(NPU_LINE // 4 * 4, LINES[-1] + 1, 4):
        store(phone, GIC_DISTRIBUTOR.base + GICD_IPRIORITYR + first, PRIORITIES + first)
    before = phone.machine.checker.look().raw.interrupts
    phone.call(abi.NPU_ACQUIRE)
    assert enabled(phone) == 0  # what it sees of Group 0
    take(phone)
    assert enabled(phone) == cores
    assert phone.machine.checker.look().raw.interrupts == before


@pytest.mark.parametrize("array", [GICD_ISPENDR, GICD_ISACTIVER], ids=["pending", "active"])
@pytest.mark.parametrize("line", LINES)
def test_what_the_normal_world_forges_is_told_to_nobody(phone: Phone, line: int, array: int) -> None:
    """An interrupt that it has made pending or active before the switch, and one during it."""
    store(phone, distributor(array), 1 << line % 32)
    phone.events.clear()
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
    phone.enter(World.NORMAL)
    store(phone, distributor(array), 1 << line % 32)
    assert pending(phone) == Pending.NEW_CALL
    assert taken_at_el3(phone) == 0
    assert is_over(phone, line)
    phone.call(abi.NPU_RELEASE)
    enable(phone, 7)
    assert acknowledge(phone) == NOTHING


@pytest.mark.parametrize("take", [by_release, by_force])
def test_smmu_keeps_no_address_of_the_secure_npu(phone: Phone, take: Take) -> None:
    """A page that leaves its table while it is the normal world's is none of it when it is secure again."""
    phone.lock(PAGE, PAGES)
    phone.call(abi.NPU_MAP, IOVA, PAGE, PAGES)
    phone.call(abi.NPU_ACQUIRE)
    start(phone)
    phone.wait(TICKS)
    assert Vmid.NPU in vmids(phone)
    take(phone)
    assert Vmid.NPU not in vmids(phone)
    phone.call(abi.MEM_RELEASE, PAGE, 1)
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS  # all rules are asked for
    assert Vmid.NPU not in vmids(phone)


def vmids(phone: Phone) -> set[int]:
    """Of the SMMU's TLB."""
    entries = phone.machine.checker.look().raw.smmu_tlb
    return set(np.frombuffer(entries, TLB_ENTRY)["vmid"].tolist())
