"""The platform's physical memory map: the only place where an address, an NSAID or a stream id is written down.

Addresses agree with QEMU's ``virt,secure=on`` wherever that machine has the device.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

PAGE_SIZE = 0x1000
BLOCK_SIZE = 0x20_0000  # a level 2 block of the 4 KiB granule
MIB = 0x10_0000
GIB = 0x4000_0000

FIRST_SPI = 32
COUNTER_HZ = 1_000_000_000  # CNTFRQ_EL0: one tick is one executed instruction

DRAM_BASE = 0x4000_0000
DRAM_MIN = 64 * MIB
DRAM_DEFAULT = 1 * GIB
DRAM_MAX = 16 * GIB
NPU_ADDRESS_LIMIT = 4 * GIB
DRIVER_BYTES = MIB


class Reach(enum.Enum):
    """Who may reach a device, before stage 2 narrows it further."""

    NORMAL = "normal"  # the TZPC lets non-secure accesses pass
    SECURE = "secure"  # secure accesses only


@dataclass(frozen=True)
class Window:
    """A device's or memory's place: ``size`` bytes at physical address ``base``.

    ``spi``: its shared peripheral interrupt, or its first; the GIC counts them from `FIRST_SPI`.
    """

    name: str
    base: int
    size: int
    reach: Reach
    what: str
    spi: int | None = None

    @property
    def end(self) -> int:
        return self.base + self.size

    def __contains__(self, address: int) -> bool:
        return self.base <= address < self.end


UART0 = Window("UART0", 0x0900_0000, 0x1000, Reach.NORMAL, "PL011, the normal world's console", 1)
UART1 = Window("UART1", 0x0904_0000, 0x1000, Reach.SECURE, "PL011, the secure world's console", 8)
SMMU = Window("SMMU", 0x0905_0000, 0x2_0000, Reach.SECURE, "SMMUv3 in front of every DMA master, kept by EL3")
TZASC = Window("TZASC", 0x0A10_0000, 0x1000, Reach.SECURE, "CoreLink TZC-400 in front of DRAM, kept by EL3")
TZPC = Window("TZPC", 0x0A11_0000, 0x1000, Reach.SECURE, "BP147 protection controller, kept by EL3")
TRUSTED = Window("TRUSTED", 0x0A12_0000, 0x1000, Reach.SECURE, "fuses, TRNG, counters, provisioned model slots")
STORAGE = Window("STORAGE", 0x0A13_0000, 0x1000, Reach.NORMAL, "storage controller, DMA master behind the SMMU")
NPU0 = Window("NPU0", 0x0A20_0000, 0x1_0000, Reach.NORMAL, "NPU core 0, DMA master behind the SMMU", 110)
NPU1 = Window("NPU1", 0x0A21_0000, 0x1_0000, Reach.NORMAL, "NPU core 1, DMA master behind the SMMU", 111)
NPU2 = Window("NPU2", 0x0A22_0000, 0x1_0000, Reach.NORMAL, "NPU core 2, DMA master behind the SMMU", 112)
NPU_CONTROL = Window("NPU_CONTROL", 0x0A23_0000, 0x1000, Reach.NORMAL, "power, clock, reset and status of the NPU")
SECURE_SRAM = Window("SECURE_SRAM", 0x0E00_0000, 16 * MIB, Reach.SECURE, "the EL3 monitor, behind the TZPC's R0SIZE")

DEVICES = (UART0, UART1, SMMU, TZASC, TZPC, TRUSTED, STORAGE, NPU0, NPU1, NPU2, NPU_CONTROL)

# What else QEMU's machine has, for `flexserve exec`: outside the TZPC, whose bits are the places in DEVICES.
FLASH0 = Window("FLASH0", 0x0000_0000, 64 * MIB, Reach.SECURE, "CFI flash: firmware starts here")
FLASH1 = Window("FLASH1", 0x0400_0000, 64 * MIB, Reach.NORMAL, "CFI flash: variables")
RTC = Window("RTC", 0x0901_0000, 0x1000, Reach.NORMAL, "PL031, seconds of guest time", 2)
FW_CFG = Window("FW_CFG", 0x0902_0000, 0x1000, Reach.NORMAL, "QEMU's firmware configuration, with its DMA interface")
GPIO = Window("GPIO", 0x0903_0000, 0x1000, Reach.NORMAL, "PL061; nothing is connected", 7)
SECURE_GPIO = Window("SECURE_GPIO", 0x090B_0000, 0x1000, Reach.SECURE, "PL061; line 0 powers off, line 1 resets")
VIRTIO = Window("VIRTIO", 0x0A00_0000, 0x4000, Reach.NORMAL, "32 virtio-mmio slots, all empty", 16)
PCIE_MMIO = Window("PCIE_MMIO", 0x1000_0000, 0x2EFF_0000, Reach.NORMAL, "PCIe memory space; nothing answers")
PCIE_PIO = Window("PCIE_PIO", 0x3EFF_0000, 0x1_0000, Reach.NORMAL, "PCIe port space; nothing answers")
PCIE_ECAM = Window("PCIE_ECAM", 0x40_1000_0000, 256 * MIB, Reach.NORMAL, "PCIe configuration space; no functions")
PCIE_MMIO_HIGH = Window("PCIE_MMIO_HIGH", 0x80_0000_0000, 512 * GIB, Reach.NORMAL, "as PCIE_MMIO, for 64-bit BARs")

GIC_DISTRIBUTOR = Window("GICD", 0x0800_0000, 0x1_0000, Reach.NORMAL, "GICv2 distributor, two views")
GIC_CPU = Window("GICC", 0x0801_0000, 0x1_0000, Reach.NORMAL, "GICv2 CPU interface, two views")
MSI = Window("MSI", 0x0802_0000, 0x1000, Reach.NORMAL, "GICv2m frame, for message-signalled interrupts", 48)
GIC_HYPERVISOR = Window("GICH", 0x0803_0000, 0x1_0000, Reach.NORMAL, "GICv2 virtual interface, the hypervisor's side")
GIC_GUEST = Window("GICV", 0x0804_0000, 0x1_0000, Reach.NORMAL, "GICv2 virtual interface, a guest's CPU interface")

VIRT_DEVICES = (
    FLASH0, FLASH1, RTC, FW_CFG, GPIO, SECURE_GPIO, VIRTIO, PCIE_MMIO, PCIE_PIO, PCIE_ECAM, PCIE_MMIO_HIGH,
    GIC_DISTRIBUTOR, GIC_CPU, MSI, GIC_HYPERVISOR, GIC_GUEST,
)  # fmt: skip
VIRT_COUNTER_HZ = 62_500_000  # CNTFRQ_EL0 out of reset, as on QEMU: an instruction lasts 16 ns there


def device_windows() -> tuple[Window, ...]:
    """Every device, in the order of the numbers that events and the bus know them by."""
    return (*DEVICES, *VIRT_DEVICES)


class Nsaid(enum.IntEnum):
    """Non-secure access identity that a bus master presents to the TZC-400."""

    CPU = 0
    SMMU_WALKER = 1
    STORAGE = 2
    NPU0 = 3
    NPU1 = 4
    NPU2 = 5


class StreamId(enum.IntEnum):
    """Stream that a DMA master presents to the SMMU."""

    STORAGE = 1
    NPU0 = 2
    NPU1 = 3
    NPU2 = 4


@dataclass(frozen=True)
class DramLayout:
    """Where the carve-outs of a DRAM of ``size`` bytes lie (all bounds are physical addresses, ends exclusive).

    From the bottom: normal memory, the monitor's normal-memory carve-out (EL2 stub, stage-2 tables, SMMU tables and
    queues, the driver context's memory; the NPU's own stage-2 entries at its end), secure DRAM (secure kernel, then
    the reverse table of the NPU's addresses and the page-ownership table).
    """

    size: int

    def __post_init__(self) -> None:
        if not DRAM_MIN <= self.size <= DRAM_MAX or self.size % BLOCK_SIZE:
            raise ValueError(
                f"DRAM size {self.size:#x} is not a multiple of 2 MiB between {DRAM_MIN // MIB} MiB"
                f" and {DRAM_MAX // GIB} GiB"
            )

    @property
    def pages(self) -> int:
        return self.size // PAGE_SIZE

    @property
    def end(self) -> int:
        return DRAM_BASE + self.size

    @property
    def ownership_base(self) -> int:
        """One byte a page of DRAM, rounded up to whole pages."""
        return self.end - _round_up(self.pages, PAGE_SIZE)

    @property
    def secure_end(self) -> int:
        """Where the secure kernel's memory ends and the reverse table begins: four bytes a page of DRAM."""
        return self.ownership_base - _round_up(4 * self.pages, PAGE_SIZE)

    @property
    def secure_base(self) -> int:
        """Secure DRAM: 16 MiB and a 64th of DRAM (the secure kernel's page tables grow with its pool)."""
        return self.end - 16 * MIB - _round_up(self.size // 64, BLOCK_SIZE)

    @property
    def carve_out_base(self) -> int:
        """The monitor's carve-out: 2 MiB and a 512th of DRAM (4 KiB stage-2 entries: 2 MiB of tables a GiB), and as
        many entries again for the NPU's addresses.
        """
        return self.npu_tables_base - BLOCK_SIZE - _round_up(self.size // 512, BLOCK_SIZE)

    @property
    def npu_bytes(self) -> int:
        """The NPU's addresses in secure mode are below this; its DMA addresses have 32 bits."""
        return min(self.size, NPU_ADDRESS_LIMIT)

    @property
    def npu_tables_base(self) -> int:
        return self.secure_base - _round_up(self.npu_bytes // 512, BLOCK_SIZE)

    @property
    def driver_base(self) -> int:
        """The driver context's memory: `DRIVER_BYTES`, its gate first."""
        return self.carve_out_base + MIB

    @property
    def normal_end(self) -> int:
        return self.carve_out_base


def _round_up(value: int, step: int) -> int:
    return (value + step - 1) // step * step


NORMAL_IMAGE_BASE = DRAM_BASE  # the normal kernel's gate
PROBE_IMAGE_BASE = DRAM_BASE + MIB  # guest loops and attack routines, normal world
NORMAL_IMAGE_END = DRAM_BASE + BLOCK_SIZE  # from here on the normal kernel's page allocator rules
