"""Interrupts and deadlines while the secure world or the driver context runs: the normal world has the core back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.memory_map import GIC_CPU, GIC_DISTRIBUTOR, PAGE_SIZE
from emulator.world import World, vmid_of
from monitor import abi
from monitor.abi import Pending, Status
from monitor.memory import CONTEXT, CONTEXT_BYTES

from .npu import POWER
from .phone import PAGE, Phone
from .test_driver_context import LDR, execute

TIMER = 30  # the normal world's physical timer
GICC_PMR, GICC_IAR, GICC_EOIR = 0x4, 0xC, 0x10
GICD_ISENABLER = 0x100
DRIVER = 2  # its context's place among the contexts
FOREVER = 1 << 40
SOON = 5_000


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    yield phone
    phone.machine.close()


def store(phone: Phone, address: int, value: int) -> None:
    assert phone.probe("probe_write_word", address, value) == "registers_done"


def load(phone: Phone, address: int) -> int:
    assert phone.probe("probe_read_word", address) == "registers_done"
    return phone.registers(1)[0]


def arm(phone: Phone, ticks: int = SOON) -> None:
    """The normal world's timer interrupts it so many ticks from now."""
    for address, value in (
        (GIC_DISTRIBUTOR.base, 1), (GIC_DISTRIBUTOR.base + GICD_ISENABLER, 1 << TIMER),
        (GIC_CPU.base, 1), (GIC_CPU.base + GICC_PMR, 0xFF),
    ):  # fmt: skip
        store(phone, address, value)
    phone.set_timer(phone.machine.instructions + ticks)


def serve(phone: Phone) -> None:
    """The normal world's handler of its timer."""
    phone.enter(World.NORMAL)
    assert load(phone, GIC_CPU.base + GICC_IAR) == TIMER
    phone.set_timer(None)
    store(phone, GIC_CPU.base + GICC_EOIR, TIMER)


def spin(phone: Phone, turns: int = FOREVER) -> str:
    phone.core.x[8], phone.core.x[9] = turns, 0
    phone.core.pc = phone.gate("gate_busy")
    return phone.run()


def resume(phone: Phone) -> str:
    return phone.smc(abi.SECURE_RESUME.function, abi.INTERRUPTED_THREAD)


KEPT = range(10, 31)  # general registers that the gate does not spend time with


def plant(phone: Phone) -> None:
    for index in KEPT:
        phone.core.x[index] = 0x5EC0_0000 + index
    for index in range(32):
        phone.core.write_vector(index, 0x5EC1_0000 + index)
    phone.core.write_sysreg("TPIDR_EL1", 0x5EC2)


def planted(phone: Phone) -> bool:
    return (
        [phone.core.x[index] for index in KEPT] == [0x5EC0_0000 + index for index in KEPT]
        and [phone.core.read_vector(index) for index in range(32)] == [0x5EC1_0000 + index for index in range(32)]
        and phone.core.read_sysreg("TPIDR_EL1") == 0x5EC2
    )


def preempted(phone: Phone) -> bool:
    """Whether the normal world stands behind its call with that answer and nothing else."""
    answer = [Status.PREEMPTED, 0, 0, 0, 0, 0]
    return phone.core.world is World.NORMAL and not phone.in_driver and phone.registers(6) == answer


def test_normal_interrupt_takes_the_core_from_the_secure_world(phone: Phone) -> None:
    arm(phone)
    phone.enter(World.SECURE)
    plant(phone)
    assert spin(phone, 4000) == "arrive_return"
    assert preempted(phone)
    assert not planted(phone)
    serve(phone)
    assert resume(phone) == "arrive_return"
    assert (phone.core.world, planted(phone)) == (World.SECURE, True)
    assert phone.smc(abi.SECURE_DONE.function, 1, 2, 3, 4, 5) == "arrive_return"
    assert phone.registers(6) == [Status.SUCCESS, 1, 2, 3, 4, 5]  # of SECURE_RESUME


def test_answer_of_an_interrupted_call_has_none_of_its_arguments(phone: Phone) -> None:
    arm(phone)
    phone.enter(World.NORMAL)
    phone.smc(abi.SECURE_CALL.function, 1, 2, 3, 4, 5)
    assert spin(phone, 4000) == "arrive_return"
    assert preempted(phone)


def test_interrupt_that_is_not_served_comes_again_at_once(phone: Phone) -> None:
    arm(phone)
    phone.enter(World.SECURE)
    plant(phone)
    spin(phone, 4000)
    for _ in range(3):
        assert resume(phone) == "arrive_return"
        assert preempted(phone)
    serve(phone)
    resume(phone)
    assert (phone.core.world, planted(phone)) == (World.SECURE, True)


def test_normal_world_alone_is_not_touched(phone: Phone) -> None:
    """Its interrupt is its own: EL3 never sees it."""
    arm(phone, 50)
    phone.wait(SOON)
    assert phone.core.world is World.NORMAL
    serve(phone)


def test_other_calls_wait_for_the_interrupted_thread(phone: Phone) -> None:
    arm(phone)
    phone.enter(World.SECURE)
    spin(phone, 4000)
    serve(phone)
    assert phone.status(abi.SECURE_CALL, 1) == phone.status(abi.SECURE_RESUME, 1) == Status.BUSY
    assert resume(phone) == "arrive_return"
    assert phone.core.world is World.SECURE
    phone.enter(World.NORMAL)
    assert phone.status(abi.SECURE_RESUME, abi.INTERRUPTED_THREAD) == Status.WRONG_STATE


def test_recall_deadline_interrupts_a_secure_world_that_spins_masked(phone: Phone) -> None:
    """Once: the normal world knows then, and may go on with it as long as it likes."""
    phone.lock()
    deadline = phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)["deadline"]
    phone.enter(World.SECURE)
    plant(phone)
    assert spin(phone) == "arrive_return"
    assert preempted(phone)
    assert 0 <= phone.machine.instructions - deadline < 1024
    phone.enter(World.NORMAL)
    assert phone.call(abi.MEM_RECLAIM, PAGE, 1, abi.FORCE) == {"status": 0, "done": 1}
    assert phone.status(abi.SECURE_RESUME, abi.INTERRUPTED_THREAD) == Status.BUSY  # it may compute on that page


def test_deadline_is_told_once(phone: Phone) -> None:
    phone.lock()
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    assert spin(phone, 8000) == "arrive_return"
    assert preempted(phone)
    assert resume(phone) == "arrive_return"
    assert phone.core.world is World.SECURE


def test_deadline_of_the_next_recall_is_told_as_well(phone: Phone) -> None:
    phone.lock(PAGE, 2)
    for page in (PAGE, PAGE + PAGE_SIZE):
        phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
        phone.enter(World.SECURE)
        assert spin(phone, 8000) == "arrive_return"
        assert preempted(phone)
        resume(phone)
        assert phone.status(abi.MEM_RELEASE, page, 1) == Status.SUCCESS


def test_deadline_of_the_npus_next_recall_is_told_as_well(phone: Phone) -> None:
    for _ in range(2):
        assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
        phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE)
        phone.enter(World.SECURE)
        assert spin(phone, 8000) == "arrive_return"
        assert preempted(phone)
        resume(phone)
        assert phone.status(abi.NPU_RELEASE) == Status.SUCCESS


def test_deadline_of_what_was_paid_interrupts_nobody(phone: Phone) -> None:
    """The timer was set when the secure world was entered, and nothing is owed when it fires."""
    phone.lock()
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    assert phone.status(abi.MEM_RELEASE, PAGE, 1) == Status.SUCCESS
    plant(phone)
    assert spin(phone, 8000) == "arrive_return"
    assert (phone.core.world, planted(phone)) == (World.SECURE, True)


def test_revocation_is_handled_above_the_interrupted_thread(phone: Phone) -> None:
    phone.lock()
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    plant(phone)
    spin(phone, 8000)
    phone.call(abi.MEM_RECLAIM, PAGE, 1, abi.FORCE)
    assert phone.smc(abi.SECURE_CALL.function) == "arrive_revocation"
    assert Pending(phone.registers(1)[0]) == Pending.REVOKED | Pending.PREEMPTED | Pending.NEW_CALL
    assert phone.smc(abi.MEM_ACK_REVOKED.function, PAGE, 1) == "arrive_return"
    for index in range(31):
        phone.core.x[index] = 0xBAD
    assert phone.smc(abi.SECURE_DONE.function) == "arrive_return"
    assert phone.core.world is World.NORMAL
    assert phone.status(abi.SECURE_CALL) == Status.BUSY  # nothing is revoked any more
    assert resume(phone) == "arrive_return"
    assert (phone.core.world, planted(phone)) == (World.SECURE, True)


def revoke_above(phone: Phone, page: int) -> None:
    """A page that is owed is taken, above an interrupted thread; the secure world hears of it, and leaves."""
    assert phone.call(abi.MEM_RECLAIM, page, 1, abi.FORCE) == {"status": 0, "done": 1}
    assert phone.smc(abi.SECURE_CALL.function) == "arrive_revocation"
    assert phone.smc(abi.MEM_ACK_REVOKED.function, page, 1) == "arrive_return"
    for index in range(31):
        phone.core.x[index] = 0xBAD
    assert phone.smc(abi.SECURE_DONE.function) == "arrive_return"


def test_thread_waits_below_any_number_of_revocations_and_the_next_one_is_itself(phone: Phone) -> None:
    phone.lock(PAGE, 2)
    phone.call(abi.MEM_RECALL, 2, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    plant(phone)
    spin(phone, 8000)
    for page in (PAGE, PAGE + PAGE_SIZE):
        revoke_above(phone, page)
    assert resume(phone) == "arrive_return"
    assert (phone.core.world, planted(phone)) == (World.SECURE, True)
    arm(phone)
    phone.enter(World.SECURE)
    phone.core.x[20] = 0x0DD
    assert spin(phone, 4000) == "arrive_return"
    serve(phone)
    assert resume(phone) == "arrive_return"
    assert (phone.core.world, phone.core.x[20]) == (World.SECURE, 0x0DD)


def test_handler_itself_can_be_interrupted(phone: Phone) -> None:
    phone.lock()
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    plant(phone)
    spin(phone, 8000)
    phone.call(abi.MEM_RECLAIM, PAGE, 1, abi.FORCE)
    arm(phone)
    phone.smc(abi.SECURE_CALL.function)
    phone.core.x[20] = 0xA11
    assert spin(phone, 4000) == "arrive_return"
    assert preempted(phone)
    serve(phone)
    assert phone.status(abi.SECURE_CALL) == Status.BUSY  # two wait: no third
    assert resume(phone) == "arrive_return"  # the handler, revoked or not
    assert (phone.core.world, phone.core.x[20]) == (World.SECURE, 0xA11)
    assert phone.smc(abi.MEM_ACK_REVOKED.function, PAGE, 1) == "arrive_return"
    phone.smc(abi.SECURE_DONE.function)
    resume(phone)
    assert (phone.core.world, planted(phone)) == (World.SECURE, True)


# --- the driver context --------------------------------------------------------------------------------------------


def enter_driver(phone: Phone) -> None:
    phone.call(abi.NPU_ACQUIRE)
    phone.smc(abi.DRIVER_CALL.function)
    assert phone.in_driver


def test_normal_interrupt_takes_the_core_from_the_driver(phone: Phone) -> None:
    arm(phone)
    enter_driver(phone)
    plant(phone)
    assert spin(phone, 4000) == "arrive_return"
    assert preempted(phone)
    assert vmid_of(phone.core.context) == abi.Vmid.NORMAL
    serve(phone)
    assert resume(phone) == "arrive_return"
    assert (phone.in_driver, planted(phone)) == (True, True)
    assert phone.smc(abi.DRIVER_RETURN.function, 7) == "arrive_return"
    assert (phone.core.world, phone.registers(2)) == (World.SECURE, [Status.SUCCESS, 7])


def test_drivers_time_stands_still_while_it_is_interrupted(phone: Phone) -> None:
    arm(phone)
    enter_driver(phone)
    spin(phone, 4000)
    serve(phone)
    phone.wait(2 * abi.DRIVER_TICKS)
    resume(phone)
    assert phone.in_driver
    begun = phone.machine.instructions
    assert spin(phone) == "arrive_return"
    assert phone.core.world is World.SECURE
    assert abi.signed(phone.registers(1)[0]) == Status.TIMEOUT
    assert phone.machine.instructions - begun <= abi.DRIVER_TICKS


def test_driver_that_is_interrupted_in_el2_is_ended_when_it_goes_on(phone: Phone) -> None:
    """At each instruction of the stub, by the normal world's timer: EL2 goes on where it was, and says FAULT."""
    phone.lock()
    levels = []
    for ticks in range(20):
        arm(phone)
        enter_driver(phone)
        phone.set_timer(phone.machine.instructions + ticks)
        assert execute(phone, LDR, PAGE) == "arrive_return"
        if preempted(phone):
            levels.append(interrupted_level(phone))
            serve(phone)
            assert resume(phone) == "arrive_return"
        assert phone.core.world is World.SECURE
        assert abi.signed(phone.registers(1)[0]) == Status.FAULT
        phone.set_timer(None)
    assert set(levels) == {1, 2}


def interrupted_level(phone: Phone) -> int:
    """Of the driver context, by its SPSR."""
    driver = phone.images.monitor.symbols["contexts"] + DRIVER * CONTEXT_BYTES
    return phone.machine.read_physical(driver + CONTEXT["spsr"].offset, 1)[0] >> 2 & 3


def test_interrupts_give_the_driver_no_more_time(phone: Phone) -> None:
    arm(phone, abi.DRIVER_TICKS // 2)
    enter_driver(phone)
    spin(phone)
    assert preempted(phone)
    serve(phone)
    begun = phone.machine.instructions
    resume(phone)
    assert phone.core.world is World.SECURE
    assert abi.signed(phone.registers(1)[0]) == Status.TIMEOUT
    assert phone.machine.instructions - begun < abi.DRIVER_TICKS // 2 + SOON


def test_npu_that_is_taken_by_force_is_gone_for_the_interrupted_driver(phone: Phone) -> None:
    """With what its TLB holds: its next access ends its call, and the secure world hears of the rest."""
    enter_driver(phone)
    assert execute(phone, LDR, POWER) == "arrive_return" and phone.in_driver
    phone.smc(abi.DRIVER_RETURN.function)
    phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    phone.smc(abi.DRIVER_CALL.function)
    assert spin(phone, 8000) == "arrive_return"
    assert preempted(phone)
    assert phone.status(abi.NPU_RECLAIM) == Status.SUCCESS
    resume(phone)
    assert phone.in_driver
    assert execute(phone, LDR, POWER) == "arrive_return"
    assert phone.core.world is World.SECURE
    assert abi.signed(phone.registers(1)[0]) == Status.FAULT


def test_busy_driver_is_not_entered_by_the_revocation_handler(phone: Phone) -> None:
    phone.lock()
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    enter_driver(phone)
    plant(phone)
    spin(phone, 8000)
    assert preempted(phone)
    phone.call(abi.MEM_RECLAIM, PAGE, 1, abi.FORCE)
    assert phone.smc(abi.SECURE_CALL.function) == "arrive_revocation"
    assert phone.smc(abi.DRIVER_CALL.function) == "arrive_return"
    assert abi.signed(phone.registers(1)[0]) == Status.BUSY
    phone.smc(abi.MEM_ACK_REVOKED.function, PAGE, 1)
    phone.smc(abi.SECURE_DONE.function)
    resume(phone)
    assert (phone.in_driver, planted(phone)) == (True, True)
