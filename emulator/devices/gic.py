"""GICv2 with the Security Extensions (IHI 0048B): Secure software sees all of it, Non-secure software Group 1 only.

The model is native (emulator/native/gic*.c); the declarations here name what it holds, for documentation and debuggers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.memory_map import FIRST_SPI, GIC_CPU, GIC_DISTRIBUTOR, GIC_GUEST, GIC_HYPERVISOR, Window
from emulator.registers import RO, W1C, W1S, WO, Register

from .device import Device
from .frame import Frame

if TYPE_CHECKING:
    from .native import NativeGic

INTERRUPTS = 288
_BITS = INTERRUPTS // 32
_ID = {"id": (9, 0), "cpu": (12, 10)}


class GicDistributor(Frame):
    """GICv2 distributor (IHI 0048B, 4.3): an array element holds so many interrupts as its bits have room for."""

    prefix = "GICD"

    CTLR = Register(
        0x000, fields={"enable_group0": (0, 0), "enable_group1": (1, 1)}, what="Non-secure: group 1 in bit 0."
    )
    TYPER = Register(
        0x004,
        access=RO,
        fields={"lines": (4, 0), "cpus": (7, 5), "security": (10, 10), "lockable": (15, 11)},
        reset=0x408,
        what="32 (lines + 1) interrupts, one core.",
    )
    IIDR = Register(0x008, access=RO, reset=0x43B, what="Implementer: Arm.")
    IGROUPR = Register(0x080, count=_BITS, what="1: group 1. Secure only.")
    ISENABLER = Register(
        0x100, count=_BITS, access=W1S, reset=(0xFFFF, *[0] * (_BITS - 1)), what="SGIs are always enabled."
    )
    ICENABLER = Register(0x180, count=_BITS, access=W1C, reset=(0xFFFF, *[0] * (_BITS - 1)))
    ISPENDR = Register(0x200, count=_BITS, access=W1S)
    ICPENDR = Register(0x280, count=_BITS, access=W1C)
    ISACTIVER = Register(0x300, count=_BITS, access=W1S)
    ICACTIVER = Register(0x380, count=_BITS, access=W1C)
    IPRIORITYR = Register(
        0x400,
        count=INTERRUPTS // 4,
        fields={f"priority{i}": (8 * i + 7, 8 * i) for i in range(4)},
        what="Byte accesses too. Non-secure: shifted left, the upper half only.",
    )
    ITARGETSR = Register(0x800, count=INTERRUPTS // 4, access=RO, what="Reads as zero: there is one core.")
    ICFGR = Register(
        0xC00,
        count=INTERRUPTS // 16,
        reset=(0xAAAA_AAAA, *[0] * (INTERRUPTS // 16 - 1)),
        what="Odd bits: 1 edge, 0 level.",
    )
    SGIR = Register(0xF00, access=WO, fields={"id": (3, 0), "nsatt": (15, 15), "targets": (23, 16), "filter": (25, 24)})
    CPENDSGIR = Register(0xF10, count=4, what="Byte accesses too: a byte an SGI.")
    SPENDSGIR = Register(0xF20, count=4, what="Byte accesses too: a byte an SGI.")
    IDENTIFICATION = Register(
        0xFD0, access=RO, count=12, reset=(0x04, 0, 0, 0, 0x90, 0xB4, 0x2B, 0, 0x0D, 0xF0, 0x05, 0xB1)
    )


class GicCpuInterface(Frame):
    """GICv2 CPU interface (IHI 0048B, 4.4); the table shows the Secure view."""

    prefix = "GICC"

    CTLR = Register(
        0x0000,
        fields={
            "enable_group0": (0, 0),
            "enable_group1": (1, 1),
            "ack_ctl": (2, 2),
            "fiq_enable": (3, 3),
            "common_binary_point": (4, 4),
            "eoi_mode_secure": (9, 9),
            "eoi_mode_normal": (10, 10),
        },
        what="Non-secure: group 1 in bit 0, its EOI mode in bit 9.",
    )
    PMR = Register(0x0004, fields={"priority": (7, 0)}, what="Only higher priorities (lower numbers) are signalled.")
    BPR = Register(0x0008, fields={"binary_point": (2, 0)}, what="Non-secure: ABPR.")
    IAR = Register(0x000C, access=RO, fields=_ID, reset=1023, pops=True, what="Acknowledges what it names.")
    EOIR = Register(0x0010, access=WO, fields=_ID)
    RPR = Register(0x0014, access=RO, fields={"priority": (7, 0)}, reset=0xFF)
    HPPIR = Register(0x0018, access=RO, fields=_ID, reset=1023)
    ABPR = Register(0x001C, fields={"binary_point": (2, 0)}, reset=1, what="Secure only.")
    AIAR = Register(0x0020, access=RO, fields=_ID, reset=1023, pops=True, what="Secure only.")
    AEOIR = Register(0x0024, access=WO, fields=_ID, what="Secure only.")
    AHPPIR = Register(0x0028, access=RO, fields=_ID, reset=1023, what="Secure only.")
    APR = Register(0x00D0, count=4, what="Active priorities of group 0; Non-secure: the upper half of NSAPR.")
    NSAPR = Register(0x00E0, count=4, what="Active priorities of group 1. Secure only.")
    IIDR = Register(0x00FC, access=RO, reset=0x0002_043B, what="Implementer: Arm; GICv2.")
    DIR = Register(0x1000, access=WO, fields=_ID, what="Deactivates, where EOIR only drops the priority.")


class GicHypervisor(Frame):
    """GICv2 virtual interface control (IHI 0048B, 5.3): a hypervisor's list of virtual interrupts."""

    prefix = "GICH"

    HCR = Register(
        0x000,
        fields={
            "enable": (0, 0),
            "underflow": (1, 1),
            "not_present": (2, 2),
            "no_pending": (3, 3),
            "group0_enabled": (4, 4),
            "group0_disabled": (5, 5),
            "group1_enabled": (6, 6),
            "group1_disabled": (7, 7),
            "eoi_count": (31, 27),
        },
        what="What asks for maintenance (interrupt 25).",
    )
    VTR = Register(
        0x004,
        access=RO,
        fields={"list_registers": (5, 0), "preemption_bits": (28, 26), "priority_bits": (31, 29)},
        reset=0x9000_0003,
        what="Each less one.",
    )
    VMCR = Register(
        0x008,
        fields={"control": (9, 0), "abpr": (20, 18), "bpr": (23, 21), "priority_mask": (31, 27)},
        reset=3 << 18 | 2 << 21,
        what="The guest's CTLR, ABPR, BPR and PMR.",
    )
    MISR = Register(0x010, access=RO, what="Bits as HCR's; bit 0: an interrupt has ended.")
    EISR = Register(0x020, access=RO, count=2, what="List registers whose interrupt has ended.")
    ELRSR = Register(0x030, access=RO, count=2, reset=(0xF, 0), what="List registers that are free.")
    APR = Register(0x0F0, what="Active priorities.")
    LR = Register(
        0x100,
        count=4,
        fields={
            "id": (9, 0),
            "physical_id": (19, 10),
            "priority": (27, 23),
            "pending": (28, 28),
            "active": (29, 29),
            "group1": (30, 30),
            "hardware": (31, 31),
        },
        what="Without hardware: bit 19 asks for maintenance at the end, 12:10 is an SGI's sender.",
    )


class GicGuest(Frame):
    """GICv2 virtual CPU interface (IHI 0048B, 5.5): as GICC without the Security Extensions."""

    prefix = "GICV"

    CTLR = Register(
        0x0000,
        fields={
            "enable_group0": (0, 0),
            "enable_group1": (1, 1),
            "ack_ctl": (2, 2),
            "fiq_enable": (3, 3),
            "common_binary_point": (4, 4),
            "eoi_mode": (9, 9),
        },
    )
    PMR = Register(0x0004, fields={"priority": (7, 3)})
    BPR = Register(0x0008, fields={"binary_point": (2, 0)}, reset=2)
    IAR = Register(0x000C, access=RO, fields=_ID, reset=1023, pops=True, what="Acknowledges what it names.")
    EOIR = Register(0x0010, access=WO, fields=_ID)
    RPR = Register(0x0014, access=RO, fields={"priority": (7, 0)}, reset=0xFF)
    HPPIR = Register(0x0018, access=RO, fields=_ID, reset=1023)
    ABPR = Register(0x001C, fields={"binary_point": (2, 0)}, reset=3)
    AIAR = Register(0x0020, access=RO, fields=_ID, reset=1023, pops=True)
    AEOIR = Register(0x0024, access=WO, fields=_ID)
    AHPPIR = Register(0x0028, access=RO, fields=_ID, reset=1023)
    APR = Register(0x00D0, what="Active priorities.")
    IIDR = Register(0x00FC, access=RO, reset=0x0002_043B, what="Implementer: Arm; GICv2.")
    DIR = Register(0x1000, access=WO, fields=_ID, what="Deactivates, where EOIR only drops the priority.")


class Gic:
    """The interrupt controller of a machine. ``frames``: what to attach where."""

    def __init__(self, native: NativeGic) -> None:
        self._native = native
        self.distributor = GicDistributor(native.distributor)
        self.interface = GicCpuInterface(native.interface)
        self.hypervisor = GicHypervisor(native.hypervisor)
        self.guest = GicGuest(native.guest)
        self.frames: tuple[tuple[Window, Frame], ...] = (
            (GIC_DISTRIBUTOR, self.distributor),
            (GIC_CPU, self.interface),
            (GIC_HYPERVISOR, self.hypervisor),
            (GIC_GUEST, self.guest),
        )

    def connect(self, device: Device) -> None:
        """Give a device the input that its window's ``spi`` names. Raises ValueError where there is none."""
        if device.window.spi is None:
            raise ValueError(f"{device.window.name} has no interrupt")
        device.connect(self._native.line(FIRST_SPI + device.window.spi))
