"""Boot: the monitor sets the filters and tables up and hands each world its gate."""

from __future__ import annotations

import pytest

from emulator.events import EventKind
from emulator.memory_map import (
    COUNTER_HZ,
    DRAM_BASE,
    DRIVER_BYTES,
    GIB,
    MIB,
    NORMAL_IMAGE_BASE,
    PAGE_SIZE,
    Nsaid,
)
from emulator.native import lib
from emulator.world import World
from emulator.world_port import PortAbort
from monitor import abi
from monitor.abi import PageState, Region

from .npu import CLOCK
from .phone import PAGE, PSTATE, Phone


def test_boot_reaches_the_driver_context_and_both_worlds() -> None:
    phone = Phone()
    assert phone.run() == "arrive_boot"
    assert (phone.core.world, phone.core.level, phone.in_driver) == (World.NORMAL, 1, True)
    assert phone.core.pc & ~0xFFF == phone.layout.driver_base
    assert phone.smc(abi.DRIVER_READY.function, phone.gate("arrive_entry")) == "arrive_boot"
    assert (phone.core.world, phone.core.level) == (World.SECURE, 1)
    assert phone.smc(abi.SECURE_READY.function, phone.gate("arrive_entry"), phone.gate("arrive_revocation"))
    assert (phone.core.world, phone.core.level) == (World.NORMAL, 1)
    assert phone.core.pc & ~0xFFF == NORMAL_IMAGE_BASE


@pytest.mark.parametrize("dram_bytes", [64 * MIB, 66 * MIB, GIB - 2 * MIB, GIB + 2 * MIB, 3 * GIB])
def test_boots_with_any_size_of_dram(dram_bytes: int) -> None:
    phone = Phone(dram_bytes).boot()
    normal = (phone.layout.normal_end - DRAM_BASE) // PAGE_SIZE
    version = f"{abi.VERSION_MAJOR}.{abi.VERSION_MINOR}"
    line = f"monitor: Flex-Monitor {version}, {phone.layout.pages} pages of DRAM, {normal} of them normal\n"
    assert phone.board.uart1.output.decode() == line
    assert phone.is_mapped(phone.layout.normal_end - PAGE_SIZE)


def test_touches_declared_registers_only() -> None:
    phone = Phone()
    phone.machine.events.listen((EventKind.UNDECLARED, EventKind.DENIED), phone.events.append)
    assert phone.run() == "arrive_boot"
    assert phone.events == []


def test_each_context_is_told_its_memory_and_its_number() -> None:
    """Secure DRAM ends, for the secure kernel, where the monitor's two tables begin."""
    phone = Phone()
    layout = phone.layout
    assert phone.run() == "arrive_boot" and phone.in_driver
    assert phone.registers(2) == [layout.driver_base, layout.driver_base + DRIVER_BYTES]
    phone.smc(abi.DRIVER_READY.function, phone.gate("arrive_entry"))
    assert phone.registers(2) == [layout.secure_base, layout.secure_end]
    phone.smc(abi.SECURE_READY.function, phone.gate("arrive_entry"), phone.gate("arrive_revocation"))
    assert phone.registers(2) == [DRAM_BASE, layout.normal_end]


def test_boot_trusts_nothing_that_power_on_has_left_in_memory() -> None:
    """The monitor's variables, its tables in the carve-out and behind secure DRAM: every rule holds all the same."""
    phone = Phone()
    symbols, layout = phone.images.monitor.symbols, phone.layout
    valid_entries = 0x43
    for base, end in (
        (symbols["__bss_start"], symbols["__panic_stack_end"]),
        (layout.carve_out_base, layout.driver_base),
        (layout.driver_base + DRIVER_BYTES, layout.secure_base),
        (layout.secure_end, layout.end),
    ):
        phone.machine.write_physical(base, bytes([valid_entries]) * (end - base))
    phone.boot()


LEFT_BY_A_RESET = {"CNTHP_CVAL_EL2": 0, "CNTHP_CTL_EL2": 1, "CNTVOFF_EL2": 1, "HSTR_EL2": 1 << 5, "MDCR_EL2": 1 << 9}


def test_boot_trusts_nothing_that_a_reset_has_left_in_registers() -> None:
    """What EL2 would trap, shift or time, and a device that is open to the normal world: as after any boot."""
    phone = Phone()
    for name, value in LEFT_BY_A_RESET.items():
        phone.core.write_sysreg(name, value)
    tzpc = phone.board.tzpc
    tzpc.write(tzpc.DECPROT_SET.register.at(0), 4, 0xFF, secure=True)
    phone.boot()


def test_secure_timer_that_a_reset_has_left_on_interrupts_nobody() -> None:
    phone = Phone()
    phone.core.write_sysreg("CNTPS_CVAL_EL1", 0)
    phone.core.write_sysreg("CNTPS_CTL_EL1", 1)
    phone.boot()
    assert phone.core.read_sysreg("CNTPS_CTL_EL1") & 1 == 0


def test_tzasc_regions() -> None:
    phone = Phone().boot()
    tzasc, layout = phone.board.tzasc, phone.layout
    assert tzasc.ACTION["reaction"] == 1
    assert tzasc.GATE_KEEPER["open_status"] == 1
    assert (tzasc.REGION_ATTRIBUTES.at(0)["secure_read"], tzasc.REGION_ID_ACCESS.at(0).value) == (0, 0)
    bounds = [
        (tzasc.REGION_BASE_LOW.at(region).value, tzasc.REGION_TOP_LOW.at(region).value + 1) for region in (1, 2, 3)
    ]
    assert bounds == [
        (DRAM_BASE, layout.normal_end),
        (layout.normal_end, layout.secure_base),
        (layout.secure_base, layout.end),
    ]
    normal = tzasc.REGION_ID_ACCESS.at(1)
    assert normal["normal_read"] == normal["normal_write"] == sum(
        1 << nsaid for nsaid in Nsaid if nsaid is not Nsaid.SMMU_WALKER
    )
    assert tzasc.REGION_ID_ACCESS.at(2)["normal_read"] == 1 << Nsaid.CPU | 1 << Nsaid.SMMU_WALKER
    assert tzasc.REGION_ID_ACCESS.at(3).value == 0
    secure = [tzasc.REGION_ATTRIBUTES.at(region)["secure_write"] for region in (1, 2, 3)]
    assert secure == [0, 0, 1]


def test_ownership_table_reserves_what_is_never_flex_mem() -> None:
    phone = Phone().boot()
    layout = phone.layout
    assert phone.entry(DRAM_BASE) == phone.entry(layout.normal_end - PAGE_SIZE) == PageState.NORMAL
    for page, region in ((layout.carve_out_base, Region.MONITOR_CARVE_OUT), (layout.secure_base, Region.SECURE_DRAM)):
        assert phone.entry(page) == PageState.RESERVED | region << abi.REGION_SHIFT
        assert phone.entry(page - PAGE_SIZE) != phone.entry(page)
    assert phone.entry(layout.end - PAGE_SIZE) == PageState.RESERVED | Region.SECURE_DRAM << abi.REGION_SHIFT


def test_stage_2_maps_exactly_normal_dram_and_two_devices() -> None:
    phone = Phone().boot()
    reachable = {PAGE: True, 0x0900_0000: True, 0x0A13_0000: True}
    layout = phone.layout
    outside = (layout.carve_out_base, layout.secure_base, layout.end, 0x0E00_0000, 0x0A10_0000, 0x0A11_0000)
    reachable |= dict.fromkeys((*outside, 0x0A12_0000, 0x0905_0000, 0x0904_0000, 0x0901_0000), False)
    for address, allowed in reachable.items():
        for routine in ("probe_read_word", "probe_write_word"):
            stopped = phone.probe(routine, address, 0)
            assert stopped == ("registers_done" if allowed else "arrive_sync"), f"{routine} {address:#x}"


WXN = 1 << 19


def test_secure_worlds_own_tables_have_its_memory_alone() -> None:
    """Not the monitor's two tables behind it; the NPU's registers to look at; nothing that is written is executed."""
    phone = Phone().boot()
    phone.enter(World.SECURE)
    port, layout = phone.machine.port(World.SECURE), phone.layout
    port.load(layout.secure_end - 8, 8)
    for table in (layout.secure_end, layout.ownership_base):
        with pytest.raises(PortAbort, match="data abort"):
            port.load(table, 8)
    port.load(CLOCK, 4)
    with pytest.raises(PortAbort, match="data abort"):
        port.store(CLOCK, 4, 0)
    assert phone.core.read_sysreg("SCTLR_EL1") & WXN


def test_el2_stub_gives_the_abort_to_the_guest() -> None:
    """As an external abort of its own level, with FAR and WnR kept, and every register as it was."""
    phone = Phone().boot()
    address = phone.layout.secure_base + 0x128
    for routine, write in (("probe_read", 0), ("probe_write", 1)):
        before = phone.registers(31)
        assert phone.probe(routine, address, 7) == "arrive_sync"
        core = phone.core
        assert core.read_sysreg("ESR_EL1") == 0x25 << 26 | 1 << 25 | write << 6 | 0x10
        assert core.read_sysreg("FAR_EL1") == address
        assert core.read_sysreg("SPSR_EL1") & 0xF == 0x5
        assert phone.registers(31) == [address, 7, *before[2:]]


def test_load_that_is_denied_at_el3_is_a_panic_by_name() -> None:
    """Secure DRAM closed behind the monitor's back: its next load from the ownership table is an external abort."""
    phone = Phone().boot()
    attributes = phone.board.tzasc.REGION_ATTRIBUTES
    phone.board.tzasc.write(attributes.register.at(3), 4, 1, secure=True)
    assert phone.smc(abi.MEM_ALLOCATE.function, PAGE, 1) == "monitor_halted"
    esr, far = 0x25 << 26 | 1 << 25 | 0x10, phone.layout.ownership_base + (PAGE - DRAM_BASE) // PAGE_SIZE
    said = phone.board.uart1.output.decode().splitlines()[-1]
    assert said.startswith(f"monitor: panic: synchronous exception from EL3: ESR {esr:#018x} FAR {far:#018x} ELR 0x")


def test_smmu_that_does_not_answer_is_a_panic_by_name() -> None:
    """The command queue switched off behind the monitor's back: LOCK does not wait for ever."""
    phone = Phone().boot()
    phone.call(abi.MEM_ALLOCATE, PAGE, 1)
    phone.enter(World.SECURE)
    smmu = phone.board.smmu
    smmu.write(smmu.CR0.register.offset, 4, 0, secure=True)
    assert phone.smc(abi.MEM_LOCK.function, PAGE, 1) == "monitor_halted"
    assert phone.board.uart1.output.endswith(b"monitor: panic: smmu: the command queue does not drain\n")


@pytest.mark.parametrize("dram_bytes", [62 * MIB, 65 * MIB, 16 * GIB + 2 * MIB], ids=["small", "odd", "large"])
def test_wrong_dram_size_is_a_panic_by_name(dram_bytes: int) -> None:
    phone = Phone()
    phone.board.trusted.DRAM_PAGES.value = dram_bytes // PAGE_SIZE
    assert phone.run() == "monitor_halted"
    assert b"panic: boot: DRAM is not 64 MiB to 16 GiB in steps of 2 MiB" in phone.board.uart1.output


def test_store_that_is_denied_at_el3_is_a_panic_by_name() -> None:
    """Secure DRAM made read-only behind the monitor's back: its next store to the ownership table is an SError."""
    phone = Phone().boot()
    attributes = phone.board.tzasc.REGION_ATTRIBUTES
    secure_read_only = attributes.at(3).value & ~(1 << 31)
    phone.board.tzasc.write(attributes.register.at(3), 4, secure_read_only, secure=True)
    assert phone.smc(abi.MEM_ALLOCATE.function, PAGE, 1) == "monitor_halted"
    assert phone.board.uart1.output.splitlines()[-1].endswith(b"panic: a store of EL3 was refused (SError)")


EL1H_TAKES_SERRORS = 0x2C5


def test_serror_that_was_the_callers_own_stays_pending_for_it() -> None:
    """Normal memory made read-only behind the monitor's back, and whole again before the call."""
    phone = Phone().boot()
    tzasc, access = phone.board.tzasc, phone.board.tzasc.REGION_ID_ACCESS
    before = access.at(1).value
    phone.machine.excused = {"tzasc_has_three_regions"}
    tzasc.write(access.register.at(1), 4, before & 0xFFFF, secure=True)
    phone.probe("probe_write", PAGE, 1)
    tzasc.write(access.register.at(1), 4, before, secure=True)
    phone.machine.excused = set()
    assert phone.call(abi.FLEX_VERSION)["version"] == abi.VERSION_MAJOR << 16
    phone.core.x[PSTATE], phone.core.pc = EL1H_TAKES_SERRORS, phone.gate("gate_idle")
    assert phone.run() == "arrive_serror"


def test_counter_frequency_is_the_platforms() -> None:
    phone = Phone().boot()
    frequency = lib.core_read_sysreg(phone.machine.native, 3, 3, 14, 0, 0)
    assert frequency == COUNTER_HZ
