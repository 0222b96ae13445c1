"""What the EL2 stub gives back is the exception that the guest would have taken itself (Arm ARM D1.10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from .aborts import ACCESSES, SPSEL_0, STORE, UPPER_HALF, Place, from_el1
from .phone import PAGE, PSTATE, Phone

EL1T, EL1H, EL0 = 0x000, 0x200, 0x400  # vectors, for a synchronous exception from there
FETCH_SAME, DATA_LOWER, DATA_SAME = 0x21 << 26, 0x24 << 26, 0x25 << 26  # ESR_EL1.EC
UNMASKED, MASKED = 0x6000_0005, 0x3C5  # PSTATE: EL1, with flags; EL1
EXTERNAL, WRITE, IL = 0x10, 1 << 6, 1 << 25  # ESR_EL1


class Refused(NamedTuple):
    """``address``: FAR_EL1."""

    place: Place
    vector: int
    syndrome: int
    address: int = PAGE


ABORTS = {
    "read": Refused(ACCESSES["read"], EL1H, DATA_SAME),
    "write": Refused(ACCESSES["write"], EL1H, DATA_SAME | WRITE),
    "fetch": Refused(ACCESSES["fetch"], EL1H, FETCH_SAME),
    "walk": Refused(ACCESSES["walk"], EL1H, DATA_SAME, UPPER_HALF),
    "read-el1t": Refused(ACCESSES["read-el1t"], EL1T, DATA_SAME),
    "write-el1t": Refused(lambda phone: from_el1(phone, SPSEL_0, STORE), EL1T, DATA_SAME | WRITE),
    "read-el0": Refused(ACCESSES["read-el0"], EL0, DATA_LOWER),
}


@pytest.fixture(scope="module")
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    phone.lock()
    phone.probe("probe_start")
    yield phone
    phone.machine.close()


@pytest.mark.parametrize("refused", ABORTS.values(), ids=ABORTS)
def test_abort_is_the_guests_own(phone: Phone, refused: Refused) -> None:
    begin, core = phone.machine.save(), phone.core
    refused.place(phone)
    core.x[PSTATE] = UNMASKED
    for index in range(2, 31):
        core.x[index] = 0xAB00 + index
    been_above, begun, state = False, 0, 0
    while not been_above or core.level > 1:
        if core.level < 2:
            begun, state = core.pc, core.pstate
        phone.machine.run(phone.machine.instructions + 1)
        been_above |= core.level > 1
    assert core.pc == core.read_sysreg("VBAR_EL1") + refused.vector
    assert core.pstate == MASKED
    assert core.read_sysreg("ESR_EL1") == refused.syndrome | IL | EXTERNAL
    assert core.read_sysreg("FAR_EL1") == refused.address
    assert core.read_sysreg("ELR_EL1") == (PAGE if refused.syndrome == FETCH_SAME else begun)
    assert core.read_sysreg("SPSR_EL1") == state
    assert [core.x[index] for index in range(3, 30)] == [0xAB00 + index for index in range(3, 30)]
    phone.machine.restore(begin)
