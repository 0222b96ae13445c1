"""System registers of EL2 and EL3."""

from __future__ import annotations

from monitor import abi
from monitor.memory import CarveOut
from tests.firmware.phone import PAGE, Phone

from .by_hand import Break, flip

WXN = 1 << 19
SCR_FIQ, SCR_IRQ = 1 << 2, 1 << 1
MDCR_TDA = 1 << 9


def stage2_off(phone: Phone) -> None:
    flip(phone, "HCR_EL2", 1 << 0)


def interrupts_routed_to_el2(phone: Phone) -> None:
    flip(phone, "HCR_EL2", 1 << 4)


def stage2_of_another_format(phone: Phone) -> None:
    phone.core.write_sysreg("VTCR_EL2", 1 << 31)


def el2_vectors_in_normal_memory(phone: Phone) -> None:
    phone.core.write_sysreg("VBAR_EL2", PAGE & ~0x7FF)


def el2_mmu_on(phone: Phone) -> None:
    flip(phone, "SCTLR_EL2", 1)


def el2_traps_registers(phone: Phone) -> None:
    flip(phone, "HSTR_EL2", 1)


def el2_keeps_pmu_counters(phone: Phone) -> None:
    phone.core.write_sysreg("MDCR_EL2", 2)


def el2_traps_floating_point(phone: Phone) -> None:
    flip(phone, "CPTR_EL2", 1 << 10)


def el2_timer_on(phone: Phone) -> None:
    phone.core.write_sysreg("CNTHP_CVAL_EL2", (1 << 64) - 1)
    phone.core.write_sysreg("CNTHP_CTL_EL2", 1)


def virtual_time_shifted(phone: Phone) -> None:
    phone.core.write_sysreg("CNTVOFF_EL2", 1)


def identity_of_another_core(phone: Phone) -> None:
    flip(phone, "VMPIDR_EL2", 1)


def el3_executes_what_it_writes(phone: Phone) -> None:
    flip(phone, "SCTLR_EL3", WXN)


def el3_vectors_moved(phone: Phone) -> None:
    phone.core.write_sysreg("VBAR_EL3", phone.images.monitor.symbols["vectors"] + 0x800)


def el3_tables_moved(phone: Phone) -> None:
    phone.core.write_sysreg("TTBR0_EL3", phone.layout.secure_base)


def el3_memory_types_swapped(phone: Phone) -> None:
    phone.core.write_sysreg("MAIR_EL3", 0x04FF)


def el3_stack_not_empty(phone: Phone) -> None:
    """A call leaves 16 bytes there."""
    phone.machine.checks = False
    phone.place(abi.FLEX_VERSION.function)
    phone.machine.run(phone.machine.instructions + 1)
    phone.core.sp -= 16
    phone.run()
    phone.machine.checks = True


def counter_frequency_changed(phone: Phone) -> None:
    phone.core.write_sysreg("CNTFRQ_EL0", 1)


def fiqs_not_el3s(phone: Phone) -> None:
    flip(phone, "SCR_EL3", SCR_FIQ)


def irqs_of_the_normal_world_kept_from_it(phone: Phone) -> None:
    flip(phone, "SCR_EL3", SCR_IRQ)


def debug_registers_open_to_the_secure_world(phone: Phone) -> None:
    flip(phone, "MDCR_EL3", MDCR_TDA)


def drivers_table_in_the_normal_world(phone: Phone) -> None:
    phone.core.write_sysreg("VTTBR_EL2", 4 << 48 | phone.layout.carve_out_base + CarveOut.DRIVER_ROOT)


def timer_open_to_the_driver(phone: Phone) -> None:
    phone.core.write_sysreg("CNTHCTL_EL2", 3)


def el3_returns_to_no_context(phone: Phone) -> None:
    phone.core.write_sysreg("TPIDR_EL3", phone.images.monitor.symbols["contexts"] + 16)


BREAKS = (
    Break("stage2_is_on", stage2_off),
    Break("stage2_is_on", interrupts_routed_to_el2),
    Break("stage2_is_on", stage2_of_another_format),
    Break("el2_is_the_stubs", el2_vectors_in_normal_memory),
    Break("el2_is_the_stubs", el2_mmu_on),
    Break("el2_is_the_stubs", el2_traps_registers),
    Break("el2_is_the_stubs", el2_keeps_pmu_counters),
    Break("el2_is_the_stubs", el2_traps_floating_point),
    Break("el2_is_the_stubs", el2_timer_on),
    Break("el2_is_the_stubs", virtual_time_shifted),
    Break("el2_is_the_stubs", identity_of_another_core),
    Break("el3_is_the_monitors", el3_executes_what_it_writes),
    Break("el3_is_the_monitors", el3_vectors_moved),
    Break("el3_is_the_monitors", el3_tables_moved),
    Break("el3_is_the_monitors", el3_memory_types_swapped),
    Break("el3_is_the_monitors", el3_stack_not_empty),
    Break("el3_is_the_monitors", counter_frequency_changed),
    Break("registers_name_one_context", fiqs_not_el3s),
    Break("registers_name_one_context", irqs_of_the_normal_world_kept_from_it),
    Break("registers_name_one_context", debug_registers_open_to_the_secure_world, "secure"),
    Break("registers_name_one_context", drivers_table_in_the_normal_world),
    Break("registers_name_one_context", timer_open_to_the_driver, "driver"),
    Break("registers_name_one_context", el3_returns_to_no_context),
)
