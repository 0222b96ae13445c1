"""The device tree of the exec board: QEMU's nodes for what the board has, from our own memory map.

There are no random seeds: a run is the same every time.
"""

from __future__ import annotations

from emulator import memory_map
from emulator.memory_map import DRAM_BASE, SECURE_SRAM, Window

from .tree import Node, flatten, wide

TREE_BYTES = 0x10_0000  # as on QEMU: whoever completes it has room

CLOCK, CORE, GIC, MSI, GPIO, SECURE_GPIO = range(0x8000, 0x8006)  # phandles
SPI, PPI = 0, 1
EDGE_RISING, LEVEL_HIGH = 1, 4
ONE_CORE = 0x100  # which cores a private interrupt goes to
SECURE_ONLY = {"status": "disabled", "secure_status": "okay"}  # Linux's and OP-TEE's convention

# Private interrupts: the secure, physical, virtual and hypervisor's timers, and the performance counters.
TIMER_PPIS = (13, 14, 11, 10)
PMU_PPI, GIC_PPI = 7, 9
GIC_FRAMES = (
    memory_map.GIC_DISTRIBUTOR, memory_map.GIC_CPU, memory_map.GIC_HYPERVISOR, memory_map.GIC_GUEST,
)  # fmt: skip
VIRTIO_SLOTS, VIRTIO_BYTES, VIRTIO_SPI = 32, 0x200, memory_map.VIRTIO.spi or 0
PLATFORM_BUS = (0x0C00_0000, 0x0200_0000)  # nothing is on it

PCI_PORTS, PCI_MEMORY, PCI_MEMORY_64 = 0x0100_0000, 0x0200_0000, 0x0300_0000
PCI_PINS, PCI_FIRST_SPI = 4, 3
PCI_SLOT, PCI_SLOTS_APART = 0x800, 4  # a device's number in an address; the pins of every fourth share interrupts
KEY_POWER = 116


def build(dram_bytes: int) -> bytes:
    """The tree for a board with ``dram_bytes`` of DRAM, as bytes in memory."""
    root = Node("")
    root.properties = {
        "interrupt-parent": (GIC,), "model": "linux,dummy-virt", "#size-cells": (2,), "#address-cells": (2,),
        "compatible": "linux,dummy-virt",
    }  # fmt: skip
    root.add(f"memory@{DRAM_BASE:x}", reg=wide(DRAM_BASE, dram_bytes), device_type="memory")
    root.add(
        f"platform-bus@{PLATFORM_BUS[0]:x}",
        interrupt_parent=(GIC,), ranges=(0, 0, *PLATFORM_BUS), cells_address=(1,), cells_size=(1,),
        compatible=("qemu,platform", "simple-bus"),
    )  # fmt: skip
    root.add(
        f"fw-cfg@{memory_map.FW_CFG.base:x}",
        dma_coherent=None, reg=wide(memory_map.FW_CFG.base, 0x18), compatible="qemu,fw-cfg-mmio",
    )  # fmt: skip
    _add_virtio(root)
    _add_gpio(root)
    _add_pcie(root)
    _add_primecell(root, "pl031", memory_map.RTC)
    _add_primecell(root, "pl011", memory_map.UART1, clocks=("uartclk", "apb_pclk"))
    root.add(f"secram@{SECURE_SRAM.base:x}", reg=_register(SECURE_SRAM), device_type="memory", **SECURE_ONLY)
    _add_primecell(root, "pl011", memory_map.UART0, clocks=("uartclk", "apb_pclk"))
    _add_interrupts(root)
    _add_flash(root)
    _add_core(root)
    root.add(
        "apb-pclk",
        phandle=(CLOCK,), clock_output_names="clk24mhz", clock_frequency=(24_000_000,), cells_clock=(0,),
        compatible="fixed-clock",
    )  # fmt: skip
    root.add("secure-chosen", stdout_path=f"/pl011@{memory_map.UART1.base:x}")
    root.add("chosen", stdout_path=f"/pl011@{memory_map.UART0.base:x}")
    return flatten(root, TREE_BYTES)


def _register(window: Window) -> tuple[int, ...]:
    return wide(window.base, window.size)


def _add_virtio(root: Node) -> None:
    for slot in range(VIRTIO_SLOTS):
        base = memory_map.VIRTIO.base + slot * VIRTIO_BYTES
        root.add(
            f"virtio_mmio@{base:x}",
            dma_coherent=None, interrupts=(SPI, VIRTIO_SPI + slot, EDGE_RISING), reg=wide(base, VIRTIO_BYTES),
            compatible="virtio,mmio",
        )  # fmt: skip


def _add_gpio(root: Node) -> None:
    root.add("gpio-restart", gpios=(SECURE_GPIO, 1, 0), compatible="gpio-restart", **SECURE_ONLY)
    root.add("gpio-poweroff", gpios=(SECURE_GPIO, 0, 0), compatible="gpio-poweroff", **SECURE_ONLY)
    _add_primecell(root, "pl061", memory_map.SECURE_GPIO, phandle=SECURE_GPIO)
    keys = root.add("gpio-keys", compatible="gpio-keys")
    keys.add("poweroff", gpios=(GPIO, 3, 0), linux_code=(KEY_POWER,), label="GPIO Key Poweroff")
    _add_primecell(root, "pl061", memory_map.GPIO, phandle=GPIO)


def _add_pcie(root: Node) -> None:
    ports, memory, high = memory_map.PCIE_PIO, memory_map.PCIE_MMIO, memory_map.PCIE_MMIO_HIGH
    root.add(
        f"pcie@{memory.base:x}",
        cells_interrupt=(1,),
        ranges=(
            *(PCI_PORTS, *wide(0, ports.base, ports.size)),
            *(PCI_MEMORY, *wide(memory.base, memory.base, memory.size)),
            *(PCI_MEMORY_64, *wide(high.base, high.base, high.size)),
        ),
        interrupt_map=_pcie_interrupts(), interrupt_map_mask=(PCI_SLOT * (PCI_SLOTS_APART - 1), 0, 0, 7),
        reg=_register(memory_map.PCIE_ECAM), msi_map=(0, MSI, 0, 0x1_0000),
        dma_coherent=None, bus_range=(0, 0xFF), cells_size=(2,), cells_address=(3,), device_type="pci",
        compatible="pci-host-ecam-generic",
    ).properties["linux,pci-domain"] = (0,)  # fmt: skip


def _pcie_interrupts() -> tuple[int, ...]:
    """Device and pin, to the GIC's interrupt: each device's pins begin one further on."""
    return tuple(
        cell
        for slot in range(PCI_SLOTS_APART)
        for pin in range(PCI_PINS)
        for cell in (
            *(slot * PCI_SLOT, 0, 0, pin + 1),
            *(GIC, 0, 0, SPI, PCI_FIRST_SPI + (slot + pin) % PCI_PINS, LEVEL_HIGH),
        )
    )


def _add_primecell(
    root: Node, part: str, window: Window, *, clocks: tuple[str, ...] = ("apb_pclk",), phandle: int = 0
) -> None:
    """A device that says itself what it is; ``phandle``: of one that has GPIO lines."""
    node = root.add(f"{part}@{window.base:x}", clock_names=clocks, clocks=(CLOCK,) * len(clocks))
    if window.spi is not None:
        node.properties["interrupts"] = (SPI, window.spi, LEVEL_HIGH)
    if window.reach is memory_map.Reach.SECURE:
        node.properties |= {"status": "disabled", "secure-status": "okay"}
    if phandle:
        node.properties |= {"phandle": (phandle,), "gpio-controller": None, "#gpio-cells": (2,)}
    node.properties |= {"reg": _register(window), "compatible": (f"arm,{part}", "arm,primecell")}


def _add_flash(root: Node) -> None:
    secure, normal = memory_map.FLASH0, memory_map.FLASH1
    root.add(f"flash@{normal.base:x}", bank_width=(4,), reg=_register(normal), compatible="cfi-flash")
    root.add(f"secflash@{secure.base:x}", bank_width=(4,), reg=_register(secure), compatible="cfi-flash", **SECURE_ONLY)


def _add_interrupts(root: Node) -> None:
    root.add("pmu", interrupts=(PPI, PMU_PPI, ONE_CORE | LEVEL_HIGH), compatible="arm,armv8-pmuv3")
    gic = root.add(
        f"intc@{GIC_FRAMES[0].base:x}",
        phandle=(GIC,), interrupts=(PPI, GIC_PPI, LEVEL_HIGH),
        reg=tuple(cell for frame in GIC_FRAMES for cell in wide(frame.base, frame.size)),
        compatible="arm,cortex-a15-gic", ranges=None, cells_size=(2,), cells_address=(2,), interrupt_controller=None,
        cells_interrupt=(3,),
    )  # fmt: skip
    gic.add(
        f"v2m@{memory_map.MSI.base:x}",
        phandle=(MSI,), reg=_register(memory_map.MSI), msi_controller=None, compatible="arm,gic-v2m-frame",
    )  # fmt: skip


def _add_core(root: Node) -> None:
    cpus = root.add("cpus", cells_size=(0,), cells_address=(1,))
    cpus.add("cpu-map").add("socket0").add("cluster0").add("core0", cpu=(CORE,))
    cpus.add("cpu@0", phandle=(CORE,), reg=(0,), compatible="arm,cortex-a72", device_type="cpu")
    timers = tuple(cell for ppi in TIMER_PPIS for cell in (PPI, ppi, ONE_CORE | LEVEL_HIGH))
    root.add("timer", interrupts=timers, always_on=None, compatible=("arm,armv8-timer", "arm,armv7-timer"))
