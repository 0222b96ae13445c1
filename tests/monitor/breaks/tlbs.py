"""TLB entries that an invalidation would have taken away: tables are right again, or what they map has changed."""

from __future__ import annotations

from emulator.memory_map import BLOCK_SIZE, DRAM_BASE, NPU_CONTROL, PAGE_SIZE, UART0, StreamId
from emulator.native import lib
from monitor import abi
from monitor.memory import CarveOut
from tests.firmware.phone import Phone

from .by_hand import (
    FREE,
    IOVA,
    READABLE,
    Break,
    el3_entry,
    leaf,
    lock,
    npu_leaf,
    put,
    reverse,
    stream,
    table,
    translate,
    translate_dma,
    turn,
    word,
)
from .smmu import UNUSED
from .tables import NPU_BLOCK

IPAS2E1IS = (4, 0, 1)  # op1, CRm, op2
ALLE3 = (6, 7, 0)
OTHER_VMID = 9
STAGE2_WRITE, STAGE2_XN = 1 << 7, 1 << 54


def locked_page_in_the_cores_tlb(phone: Phone) -> None:
    translate(phone, FREE)
    lock(phone, FREE)


def locked_page_in_the_cores_tlb_through_both_stages(phone: Phone) -> None:
    """TLBI IPAS2E1IS leaves the combined entry, as the architecture permits."""
    translate(phone, FREE)
    lock(phone, FREE)
    lib.tlb_maintain(phone.machine.native, *IPAS2E1IS, FREE >> 12)


def device_executable_in_the_cores_tlb(phone: Phone) -> None:
    entry = table(phone, CarveOut.DEVICE_LEVEL3, UART0.base % BLOCK_SIZE // PAGE_SIZE)
    turn(phone, entry, STAGE2_XN)
    translate(phone, UART0.base)
    turn(phone, entry, STAGE2_XN)


def npu_registers_in_the_cores_tlb(phone: Phone) -> None:
    """The normal world has used them, and they are the driver context's now."""
    link = table(phone, CarveOut.DEVICE_LEVEL2, NPU_BLOCK)
    put(phone, link, phone.layout.carve_out_base + CarveOut.NPU_WINDOWS | 3)
    translate(phone, NPU_CONTROL.base)
    put(phone, link, 0)


def drivers_page_mapped_to_another(phone: Phone) -> None:
    index = phone.layout.driver_base % (512 * PAGE_SIZE) // PAGE_SIZE + 0x80
    entry = table(phone, CarveOut.DRIVER_LEVEL3, index)
    right = word(phone, entry)
    put(phone, entry, FREE | right & (PAGE_SIZE - 1))
    translate(phone, phone.layout.driver_base + 0x80 * PAGE_SIZE)
    put(phone, entry, right)


def cores_tlb_of_another_vmid(phone: Phone) -> None:
    right = phone.core.read_sysreg("VTTBR_EL2")
    phone.core.write_sysreg("VTTBR_EL2", right | OTHER_VMID << 48)
    translate(phone, FREE)
    phone.core.write_sysreg("VTTBR_EL2", right)


def el3_entry_of_another_type(phone: Phone) -> None:
    """The GiB of normal memory: not shareable, as no table has it."""
    entry = el3_entry(phone, "dram_level2", 0)
    turn(phone, entry, 3 << 8)
    lib.tlb_maintain(phone.machine.native, *ALLE3, 0)
    translate(phone, DRAM_BASE, level=3)
    turn(phone, entry, 3 << 8)


def el2_has_entries(phone: Phone) -> None:
    """It had its MMU on for a moment, with a table of the normal world's."""
    core = phone.core
    kept = {name: core.read_sysreg(name) for name in ("SCTLR_EL2", "TCR_EL2", "TTBR0_EL2")}
    core.write_sysreg("TCR_EL2", core.read_sysreg("TCR_EL3"))
    core.write_sysreg("TTBR0_EL2", core.read_sysreg("TTBR0_EL1"))
    core.write_sysreg("SCTLR_EL2", kept["SCTLR_EL2"] | 1)
    translate(phone, FREE, level=2)
    for name, value in kept.items():
        core.write_sysreg(name, value)


def locked_page_in_the_smmus_tlb(phone: Phone) -> None:
    translate_dma(phone, StreamId.STORAGE, FREE)
    lock(phone, FREE)


def page_read_only_in_the_smmus_tlb(phone: Phone) -> None:
    """The normal world's own, whose entry has every right again."""
    turn(phone, leaf(phone, FREE), STAGE2_WRITE)
    translate_dma(phone, StreamId.STORAGE, FREE)
    turn(phone, leaf(phone, FREE), STAGE2_WRITE)


def page_that_was_unmapped_in_the_smmus_tlb(phone: Phone) -> None:
    translate_dma(phone, StreamId.NPU0, IOVA)
    put(phone, npu_leaf(phone, IOVA), 0)
    phone.machine.write_physical(reverse(phone, READABLE), bytes(4))


def npus_vmid_in_the_smmus_tlb(phone: Phone) -> None:
    """While the NPU is the normal world's no stream has it."""
    root = phone.layout.carve_out_base + CarveOut.NPU_ROOT
    _through_stream(phone, abi.Vmid.NPU, root, IOVA)


def smmus_tlb_of_another_vmid(phone: Phone) -> None:
    root = phone.layout.carve_out_base + CarveOut.STORAGE_ROOT
    _through_stream(phone, OTHER_VMID, root, FREE)


def _through_stream(phone: Phone, vmid: int, root: int, address: int) -> None:
    """A stream that nobody has is given a table for a moment."""
    places = [stream(phone, UNUSED, at) for at in range(4)]
    kept = [word(phone, place) for place in places]
    like = [word(phone, stream(phone, StreamId.STORAGE, at)) for at in range(4)]
    for place, value in zip(places, (like[0], like[1], like[2] & ~0xFFFF | vmid, root), strict=True):
        put(phone, place, value)
    translate_dma(phone, UNUSED, address)
    for place, value in zip(places, kept, strict=True):
        put(phone, place, value)


BREAKS = (
    Break("core_tlb_holds_todays_stage2", locked_page_in_the_cores_tlb),
    Break("core_tlb_holds_todays_stage2", locked_page_in_the_cores_tlb_through_both_stages),
    Break("core_tlb_holds_todays_stage2", device_executable_in_the_cores_tlb),
    Break("core_tlb_holds_todays_stage2", npu_registers_in_the_cores_tlb, "npu_elsewhere"),
    Break("core_tlb_holds_todays_stage2", drivers_page_mapped_to_another, "driver"),
    Break("core_tlb_holds_todays_stage2", cores_tlb_of_another_vmid),
    Break("core_tlb_holds_todays_el3", el3_entry_of_another_type),
    Break("core_tlb_holds_todays_el3", el2_has_entries),
    Break("smmu_tlb_holds_todays_stage2", locked_page_in_the_smmus_tlb),
    Break("smmu_tlb_holds_todays_stage2", page_read_only_in_the_smmus_tlb),
    Break("smmu_tlb_holds_todays_stage2", page_that_was_unmapped_in_the_smmus_tlb, "secure_npu"),
    Break("smmu_tlb_holds_todays_stage2", npus_vmid_in_the_smmus_tlb),
    Break("smmu_tlb_holds_todays_stage2", smmus_tlb_of_another_vmid),
)
