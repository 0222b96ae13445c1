"""What comes to EL3 by a synchronous exception and is no SMC: it ends a driver's call, and stops nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.world import World
from monitor import abi
from monitor.abi import Caller, Status
from monitor.memory import CONTEXT

from .phone import Phone
from .scenes import stand

# Exception classes (Arm ARM, ESR_EL3.EC) of what MDCR_EL3 traps: AArch32's MCR and MRC of coprocessors 15 and 14, MCRR
# and MRRC of both, LDC and STC; AArch64's MSR and MRS. Then WFI, floating point, SVC and SMC of AArch32, and one that
# means nothing.
TRAPPED = (0x03, 0x04, 0x05, 0x06, 0x0C, 0x18)
OTHERS = (0x00, 0x01, 0x07, 0x11, 0x13, 0x3F)
UNKNOWN = 1 << 25  # of ESR_EL1: an instruction of 32 bits


@pytest.fixture(name="phone")
def _phone() -> Iterator[Phone]:
    phone = Phone().boot()
    assert phone.status(abi.NPU_ACQUIRE) == Status.SUCCESS
    yield phone
    phone.machine.close()


def trap(phone: Phone, exception: int, spsr: int | None = None) -> None:
    """The present context makes an SMC, of which EL3 is told that it is an exception of this class, from ``spsr``.

    The core stands where EL3 has sent it.
    """
    phone.place(0)
    while phone.core.pc != phone.images.monitor.symbols["smc_entry"]:
        phone.machine.run(phone.machine.instructions + 1)
    phone.core.x[1] = exception << 26 | 1 << 25
    if spsr is not None:
        context = phone.core.x[0]
        phone.machine.write_physical(context + CONTEXT["spsr"].offset, spsr.to_bytes(8, "little"))
    while phone.core.level == 3:
        phone.machine.run(phone.machine.instructions + 1)


@pytest.mark.parametrize("exception", [*TRAPPED, *OTHERS], ids=hex)
def test_it_ends_the_drivers_call(phone: Phone, exception: int) -> None:
    """A driver goes to AArch32 EL0 as it likes, whose exceptions are of classes of their own."""
    stand(phone, Caller.DRIVER)
    trap(phone, exception)
    assert phone.core.pc == phone.gate("gate_smc") + 4
    assert phone.core.world is World.SECURE
    assert abi.DRIVER_CALL.results(phone.registers()) == {"status": Status.FAULT}
    stand(phone, Caller.DRIVER)
    assert phone.in_driver


@pytest.mark.parametrize("exception", [*TRAPPED, *OTHERS], ids=hex)
@pytest.mark.parametrize("world", World, ids=lambda world: world.name)
def test_it_is_undefined_to_a_world(phone: Phone, world: World, exception: int) -> None:
    stand(phone, Caller.SECURE if world is World.SECURE else Caller.NORMAL)
    behind = phone.gate("gate_smc") + 4
    trap(phone, exception)
    core = phone.core
    assert (core.world, core.level, core.pstate & 0x3FF) == (world, 1, 0x3C5)
    assert (core.read_sysreg("ESR_EL1"), core.read_sysreg("ELR_EL1")) == (UNKNOWN, behind)


@pytest.mark.parametrize(("spsr", "offset"), [(0x6000_0010, 0x600), (0x6000_0000, 0x400), (0x6000_0005, 0x200)])
def test_undefined_comes_at_the_vector_of_where_it_came_from(phone: Phone, spsr: int, offset: int) -> None:
    """AArch32 EL0 has one of its own (Arm ARM D1.10.2)."""
    stand(phone, Caller.SECURE)
    vectors = phone.core.read_sysreg("VBAR_EL1")
    trap(phone, 0x05, spsr)
    assert phone.core.pc - vectors == offset
    assert phone.core.read_sysreg("SPSR_EL1") == spsr
