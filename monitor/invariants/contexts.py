"""What the monitor keeps of the contexts that do not run: it becomes the core's registers as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from monitor.hardware import CONTEXTS, Hardware, Saved
from monitor.invariants.registers import MDCR_OF, SCR_OF, SCTLR_M
from monitor.memory import CarveOut

MODE, AARCH32 = 0xF, 1 << 4  # of SPSR
EL0T, EL1T, EL1H, EL2H = 0, 4, 5, 9
TABLE = 0x0000_FFFF_FFFF_F000  # of TTBR0_EL1
PMCR_E = 1
ISTATUS = 1 << 2  # of CNTP_CTL_EL0, CNTV_CTL_EL0: what the timer says, not what was set


def contexts_keep_their_controls(now: Hardware) -> Iterable[str]:
    """SCR_EL3 and MDCR_EL3 of each are what it was given at boot: NS, where interrupts go, what traps (boot.c)."""
    for name, saved in _kept(now, running=True):
        whose = "secure" if name == CONTEXTS[-1] else name
        if (saved.scr, saved.mdcr) != (SCR_OF[whose], MDCR_OF[whose]):
            yield f"the {name} context has SCR_EL3 {saved.scr:#x} and MDCR_EL3 {saved.mdcr:#x}"


def contexts_return_to_el1(now: Hardware) -> Iterable[str]:
    """Each returns to its EL1 or EL0, AArch64; the driver's also to the stub, if it was interrupted there (stub.S)."""
    stub = now.layout.dram.carve_out_base + CarveOut.EL2_STUB
    symbols = now.layout.image.symbols
    stub_end = stub + symbols["el2_stub_end"] - symbols["el2_stub_start"]
    for name, saved in _kept(now):
        in_stub = saved.spsr & MODE == EL2H and name == "driver" and stub <= saved.elr < stub_end
        if saved.spsr & AARCH32 or (saved.spsr & MODE not in (EL0T, EL1T, EL1H) and not in_stub):
            yield f"the {name} context returns to {saved.elr:#x} with SPSR {saved.spsr:#x}"


def secure_world_has_its_own_tables(now: Hardware) -> Iterable[str]:
    """Once it has booted its MMU is on, and its tables and vectors are in secure DRAM (docs/security.md, 3)."""
    if not now.variables["secure_is_ready"]:
        return
    dram = now.layout.dram
    registers = now.registers
    live = [(registers["SCTLR_EL1"], registers["TTBR0_EL1"], registers["VBAR_EL1"])] if now.running == "secure" else []
    kept = [(saved.sctlr, saved.ttbr0, saved.vbar) for name, saved in _kept(now) if name in ("secure", CONTEXTS[-1])]
    for sctlr, ttbr0, vbar in (*live, *kept):
        if not sctlr & SCTLR_M:
            yield f"the secure world's MMU is off: SCTLR_EL1 is {sctlr:#x}"
        for what, address in (("TTBR0_EL1", ttbr0 & TABLE), ("VBAR_EL1", vbar)):
            if not dram.secure_base <= address < dram.secure_end:
                yield f"the secure world's {what} is {address:#x}, outside of its DRAM"


def who_waits_is_not_who_runs(now: Hardware) -> Iterable[str]:
    """An interrupted thread waits while the normal world runs, or below the handler of a revocation (preempt.h)."""
    ordinary, handler = now.threads
    above = bool(now.variables["in_handler"])
    if handler.waits and not above:
        yield "a handler waits that nobody has begun"
    if above and not now.variables["is_set_aside"]:
        yield "a handler has begun, and no context is set aside for it"
    if now.running in ("secure", "driver") and (handler if above else ordinary).waits:
        yield f"the {now.running} context runs, and waits to be resumed"
    called = now.running == "driver" and now.variables["driver_is_ready"]
    waits = any(thread.waits and thread.runs == "driver" for thread in now.threads)
    if bool(now.variables["in_call"]) != bool(called or waits):
        yield f"the driver is {'' if now.variables['in_call'] else 'not '}said to be in a call"


def only_the_normal_world_counts(now: Hardware) -> Iterable[str]:
    """PMCR_EL0.E is clear for the others, so that the normal world's counters tell nothing of them (world_switch.S)."""
    live = now.registers["PMCR_EL0"]
    if now.running != "normal" and live & PMCR_E:
        yield f"the {now.running} context runs with PMCR_EL0 {live:#x}: it is counted"
    for name, saved in _kept(now, running=True):
        if name != "normal" and saved.pmcr & PMCR_E:
            yield f"the {name} context has PMCR_EL0 {saved.pmcr:#x}: it is counted"


def normal_worlds_ticks_go_on(now: Hardware) -> Iterable[str]:
    """EL1's timers are as the normal world left them; but the driver reaches the virtual one (world_switch.S)."""
    if now.running in ("secure", "driver"):
        for name, (live, left) in now.ticks.items():
            if now.running == "driver" and name.startswith("CNTV_"):
                continue
            if (live ^ left) & ~(ISTATUS if "_CTL_" in name else 0):
                yield f"{name} is {live:#x}, the normal world left {left:#x}"


def _kept(now: Hardware, *, running: bool = False) -> Iterator[tuple[str, Saved]]:
    """Contexts whose memory means something. Of one that runs it is what it had when EL3 was last entered."""
    for name, saved in now.saved.items():
        if name == CONTEXTS[-1] and not now.variables["is_set_aside"]:
            continue
        if name != now.running or running:
            yield name, saved
