"""The GIC, by its registers in the secure view, and the secure timer."""

from __future__ import annotations

from emulator.devices.gic import GicCpuInterface, GicDistributor
from emulator.registers import Register
from tests.firmware.gic import CONSOLE, NPU_LINE, SECURE_TIMER
from tests.firmware.phone import Phone

from .by_hand import Break, variable

SECURE_SGI = 8
LATER = 1 << 50  # than any deadline here


def distributor(phone: Phone, register: Register, interrupt: int) -> None:
    """Write the interrupt's bit."""
    phone.board.gic.distributor.write(register.at(interrupt // 32), 4, 1 << interrupt % 32, secure=True)


def move(phone: Phone, interrupt: int) -> None:
    """To the other group."""
    at = GicDistributor.IGROUPR.at(interrupt // 32)
    groups = phone.board.gic.distributor.values[at]
    phone.board.gic.distributor.write(at, 4, groups ^ 1 << interrupt % 32, secure=True)


def rank(phone: Phone, interrupt: int, priority: int) -> None:
    phone.board.gic.distributor.write(GicDistributor.IPRIORITYR.offset + interrupt, 1, priority, secure=True)


def interface(phone: Phone, register: Register, value: int) -> None:
    phone.board.gic.interface.write(register.offset, 4, value, secure=True)


def secure_timer_in_group_1(phone: Phone) -> None:
    move(phone, SECURE_TIMER)


def secure_npu_in_group_1(phone: Phone) -> None:
    move(phone, NPU_LINE)


def normal_npu_in_group_0(phone: Phone) -> None:
    move(phone, NPU_LINE)


def normal_console_in_group_0(phone: Phone) -> None:
    move(phone, CONSOLE)


def secure_timer_disabled(phone: Phone) -> None:
    distributor(phone, GicDistributor.ICENABLER, SECURE_TIMER)


def secure_timer_among_the_normal_worlds(phone: Phone) -> None:
    rank(phone, SECURE_TIMER, 0xA0)


def normal_interrupt_before_el3s(phone: Phone) -> None:
    rank(phone, CONSOLE, 0x20)


def fiqs_not_signalled(phone: Phone) -> None:
    interface(phone, GicCpuInterface.CTLR, 0)


def group_0_as_irq(phone: Phone) -> None:
    control = phone.board.gic.interface.CTLR.value
    interface(phone, GicCpuInterface.CTLR, control & ~GicCpuInterface.CTLR.fields["fiq_enable"].mask)


def group_0_not_forwarded(phone: Phone) -> None:
    phone.board.gic.distributor.write(GicDistributor.CTLR.offset, 4, 2, secure=True)


def group_0_masked(phone: Phone) -> None:
    interface(phone, GicCpuInterface.PMR, 0x20)


def priorities_not_told_apart(phone: Phone) -> None:
    interface(phone, GicCpuInterface.BPR, 7)


def priority_of_group_0_not_dropped(phone: Phone) -> None:
    """Acknowledged by EL3, and never ended."""
    _send(phone)
    phone.board.gic.interface.read(GicCpuInterface.IAR.offset, 4, secure=True)


def _send(phone: Phone) -> None:
    at = GicDistributor.SPENDSGIR.offset + SECURE_SGI
    phone.board.gic.distributor.write(at, 1, 1, secure=True)


def secure_timer_active(phone: Phone) -> None:
    distributor(phone, GicDistributor.ISACTIVER, SECURE_TIMER)


def secure_npu_active_and_not_noted(phone: Phone) -> None:
    distributor(phone, GicDistributor.ISACTIVER, NPU_LINE)


def secure_npu_noted_and_not_active(phone: Phone) -> None:
    variable(phone, "noted", 2)


def normal_npu_noted(phone: Phone) -> None:
    variable(phone, "noted", 1)


def secure_timer_armed_for_the_normal_world(phone: Phone) -> None:
    _arm(phone, LATER)


def recall_missed(phone: Phone) -> None:
    _arm(phone, LATER)


def recall_masked(phone: Phone) -> None:
    phone.core.write_sysreg("CNTPS_CTL_EL1", 3)


def driver_has_no_end(phone: Phone) -> None:
    phone.core.write_sysreg("CNTPS_CTL_EL1", 0)


def driver_ends_too_late(phone: Phone) -> None:
    _arm(phone, phone.core.read_sysreg("CNTPS_CVAL_EL1") + 1)


def _arm(phone: Phone, at: int) -> None:
    phone.core.write_sysreg("CNTPS_CVAL_EL1", at)
    phone.core.write_sysreg("CNTPS_CTL_EL1", 1)


BREAKS = (
    Break("group0_is_the_monitors", secure_timer_in_group_1),
    Break("group0_is_the_monitors", secure_npu_in_group_1, "npu_elsewhere"),
    Break("group0_is_the_monitors", normal_npu_in_group_0),
    Break("group0_is_the_monitors", normal_console_in_group_0),
    Break("monitors_interrupts_come_first", secure_timer_disabled),
    Break("monitors_interrupts_come_first", secure_timer_among_the_normal_worlds),
    Break("monitors_interrupts_come_first", normal_interrupt_before_el3s),
    Break("gic_signals_group0", fiqs_not_signalled),
    Break("gic_signals_group0", group_0_as_irq),
    Break("gic_signals_group0", group_0_not_forwarded),
    Break("gic_signals_group0", group_0_masked),
    Break("gic_signals_group0", priorities_not_told_apart),
    Break("gic_signals_group0", priority_of_group_0_not_dropped),
    Break("active_interrupts_are_noted", secure_timer_active),
    Break("active_interrupts_are_noted", secure_npu_active_and_not_noted, "npu_elsewhere"),
    Break("active_interrupts_are_noted", secure_npu_noted_and_not_active, "npu_elsewhere"),
    Break("active_interrupts_are_noted", normal_npu_noted),
    Break("secure_timer_is_armed_for_the_earliest", secure_timer_armed_for_the_normal_world),
    Break("secure_timer_is_armed_for_the_earliest", recall_missed, "secure"),
    Break("secure_timer_is_armed_for_the_earliest", recall_masked, "secure"),
    Break("secure_timer_is_armed_for_the_earliest", driver_has_no_end, "driver"),
    Break("secure_timer_is_armed_for_the_earliest", driver_ends_too_late, "driver"),
)
