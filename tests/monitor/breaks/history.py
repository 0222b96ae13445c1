"""What has happened between two looks: tables, ownership and counts agree all the while."""

from __future__ import annotations

from emulator.devices.npu import NpuControl, NpuCore
from monitor import abi
from monitor.abi import PageState
from tests.firmware.phone import Phone

from .by_hand import FREE, GIVEN_BACK, HIDDEN, Break, count, leaf, lock, own, put

DRAM_PAGE = 0x7FF


def page_locked_that_was_not_promised(phone: Phone) -> None:
    lock(phone, FREE)


def released_page_locked_again(phone: Phone) -> None:
    own(phone, GIVEN_BACK, PageState.LOCKED)
    count(phone, RELEASED=-1, LOCKED=1)


def locked_page_normal_and_not_scrubbed(phone: Phone) -> None:
    phone.fill(HIDDEN)
    _return(phone, HIDDEN, LOCKED=-1)


def released_page_normal_and_not_scrubbed(phone: Phone) -> None:
    phone.fill(GIVEN_BACK)
    _return(phone, GIVEN_BACK, RELEASED=-1)


def _return(phone: Phone, page: int, **less: int) -> None:
    own(phone, page, PageState.NORMAL)
    put(phone, leaf(phone, page), page | DRAM_PAGE)
    count(phone, NORMAL=1, **less)


def job_begun_while_the_npu_drains(phone: Phone) -> None:
    """On a core that had none when the registers were taken from the normal world."""
    core = phone.board.npu.cores[2]
    for register, value in ((NpuCore.PC_TASK_CON, 1), (NpuCore.PC_OPERATION_ENABLE, 1)):
        core.write(register.offset, 4, value, secure=False)


def npu_acquired_and_powered(phone: Phone) -> None:
    _acquire(phone)
    phone.board.npu.control.write(NpuControl.POWER.offset, 4, 1, secure=False)


def npu_acquired_with_a_register_set(phone: Phone) -> None:
    _acquire(phone)
    control, core = phone.board.npu.control, phone.board.npu.cores[1]
    for register, value in ((NpuControl.POWER, 7), (NpuControl.CLOCK, 7)):
        control.write(register.offset, 4, value, secure=False)
    core.write(NpuCore.PC_BASE_ADDRESS.offset, 4, 0x1000, secure=False)
    control.write(NpuControl.CLOCK.offset, 4, 0, secure=False)


def _acquire(phone: Phone) -> None:
    """Nobody looks until something is left in the NPU."""
    phone.machine.checks = False
    assert phone.status(abi.NPU_ACQUIRE) == abi.Status.SUCCESS
    phone.machine.checks = True


BREAKS = (
    Break("pages_change_hands_step_by_step", page_locked_that_was_not_promised),
    Break("pages_change_hands_step_by_step", released_page_locked_again),
    Break("returned_pages_hold_zeros", locked_page_normal_and_not_scrubbed),
    Break("returned_pages_hold_zeros", released_page_normal_and_not_scrubbed),
    Break("draining_npu_begins_nothing", job_begun_while_the_npu_drains, "draining"),
    Break("switched_npu_holds_nothing", npu_acquired_and_powered),
    Break("switched_npu_holds_nothing", npu_acquired_with_a_register_set),
)
