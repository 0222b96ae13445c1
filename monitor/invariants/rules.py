"""Every rule: the only place where they are listed."""

from __future__ import annotations

from monitor.invariants import (
    contexts,
    deadlines,
    filters,
    history,
    interrupts,
    monitor_code,
    npu_table,
    ownership,
    registers,
    smmu,
    stage2,
    tlbs,
)
from monitor.invariants.rule import Rule

# fmt: off
RULES = (
    Rule("stage 2 is on, in the tables' format", registers.stage2_is_on, (1, 8), ("registers",)),
    Rule("EL2 is the stub's alone", registers.el2_is_the_stubs, (1, 5), ("registers",)),
    Rule("EL3 has its vectors and tables, W^X", registers.el3_is_the_monitors, (3, 6), ("registers",)),
    Rule("the registers that say who runs agree", registers.registers_name_one_context, (1, 5), ("registers",)),

    Rule("EL2 runs the image's stub", monitor_code.el2_runs_the_stub, (1,), ("memory",)),
    Rule("EL3 runs the image's code", monitor_code.el3_runs_the_image, (1, 6), ("memory",)),
    Rule("EL3 knows where its tables are", monitor_code.el3_knows_its_tables, (4,), ("variables",)),
    Rule("EL3 maps what it needs, with its NS and W^X", monitor_code.el3_maps_what_it_needs, (3, 6), ("memory",)),

    Rule("the TZASC has three regions, each for its masters", filters.tzasc_has_three_regions, (1, 3, 8), ("filters",)),
    Rule("the TZASC is open and denies by a bus error", filters.tzasc_is_open_and_reports, (8,), ("filters",)),
    Rule("SRAM and the secure devices are secure", filters.tzpc_protects_sram_and_secure_devices, (1, 8), ("filters",)),

    Rule("pages are mapped for the normal world by their owner", stage2.normal_memory_is_mapped_by_owner,
         (1, 3, 8), ("memory",)),
    Rule("the normal core's table has that memory and its devices", stage2.normal_tables_link_that_memory_and_devices,
         (1, 8), ("memory",)),
    Rule("the normal DMA masters' table has that memory alone", stage2.storage_tables_link_that_memory,
         (1, 8), ("memory",)),
    Rule("the driver context's table has its own memory", stage2.driver_tables_hold_its_own_memory,
         (3, 8), ("memory",)),
    Rule("one table has the NPU's registers, by its mode", stage2.npu_registers_are_linked_by_mode,
         (8, 9), ("memory", "variables")),

    Rule("the NPU's table is for LOCKED pages, each once", npu_table.npu_maps_locked_pages, (3, 9), ("memory",)),
    Rule("the NPU's entries are what the reverse table says", npu_table.npu_entries_are_the_reverse_tables,
         (3, 9), ("memory",)),
    Rule("the NPU's upper tables are as at boot", npu_table.npu_tables_link_those_entries, (9,), ("memory",)),

    Rule("the SMMU translates by the monitor's stream table", smmu.smmu_is_on, (1, 8), ("smmu",)),
    Rule("the SMMU has done every command", smmu.smmu_has_done_every_command, (1, 8), ("smmu", "variables")),
    Rule("every stream has its owner's table, or aborts", smmu.streams_have_their_owners_table,
         (1, 8, 9), ("memory", "variables")),
    Rule("cached streams are as in the table", smmu.smmu_has_cached_todays_streams, (1, 8, 9), ("memory", "streams")),
    Rule("the SMMU's TLB is as the tables are", tlbs.smmu_tlb_holds_todays_stage2,
         (1, 8, 9), ("memory", "variables", "smmu_tlb")),
    Rule("DMA under way goes where its stream may go", smmu.transfers_land_where_they_may,
         (1, 3, 9), ("memory", "variables", "transfers")),

    Rule("the core's TLB is as stage 2 is", tlbs.core_tlb_holds_todays_stage2,
         (1, 3, 8), ("memory", "variables", "core_tlb")),
    Rule("the core's TLB is as EL3's tables are", tlbs.core_tlb_holds_todays_el3, (6, 8), ("core_tlb",)),

    Rule("Group 0 is the monitor's and the secure world's", interrupts.group0_is_the_monitors,
         (8,), ("interrupts", "variables")),
    Rule("EL3's interrupts come first", interrupts.monitors_interrupts_come_first, (6, 8), ("interrupts", "variables")),
    Rule("the GIC signals Group 0, and nothing masks it", interrupts.gic_signals_group0, (6, 8), ("interrupts",)),
    Rule("what is active is noted", interrupts.active_interrupts_are_noted, (6, 8), ("interrupts", "variables")),
    Rule("the secure timer is armed for the earliest deadline", deadlines.secure_timer_is_armed_for_the_earliest,
         (6, 7), ("registers", "variables", "deadlines")),

    Rule("contexts keep SCR_EL3 and MDCR_EL3", contexts.contexts_keep_their_controls,
         (5, 6), ("registers", "variables", "contexts")),
    Rule("contexts return to their own EL1", contexts.contexts_return_to_el1,
         (1, 5), ("registers", "variables", "contexts")),
    Rule("the secure world runs with its MMU on, from its DRAM", contexts.secure_world_has_its_own_tables,
         (3,), ("registers", "variables", "contexts")),
    Rule("who waits is not who runs", contexts.who_waits_is_not_who_runs, (6,), ("registers", "variables")),
    Rule("only the normal world is counted", contexts.only_the_normal_world_counts,
         (5,), ("registers", "variables", "contexts")),
    Rule("the normal world's ticks go on in the secure world", contexts.normal_worlds_ticks_go_on,
         (6,), ("registers", "ticks")),

    Rule("pages are of the layout's regions", ownership.pages_have_their_region, (4,), ("memory",)),
    Rule("each page has one state", ownership.pages_have_one_state, (4,), ("memory",)),
    Rule("the monitor's counts are the table's", ownership.pages_are_counted, (4, 7), ("memory", "variables")),
    Rule("no more is owed than there is", ownership.owed_pages_exist, (7,), ("variables",)),

    Rule("pages change hands by the calls' steps", history.pages_change_hands_step_by_step, (4,), ("memory", "before")),
    Rule("returned pages hold zeros", history.returned_pages_hold_zeros, (2,), ("memory", "before")),
    Rule("a draining NPU begins nothing", history.draining_npu_begins_nothing, (9,), ("npu", "variables", "before")),
    Rule("a switched NPU holds nothing", history.switched_npu_holds_nothing, (9,), ("npu", "variables", "before")),
)
# fmt: on
