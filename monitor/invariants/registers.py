"""System registers of EL2 and EL3: the same ones whoever runs, but for those that say who does."""

from __future__ import annotations

from collections.abc import Iterable

from emulator.memory_map import COUNTER_HZ
from monitor.abi import Vmid
from monitor.hardware import Hardware
from monitor.invariants.rule import differing
from monitor.memory import CarveOut

VMID_SHIFT = 48

# HCR_EL2 (Arm ARM D19.2): stage 2 on, set/way invalidations clean, EL1 is AArch64; nothing is routed to EL2.
HCR_VM, HCR_SWIO, HCR_RW = 1 << 0, 1 << 1, 1 << 31
# VTCR_EL2: 36 bits in and out, from level 1 on, walks cached and inner shareable.
VTCR = 1 << 31 | 1 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1 << 6 | (64 - 36)

SCTLR_RES1 = 0x30C5_0830  # of EL2 and EL3: MMU and caches off
SCTLR_M, SCTLR_C, SCTLR_SA, SCTLR_I, SCTLR_WXN = 1 << 0, 1 << 2, 1 << 3, 1 << 12, 1 << 19
CPTR_EL2_RES1 = 0x33FF  # nothing traps
PMU_COUNTERS = 6  # MDCR_EL2.HPMN: all of them are EL1's
CORTEX_A72, FIRST_CORE = 0x410F_D083, 0x8000_0000  # MIDR_EL1, MPIDR_EL1

# TCR_EL3: 36 bits, walks cached and inner shareable. MAIR_EL3: 0 is Device-nGnRE, 1 is Normal, write-back.
TCR_EL3 = 1 << 31 | 1 << 23 | 1 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | (64 - 36)
MAIR_EL3 = 0xFF04

# SCR_EL3: FIQs come to EL3, Non-secure memory is not executed from the secure side, EL1 is AArch64.
SCR_NS, SCR_IRQ, SCR_FIQ, SCR_RES1, SCR_SIF, SCR_RW = 1 << 0, 1 << 1, 1 << 2, 3 << 4, 1 << 9, 1 << 10
SCR = SCR_FIQ | SCR_RES1 | SCR_SIF | SCR_RW
# MDCR_EL3: no debug exceptions in the secure world; debug and PMU registers trap (TPM, TDA, TDOSA).
MDCR = 1 << 16 | 2 << 14
MDCR_TRAPS = 1 << 6 | 1 << 9 | 1 << 10

SCR_OF = {"secure": SCR | SCR_IRQ, "normal": SCR | SCR_NS, "driver": SCR | SCR_NS | SCR_IRQ}
MDCR_OF = {"secure": MDCR | MDCR_TRAPS, "normal": MDCR, "driver": MDCR | MDCR_TRAPS}
CNTHCTL_OF = {"secure": 3, "normal": 3, "driver": 1}  # EL1PCTEN, EL1PCEN: the driver has no physical timer
TABLE_OF = {
    "secure": (Vmid.NORMAL, CarveOut.NORMAL_ROOT),
    "normal": (Vmid.NORMAL, CarveOut.NORMAL_ROOT),
    "driver": (Vmid.DRIVER, CarveOut.DRIVER_ROOT),
}


def stage2_is_on(now: Hardware) -> Iterable[str]:
    """Everything below EL2 goes through stage 2, whose tables are the monitor's (docs/security.md; stage2.h)."""
    return differing(now.registers, {"HCR_EL2": HCR_RW | HCR_SWIO | HCR_VM, "VTCR_EL2": VTCR})


def el2_is_the_stubs(now: Hardware) -> Iterable[str]:
    """EL2 holds the stub and traps nothing else: its vectors, MMU off, no timer, the core's own identity (cpu.c)."""
    wanted = {
        "SCTLR_EL2": SCTLR_RES1,
        "ACTLR_EL2": 0,
        "CPTR_EL2": CPTR_EL2_RES1,
        "HSTR_EL2": 0,
        "MDCR_EL2": PMU_COUNTERS,
        "VBAR_EL2": now.layout.dram.carve_out_base + CarveOut.EL2_STUB,
        "VPIDR_EL2": CORTEX_A72,
        "VMPIDR_EL2": FIRST_CORE,
        "CNTVOFF_EL2": 0,
        "CNTHP_CTL_EL2": 0,
    }
    return differing(now.registers, wanted)


def el3_is_the_monitors(now: Hardware) -> Iterable[str]:
    """EL3 has the monitor's vectors and tables, W^X (mmu.c), an empty stack, and traps no floating point (cpu.c)."""
    symbols = now.layout.image.symbols
    wanted = {
        "SCTLR_EL3": SCTLR_RES1 | SCTLR_M | SCTLR_C | SCTLR_SA | SCTLR_I | SCTLR_WXN,
        "ACTLR_EL3": 0,
        "CPTR_EL3": 0,
        "TCR_EL3": TCR_EL3,
        "MAIR_EL3": MAIR_EL3,
        "TTBR0_EL3": symbols["level1"],
        "VBAR_EL3": symbols["vectors"],
        "SP_EL3": symbols["__stack_end"],
        "CNTFRQ_EL0": COUNTER_HZ,
    }
    return differing(now.registers, wanted)


def registers_name_one_context(now: Hardware) -> Iterable[str]:
    """TPIDR_EL3, SCR_EL3, MDCR_EL3, VTTBR_EL2 and CNTHCTL_EL2 are of the context that runs (context.h, stage2.h)."""
    runs = now.running
    if runs is None:
        return [f"TPIDR_EL3 is {now.registers['TPIDR_EL3']:#x}, no context"]
    vmid, root = TABLE_OF[runs]
    wanted = {
        "SCR_EL3": SCR_OF[runs],
        "MDCR_EL3": MDCR_OF[runs],
        "CNTHCTL_EL2": CNTHCTL_OF[runs],
        "VTTBR_EL2": vmid << VMID_SHIFT | now.layout.dram.carve_out_base + root,
    }
    return [f"{said}, while the {runs} context runs" for said in differing(now.registers, wanted)]
