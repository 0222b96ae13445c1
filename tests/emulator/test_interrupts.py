"""Interrupts are taken at exact instruction boundaries, by the architecture's routing; timers count guest time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.devices.gic import Gic
from emulator.devices.native import NativeGic
from emulator.machine import StopReason
from emulator.memory_map import GIC_CPU, GIC_DISTRIBUTOR

from .bare import DAIF, HCR_RW, SCR_HCE, SCR_NS, SCR_RW, VECTORS, Guest

GICD, GICC = GIC_DISTRIBUTOR.base, GIC_CPU.base
CTLR, IGROUPR, ISENABLER, ISPENDR = 0x000, 0x080, 0x100, 0x200
PMR, IAR, EOIR = 0x04, 0x0C, 0x10
SCR_IRQ, SCR_FIQ = 1 << 1, 1 << 2
HCR_VF, HCR_VI, HCR_IMO, HCR_FMO = 1 << 6, 1 << 7, 1 << 4, 1 << 3
IRQ, FIQ = 0x80, 0x100
SAME_LEVEL, LOWER_LEVEL = 0x200, 0x400
VIRTUAL_TIMER, PHYSICAL_TIMER = 27, 30

SOURCE = """
spin:   add x1, x1, #1
        add x1, x1, #1
        add x1, x1, #1
        b spin
unmask: nop
        msr daifclr, #2
after_unmask:
        nop
        nop
        wfi
arm_timer:
        msr cntp_cval_el0, x2
        mov x3, #1
        msr cntp_ctl_el0, x3
        b spin
by_device:
        str w3, [x2]
after_device:
        nop
        wfi
wait:   wfi
after_wait:
        nop
        wfi
"""


class Interrupted(Guest):
    """A guest with a GIC that signals every interrupt: group 0 as FIQ, group 1 as IRQ."""

    def __init__(self, source: str = SOURCE) -> None:
        super().__init__(source)
        self.gic = Gic(NativeGic(self.machine.native))
        for window, frame in self.gic.frames:
            self.machine.attach(window, frame)
        self.gic.distributor.write(CTLR, 4, 3, True)
        self.gic.interface.write(CTLR, 4, 0xF, True)
        self.gic.interface.write(PMR, 4, 0xFF, True)

    def vector(self) -> tuple[int, int]:
        """The level and vector that an interrupt is taken to; its WFI falls through while the interrupt is pending."""
        self.machine.run(self.machine.instructions + 2000)
        level = self.core.level
        return level, self.core.pc - VECTORS[level] & ~0x7F

    def raise_irq(self) -> None:
        """SPI 0 becomes pending in group 1."""
        self.use(32)
        self.gic.distributor.write(ISPENDR + 4, 4, 1, True)

    def raise_fiq(self) -> None:
        self.use(33, group1=False)
        self.gic.distributor.write(ISPENDR + 4, 4, 2, True)

    def use(self, interrupt: int, *, group1: bool = True) -> None:
        word, bit = interrupt // 32 * 4, 1 << interrupt % 32
        self.gic.distributor.write(ISENABLER + word, 4, bit, True)
        group = self.gic.distributor.read(IGROUPR + word, 4, True)
        self.gic.distributor.write(IGROUPR + word, 4, group | bit if group1 else group & ~bit, True)


@pytest.fixture(name="guest")
def _guest() -> Iterator[Interrupted]:
    guest = Interrupted()
    yield guest
    guest.machine.close()


# Where a physical IRQ goes, by SCR_EL3.IRQ, HCR_EL2.IMO and the level it meets (Arm ARM, table D1-13); 0: nowhere.
ROUTES = [
    (0, 0, 0, 1), (0, 0, 1, 1), (0, 0, 2, 0), (0, 0, 3, 0),
    (0, 1, 0, 2), (0, 1, 1, 2), (0, 1, 2, 2), (0, 1, 3, 0),
    (1, 0, 0, 3), (1, 0, 1, 3), (1, 0, 2, 3), (1, 0, 3, 3),
    (1, 1, 0, 3), (1, 1, 1, 3), (1, 1, 2, 3), (1, 1, 3, 3),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "scr", "hcr"), [("irq", SCR_IRQ, HCR_IMO), ("fiq", SCR_FIQ, HCR_FMO)])
@pytest.mark.parametrize(("to_el3", "to_el2", "level", "target"), ROUTES)
def test_an_interrupt_goes_where_the_routing_table_says(
    guest: Interrupted, kind: str, scr: int, hcr: int, to_el3: int, to_el2: int, level: int, target: int
) -> None:
    guest["SCR_EL3"] = SCR_RW | SCR_NS | SCR_HCE | (scr if to_el3 else 0)
    guest["HCR_EL2"] = HCR_RW | (hcr if to_el2 else 0)
    guest.enter("spin", level, masked=0)
    if level == 3:
        guest.core.x[33] = 0b1101
    (guest.raise_irq if kind == "irq" else guest.raise_fiq)()
    if not target:
        assert guest.machine.run(guest.machine.instructions + 100).reason is StopReason.BUDGET
        assert guest.core.level == level
        return
    vector = (IRQ if kind == "irq" else FIQ) + (SAME_LEVEL if level == target else LOWER_LEVEL)
    assert guest.vector() == (target, vector)
    assert guest[f"ELR_EL{target}"] == guest.at("spin")


@pytest.mark.parametrize("target", [1, 2, 3])
def test_a_mask_holds_only_at_the_level_that_takes_the_interrupt_or_at_el1(guest: Interrupted, target: int) -> None:
    guest["SCR_EL3"] = SCR_RW | SCR_NS | SCR_HCE | (SCR_IRQ if target == 3 else 0)
    guest["HCR_EL2"] = HCR_RW | (HCR_IMO if target == 2 else 0)
    guest.enter("spin", 0, masked=DAIF)
    guest.raise_irq()
    if target > 1:
        assert guest.vector() == (target, IRQ + LOWER_LEVEL)
    else:
        assert guest.machine.run(guest.machine.instructions + 100).reason is StopReason.BUDGET


@pytest.mark.parametrize("slices", [1, 2, 3, 1000])
def test_unmasking_lets_the_next_instruction_wait(guest: Interrupted, slices: int) -> None:
    guest.enter("unmask", 1)
    guest.raise_irq()
    begun = guest.machine.instructions
    while guest.core.pc in range(guest.at("unmask"), guest.at("arm_timer")):
        guest.machine.run(guest.machine.instructions + slices)
    assert guest["ELR_EL1"] == guest.at("after_unmask")
    assert guest.machine.instructions - begun <= 2 + slices


@pytest.mark.parametrize("slices", [1, 3, 7, 1000])
@pytest.mark.parametrize("delay", [4, 5, 6, 7, 1000, 1001])
def test_a_timer_interrupts_at_its_instruction(guest: Interrupted, delay: int, slices: int) -> None:
    """However the run is cut: ``delay`` counts from `arm_timer`, which reaches its loop after 4 instructions."""
    guest.use(PHYSICAL_TIMER)
    guest.enter("arm_timer", 1, masked=0)
    begun = guest.machine.instructions
    guest.core.x[2] = begun + delay
    while guest.core.pc < guest.at("spin") + 0x100 and guest.core.pc >= guest.at("spin"):
        guest.machine.run(guest.machine.instructions + slices)
    assert guest["ELR_EL1"] == guest.at("spin") + 4 * ((delay - 4) % 4)


def test_a_timer_that_is_masked_or_off_interrupts_nobody(guest: Interrupted) -> None:
    guest.use(PHYSICAL_TIMER)
    guest.enter("spin", 1, masked=0)
    for control in (0, 2, 3):
        guest["CNTP_CTL_EL0"] = control
        assert guest.machine.run(guest.machine.instructions + 100).reason is StopReason.BUDGET
    assert guest["CNTP_CTL_EL0"] == 0b111


def test_a_device_interrupts_right_after_the_store_that_caused_it(guest: Interrupted) -> None:
    guest.use(40)
    guest.core.x[2], guest.core.x[3] = GICD + ISPENDR + 4, 1 << 8
    guest.enter("by_device", 1, masked=0)
    assert guest.vector() == (1, IRQ + SAME_LEVEL)
    assert guest["ELR_EL1"] == guest.at("after_device")


def test_wfi_ends_at_once_where_an_interrupt_is_pending_though_masked(guest: Interrupted) -> None:
    guest.raise_irq()
    guest.enter("wait", 1, masked=DAIF)
    begun = guest.machine.instructions
    stop = guest.machine.run(begun + 2)
    assert (stop.reason, stop.pc) == (StopReason.BUDGET, guest.at("after_wait") + 4)


def test_wfi_stops_where_nothing_is_pending_and_time_moves_to_the_timer(guest: Interrupted) -> None:
    guest.use(VIRTUAL_TIMER)
    guest.enter("wait", 1, masked=0)
    guest["CNTV_CVAL_EL0"] = 1_000_000
    guest["CNTV_CTL_EL0"] = 1
    assert guest.machine.run(10_000).reason is StopReason.WFI
    assert guest.machine.advance_to_next_event()
    assert guest.machine.instructions == 1_000_000
    assert guest.vector() == (1, IRQ + SAME_LEVEL)
    assert guest["ELR_EL1"] == guest.at("after_wait")


def test_the_virtual_counter_differs_by_its_offset(guest: Interrupted) -> None:
    guest.use(VIRTUAL_TIMER)
    guest.enter("wait", 1, masked=0)
    guest["CNTVOFF_EL2"] = (1 << 64) - 500
    guest["CNTV_CVAL_EL0"] = 1000
    guest["CNTV_CTL_EL0"] = 1
    assert guest.machine.run(10_000).reason is StopReason.WFI
    assert guest.machine.advance_to_next_event()
    assert guest.machine.instructions == 500


@pytest.mark.parametrize(("bit", "enable", "vector"), [(HCR_VI, HCR_IMO, IRQ), (HCR_VF, HCR_FMO, FIQ)])
def test_a_virtual_interrupt_goes_to_el1_where_el2_takes_the_physical_ones(
    guest: Interrupted, bit: int, enable: int, vector: int
) -> None:
    guest["HCR_EL2"] = HCR_RW | bit | enable
    assert guest["HCR_EL2"] == HCR_RW | bit | enable
    guest.enter("spin", 1, masked=0)
    assert guest.vector() == (1, vector + SAME_LEVEL)
    guest["HCR_EL2"] = HCR_RW | bit
    guest.enter("spin", 1, masked=0)
    assert guest.machine.run(guest.machine.instructions + 100).reason is StopReason.BUDGET


def test_state_keeps_what_is_pending_and_armed(guest: Interrupted) -> None:
    guest.use(PHYSICAL_TIMER)
    guest.enter("arm_timer", 1, masked=0)
    begun = guest.machine.instructions
    guest.core.x[2] = begun + 1001
    guest.machine.run(begun + 500)
    state = guest.machine.save()
    ends = []
    for _ in range(2):
        assert guest.vector() == (1, IRQ + SAME_LEVEL)
        ends.append((guest["ELR_EL1"], guest.machine.instructions, guest.gic.interface.read(IAR, 4, True)))
        guest.machine.restore(state)
    assert ends[0] == ends[1]
    assert ends[0][2] == 1022 or ends[0][2] == PHYSICAL_TIMER


def test_a_step_is_an_instruction_or_an_interrupt(guest: Interrupted) -> None:
    guest.raise_irq()
    guest.enter("unmask", 1)
    guest.machine.stops.step(on=True)
    places = []
    for _ in range(4):
        guest.machine.run()
        places.append(guest.core.pc)
    vector = VECTORS[1] + SAME_LEVEL + IRQ
    assert places == [guest.at("unmask") + 4, guest.at("after_unmask"), vector, vector + 4]


TICKING = """
tick:   mrs x9, elr_el1
        str x9, [x10], #8
        ldr w9, [x11, #0x0c]
        mov x12, #{period}
        msr cntv_tval_el0, x12
        str w9, [x11, #0x10]
        eret
.balign 0x800
table:  .space 0x280
        b tick
        .balign 0x80
.balign 0x800
work:   mov x1, #0
1:      add x1, x1, #1
        tbz x1, #2, 2f
        msr daifset, #2
        eor x2, x2, x1, ror #7
        madd x3, x2, x1, x3
        msr daifclr, #2
2:      ldr w4, [x11, #0x18]
        add x3, x3, x4
        tbz x1, #5, 1b
        isb
        b 1b
"""
LOG = 0x4300_0000


def ticks(period: int, slices: int, length: int) -> tuple[bytes, list[int], int]:
    """What a kernel with a ticking timer has logged and computed after ``length`` instructions, run in slices."""
    guest = Interrupted(TICKING.format(period=period))
    try:
        guest.use(VIRTUAL_TIMER)
        guest.enter("work", 1, masked=0)
        guest["VBAR_EL1"] = guest.at("table")
        guest.core.x[10], guest.core.x[11] = LOG, GICC
        guest["CNTV_CVAL_EL0"] = guest.machine.instructions + period
        guest["CNTV_CTL_EL0"] = 1
        end = guest.machine.instructions + length
        while guest.machine.instructions < end:
            guest.machine.run(min(end, guest.machine.instructions + slices))
        log = guest.machine.read_physical(LOG, guest.core.x[10] - LOG)
        return log, [guest.core.x[index] for index in range(31)], guest.core.pc
    finally:
        guest.machine.close()


@pytest.mark.parametrize("period", [11, 97, 1000])
def test_a_ticking_kernel_does_the_same_however_its_run_is_cut(period: int) -> None:
    whole = ticks(period, 10_000, 3000)
    assert len(whole[0]) // 8 >= 3000 // (period + 30)
    for slices in (1, 2, 7, 100):
        assert ticks(period, slices, 3000) == whole
