"""The GIC: whose interrupt each is, and that nothing the normal world can write keeps EL3 from one of Group 0."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emulator.devices.gic import GicCpuInterface, GicDistributor
from emulator.inspection import INTERRUPTS
from emulator.memory_map import FIRST_SPI, UART1
from monitor.hardware import Hardware
from monitor.invariants.descriptors import NPU_SECURE, NPU_WINDOWS
from monitor.invariants.rule import differing

SECURE_TIMER = 29  # PPI 13, as on every Arm platform (BSA)
NPU_INTERRUPTS = [FIRST_SPI + window.spi for window in NPU_WINDOWS if window.spi is not None]
CONSOLE_INTERRUPTS = [FIRST_SPI + window.spi for window in (UART1,) if window.spi is not None]
SECURE_SGIS = range(8, 16)
MONITOR_PRIORITY = 0x40  # of what comes to EL3
NORMAL_PRIORITIES = range(0x80, 0x100)  # those that the normal world can set
GROUP0_FIELDS = ("enable_group0", "ack_ctl", "fiq_enable", "common_binary_point", "eoi_mode_secure")


def group0_is_the_monitors(now: Hardware) -> Iterable[str]:
    """Group 0 has the secure timer's, the secure SGIs, the secure console's and, in secure mode, the NPU's (gic.h)."""
    wanted = np.ones(INTERRUPTS, np.uint8)
    wanted[[*_monitors(now), *SECURE_SGIS, *CONSOLE_INTERRUPTS]] = 0
    for interrupt in np.nonzero(now.interrupts["group1"] != wanted)[0]:
        yield f"interrupt {interrupt} is in Group {now.interrupts['group1'][interrupt]}"


def monitors_interrupts_come_first(now: Hardware) -> Iterable[str]:
    """Those that EL3 takes are enabled, at a priority that the normal world cannot reach; its own are below (gic.c)."""
    found = now.interrupts
    for interrupt in _monitors(now):
        priority = int(found["priority"][interrupt])
        if priority != MONITOR_PRIORITY or not found["enabled"][interrupt]:
            yield f"interrupt {interrupt} is the monitor's and has priority {priority:#x}, or is disabled"
    normal = found["group1"] & (found["priority"] < NORMAL_PRIORITIES.start)
    for place in np.nonzero(normal)[0]:
        yield f"interrupt {place} is the normal world's and has priority {int(found['priority'][place]):#x}"


def gic_signals_group0(now: Hardware) -> Iterable[str]:
    """Group 0 is enabled and signalled as FIQ; no mask hides it, no priority that EL3 has left active (gic.c)."""
    found, control = now.interrupts, GicCpuInterface.CTLR.fields
    if not found["distributor_control"] & GicDistributor.CTLR.fields["enable_group0"].mask:
        yield "GICD_CTLR does not forward Group 0"
    bits = {name: int(found["control"]) >> control[name].lsb & 1 for name in GROUP0_FIELDS}
    wanted = {"enable_group0": 1, "ack_ctl": 0, "fiq_enable": 1, "common_binary_point": 0, "eoi_mode_secure": 1}
    yield from (f"GICC_CTLR.{said}" for said in differing(bits, wanted))
    if found["priority_mask"] < NORMAL_PRIORITIES.start:
        yield f"GICC_PMR is {int(found['priority_mask']):#x}, which the normal world cannot have set"
    if found["binary_point"]:
        yield f"GICC_BPR is {int(found['binary_point'])}"
    if found["active_priorities"].any():
        yield "a priority of Group 0 is active, although EL3 has been left"


def active_interrupts_are_noted(now: Hardware) -> Iterable[str]:
    """The secure timer's is over when EL3 is left; the secure NPU's are active while they are noted (interrupt.c)."""
    active, noted = now.interrupts["active"], now.variables["noted"]
    if active[SECURE_TIMER]:
        yield "the secure timer's interrupt was left active"
    if now.variables["npu_mode"] != NPU_SECURE:
        if noted:
            yield f"interrupts of the NPU are noted ({noted:#x}), which is not the secure world's"
        return
    for core, interrupt in enumerate(NPU_INTERRUPTS):
        if active[interrupt] != (noted >> core & 1):
            yield f"interrupt {interrupt} is {'active' if active[interrupt] else 'not active'}, noted are {noted:#x}"


def _monitors(now: Hardware) -> list[int]:
    """What EL3 takes now."""
    return [SECURE_TIMER, *(NPU_INTERRUPTS if now.variables["npu_mode"] == NPU_SECURE else ())]
