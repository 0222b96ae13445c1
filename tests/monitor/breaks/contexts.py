"""What the monitor keeps of contexts: in its memory, or of the one that runs in the core."""

from __future__ import annotations

from emulator.world import World
from tests.firmware.phone import PAGE, Phone

from .by_hand import Break, flip, saved, variable

SECURE, NORMAL, DRIVER, SET_ASIDE = range(4)
SCR_NORMAL, SCR_FIQ = 0x635, 1 << 2
EL0T_AARCH32, EL2H, EL3H = 0x10, 0x3C9, 0x3CD


def normal_context_lacks_fiq(phone: Phone) -> None:
    saved(phone, NORMAL, "scr", SCR_NORMAL & ~SCR_FIQ)


def secure_context_is_not_secure(phone: Phone) -> None:
    saved(phone, SECURE, "scr", SCR_NORMAL)


def driver_context_reaches_debug_registers(phone: Phone) -> None:
    saved(phone, DRIVER, "mdcr", 0x1_8000)


def set_aside_context_takes_no_interrupts(phone: Phone) -> None:
    saved(phone, SET_ASIDE, "scr", SCR_NORMAL & ~1)


def normal_world_returns_to_el2(phone: Phone) -> None:
    saved(phone, NORMAL, "spsr", EL2H)


def secure_world_returns_to_el3(phone: Phone) -> None:
    saved(phone, SECURE, "spsr", EL3H)


def secure_world_returns_to_aarch32(phone: Phone) -> None:
    saved(phone, SECURE, "spsr", EL0T_AARCH32)


def driver_returns_to_el2_behind_the_stub(phone: Phone) -> None:
    symbols = phone.images.monitor.symbols
    saved(phone, DRIVER, "spsr", EL2H)
    saved(phone, DRIVER, "elr", phone.layout.carve_out_base + symbols["el2_stub_end"] - symbols["el2_stub_start"])


def set_aside_context_returns_to_el2(phone: Phone) -> None:
    saved(phone, SET_ASIDE, "spsr", EL2H)


def secure_world_without_mmu(phone: Phone) -> None:
    saved(phone, SECURE, "sctlr_el1", 0x30D0_0800)


def secure_tables_in_normal_memory(phone: Phone) -> None:
    saved(phone, SECURE, "ttbr0_el1", PAGE)


def secure_vectors_in_normal_memory(phone: Phone) -> None:
    phone.core.write_sysreg("VBAR_EL1", PAGE)


def running_secure_world_without_mmu(phone: Phone) -> None:
    flip(phone, "SCTLR_EL1", 1)


def set_aside_context_has_other_tables(phone: Phone) -> None:
    saved(phone, SET_ASIDE, "ttbr0_el1", phone.layout.ownership_base)


def driver_counted(phone: Phone) -> None:
    saved(phone, DRIVER, "pmcr_el0", 1)


def secure_world_counted(phone: Phone) -> None:
    saved(phone, SECURE, "pmcr_el0", 0x4100_3001)


def running_secure_world_counted(phone: Phone) -> None:
    saved(phone, SECURE, "pmcr_el0", 1)
    phone.machine.checks = False
    phone.enter(World.SECURE)
    phone.machine.checks = True
    saved(phone, SECURE, "pmcr_el0", 0)


def tick_switched_off(phone: Phone) -> None:
    flip(phone, "CNTV_CTL_EL0", 1)


def tick_masked(phone: Phone) -> None:
    flip(phone, "CNTP_CTL_EL0", 2)


def tick_put_off(phone: Phone) -> None:
    flip(phone, "CNTP_CVAL_EL0", 1 << 40)


def running_secure_world_waits(phone: Phone) -> None:
    variable(phone, "thread", 1)


def running_driver_waits(phone: Phone) -> None:
    variable(phone, "thread", 1)


def handler_waits_that_never_began(phone: Phone) -> None:
    variable(phone, "thread", 1, offset=8)


def handler_runs_over_the_threads_context(phone: Phone) -> None:
    variable(phone, "is_set_aside", 0)


def interrupted_driver_can_be_called(phone: Phone) -> None:
    variable(phone, "in_call", 0)


def idle_driver_cannot_be_called(phone: Phone) -> None:
    variable(phone, "in_call", 1)


BREAKS = (
    Break("contexts_keep_their_controls", normal_context_lacks_fiq),
    Break("contexts_keep_their_controls", secure_context_is_not_secure),
    Break("contexts_keep_their_controls", driver_context_reaches_debug_registers),
    Break("contexts_keep_their_controls", set_aside_context_takes_no_interrupts, "in_handler"),
    Break("contexts_return_to_el1", normal_world_returns_to_el2, "secure"),
    Break("contexts_return_to_el1", secure_world_returns_to_el3),
    Break("contexts_return_to_el1", secure_world_returns_to_aarch32),
    Break("contexts_return_to_el1", driver_returns_to_el2_behind_the_stub, "driver_interrupted"),
    Break("contexts_return_to_el1", set_aside_context_returns_to_el2, "in_handler"),
    Break("secure_world_has_its_own_tables", secure_world_without_mmu),
    Break("secure_world_has_its_own_tables", secure_tables_in_normal_memory),
    Break("secure_world_has_its_own_tables", secure_vectors_in_normal_memory, "secure"),
    Break("secure_world_has_its_own_tables", running_secure_world_without_mmu, "secure"),
    Break("secure_world_has_its_own_tables", set_aside_context_has_other_tables, "in_handler"),
    Break("who_waits_is_not_who_runs", running_secure_world_waits, "secure"),
    Break("who_waits_is_not_who_runs", running_driver_waits, "driver"),
    Break("who_waits_is_not_who_runs", handler_waits_that_never_began),
    Break("who_waits_is_not_who_runs", handler_runs_over_the_threads_context, "in_handler"),
    Break("who_waits_is_not_who_runs", interrupted_driver_can_be_called, "driver_interrupted"),
    Break("who_waits_is_not_who_runs", idle_driver_cannot_be_called),
    Break("only_the_normal_world_counts", driver_counted),
    Break("only_the_normal_world_counts", secure_world_counted, "secure"),
    Break("only_the_normal_world_counts", running_secure_world_counted),
    Break("normal_worlds_ticks_go_on", tick_switched_off, "secure"),
    Break("normal_worlds_ticks_go_on", tick_masked, "secure"),
    Break("normal_worlds_ticks_go_on", tick_put_off, "secure"),
)
