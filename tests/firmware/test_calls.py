"""Every call: what it does when it succeeds, each failing status of its row, and that a failure changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulator.memory_map import DRAM_BASE, MIB, PAGE_SIZE, DramLayout
from emulator.world import World
from monitor import abi
from monitor.abi import STATUSES, Call, PageState, PsciStatus, Status

from .gic import acknowledge, listen
from .phone import PAGE, STATUS_MASK, Phone
from .scenes import ENDS
from .test_preemption import TIMER

SECURE_DRAM = DRAM_BASE + 64 * MIB - PAGE_SIZE
LAST_PAGE = (1 << 64) - PAGE_SIZE
NORMAL_END = DramLayout(64 * MIB).normal_end
ELSEWHERE = ("NPU_", "DRIVER_")  # test_npu_switch.py, test_driver_context.py


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    yield phone
    phone.machine.close()


# Rows of the table on pages: from which state, to which, is the page mapped afterwards.
MOVES = {
    abi.MEM_ALLOCATE: (PageState.NORMAL, PageState.ALLOCATED, True),
    abi.MEM_LOCK: (PageState.ALLOCATED, PageState.LOCKED, False),
    abi.MEM_RELEASE: (PageState.LOCKED, PageState.RELEASED, False),
    abi.MEM_DECLINE: (PageState.ALLOCATED, PageState.NORMAL, True),
    abi.MEM_RECLAIM: (PageState.RELEASED, PageState.NORMAL, True),
}


def bring(phone: Phone, state: PageState, base: int = PAGE, pages: int = 1) -> None:
    """Pages from NORMAL to ``state``, a window at a time."""
    for call in (abi.MEM_ALLOCATE, abi.MEM_LOCK, abi.MEM_RELEASE)[:state]:
        for first in range(0, pages, abi.PAGES_PER_CALL):
            count = min(abi.PAGES_PER_CALL, pages - first)
            assert phone.call(call, base + first * PAGE_SIZE, count) == {"status": 0, "done": count}


@pytest.mark.parametrize("call", MOVES, ids=lambda call: call.name)
@pytest.mark.parametrize("pages", [1, 63, 64, 65, 200])
def test_moves_a_window_and_says_how_much(phone: Phone, call: Call, pages: int) -> None:
    before, after, mapped = MOVES[call]
    bring(phone, before, PAGE, pages)
    done = min(pages, abi.PAGES_PER_CALL)
    assert phone.call(call, PAGE, pages) == {"status": Status.SUCCESS, "done": done}
    for index in range(pages):
        page = PAGE + index * PAGE_SIZE
        assert phone.entry(page) == (after if index < done else before)
    assert all(phone.is_mapped(PAGE + index * PAGE_SIZE) == mapped for index in range(done))
    assert phone.entry(PAGE - PAGE_SIZE) == phone.entry(PAGE + pages * PAGE_SIZE) == PageState.NORMAL
    assert phone.is_mapped(PAGE - PAGE_SIZE) and phone.is_mapped(PAGE + pages * PAGE_SIZE)


@pytest.mark.parametrize("call", MOVES, ids=lambda call: call.name)
def test_one_wrong_page_changes_nothing(phone: Phone, call: Call) -> None:
    before, *_ = MOVES[call]
    pages, odd = 8, PAGE + 5 * PAGE_SIZE
    bring(phone, before, PAGE, 5)
    bring(phone, before, odd + PAGE_SIZE, 2)
    bring(phone, PageState.RELEASED if before in (PageState.NORMAL, PageState.ALLOCATED) else PageState.NORMAL, odd)
    memory = [(phone.entry(PAGE + i * PAGE_SIZE), phone.stage2_entry(PAGE + i * PAGE_SIZE)) for i in range(pages)]
    assert phone.call(call, PAGE, pages) == {"status": Status.WRONG_STATE}
    assert memory == [
        (phone.entry(PAGE + i * PAGE_SIZE), phone.stage2_entry(PAGE + i * PAGE_SIZE)) for i in range(pages)
    ]
    assert phone.registers(2)[1] == 0  # no result but the status


def nothing(phone: Phone) -> None:
    pass


def allocated(phone: Phone) -> None:
    phone.call(abi.MEM_ALLOCATE, PAGE, 1)


def locked(phone: Phone) -> None:
    phone.lock()


def recalled(phone: Phone) -> None:
    phone.lock()
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)


def due(phone: Phone) -> None:
    """As much as FORCE takes at once, or more."""
    phone.lock(PAGE, abi.PAGES_PER_CALL)
    phone.call(abi.MEM_RECALL, abi.PAGES_PER_CALL, abi.MINIMUM_DEADLINE)
    phone.wait(abi.MINIMUM_DEADLINE)


def revoked(phone: Phone) -> None:
    phone.revoke()


def interrupted(phone: Phone) -> None:
    """By the deadline of a recall, in the secure world."""
    phone.lock()
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    phone.core.x[8], phone.core.pc = 1 << 40, phone.gate("gate_busy")
    assert phone.run() == "arrive_return"
    assert phone.core.world is World.NORMAL


Prepare = Callable[[Phone], None]
TO_2_64 = ((1 << 64) - PAGE) // PAGE_SIZE  # pages from PAGE on that end there
WRAPPING = (TO_2_64 - 1, TO_2_64, TO_2_64 + 1, 1 << 52, (1 << 52) + abi.PAGES_PER_CALL, 1 << 63, STATUS_MASK)
EXTENT_FAILURES: tuple[tuple[Status, tuple[int, ...]], ...] = (
    (Status.INVALID_PARAMETER, (PAGE, 0)),
    (Status.INVALID_PARAMETER, (PAGE + 1, 1)),
    *((Status.DENIED, (PAGE, pages)) for pages in WRAPPING),
    *((Status.DENIED, (LAST_PAGE, pages)) for pages in (1, 2, 1 << 52)),
    (Status.DENIED, (DRAM_BASE, 1 << 52)),
    (Status.DENIED, (0, 1)),
    (Status.DENIED, (DRAM_BASE - PAGE_SIZE, 1)),
    (Status.DENIED, (0x0E00_0000, 1)),
    (Status.DENIED, (0x0A10_0000, 1)),
    (Status.DENIED, (SECURE_DRAM, 1)),
    (Status.DENIED, (DRAM_BASE + 64 * MIB, 1)),
    (Status.DENIED, (DRAM_BASE, 64 * MIB // PAGE_SIZE)),
    # The window alone would be the normal world's.
    (Status.DENIED, (NORMAL_END - abi.PAGES_PER_CALL * PAGE_SIZE, abi.PAGES_PER_CALL + 1)),
)
ON_EXTENTS = (*MOVES, abi.MEM_ACK_REVOKED)

FAILURES: list[tuple[Call, Status | PsciStatus, Prepare, tuple[int, ...]]] = [
    *((call, status, nothing, arguments) for call in ON_EXTENTS for status, arguments in EXTENT_FAILURES),
    (abi.SMCCC_ARCH_FEATURES, Status.NOT_SUPPORTED, nothing, (0x8000_0002,)),
    (abi.PSCI_FEATURES, PsciStatus.NOT_SUPPORTED, nothing, (0x8400_000E,)),
    *((call, PsciStatus.INVALID_PARAMETERS, nothing, (1 << 16, 0, 0))
      for call in (abi.PSCI_CPU_SUSPEND, abi.PSCI_CPU_SUSPEND_32)),
    (abi.PSCI_CPU_OFF, PsciStatus.DENIED, nothing, ()),
    *((call, status, nothing, (target, DRAM_BASE, 0))
      for call in (abi.PSCI_CPU_ON, abi.PSCI_CPU_ON_32)
      for target, status in ((0, PsciStatus.ALREADY_ON), (1, PsciStatus.INVALID_PARAMETERS))),
    *((call, PsciStatus.INVALID_PARAMETERS, nothing, arguments)
      for call in (abi.PSCI_AFFINITY_INFO, abi.PSCI_AFFINITY_INFO_32) for arguments in ((0, 1), (1, 0), (1 << 8, 0))),
    (abi.FLEX_FEATURES, Status.INVALID_PARAMETER, nothing, (len(abi.Feature),)),
    (abi.MEM_ALLOCATE, Status.WRONG_STATE, locked, (PAGE, 1)),
    (abi.MEM_ALLOCATE, Status.WRONG_STATE, revoked, (PAGE, 1)),
    (abi.MEM_LOCK, Status.WRONG_STATE, nothing, (PAGE, 1)),
    (abi.MEM_LOCK, Status.WRONG_STATE, locked, (PAGE, 1)),
    (abi.MEM_RECALL, Status.INVALID_PARAMETER, locked, (0, abi.MINIMUM_DEADLINE)),
    (abi.MEM_RECALL, Status.INVALID_PARAMETER, locked, (1, abi.MINIMUM_DEADLINE - 1)),
    (abi.MEM_RECALL, Status.INVALID_PARAMETER, locked, (1, STATUS_MASK)),
    (abi.MEM_RELEASE, Status.WRONG_STATE, nothing, (PAGE, 1)),
    (abi.MEM_RELEASE, Status.WRONG_STATE, allocated, (PAGE, 1)),
    (abi.MEM_DECLINE, Status.WRONG_STATE, nothing, (PAGE, 1)),
    (abi.MEM_DECLINE, Status.WRONG_STATE, locked, (PAGE, 1)),
    (abi.MEM_RECLAIM, Status.WRONG_STATE, nothing, (PAGE, 1)),
    (abi.MEM_RECLAIM, Status.WRONG_STATE, locked, (PAGE, 1)),
    (abi.MEM_RECLAIM, Status.WRONG_STATE, nothing, (PAGE, 1, abi.FORCE)),
    (abi.MEM_RECLAIM, Status.INVALID_PARAMETER, locked, (PAGE, 1, 2)),
    (abi.MEM_RECLAIM, Status.NOT_OWED, locked, (PAGE, 1, abi.FORCE)),
    (abi.MEM_RECLAIM, Status.NOT_DUE, recalled, (PAGE, 1, abi.FORCE)),
    *((abi.MEM_RECLAIM, Status.DENIED, due, (PAGE, pages, abi.FORCE)) for pages in WRAPPING),
    (abi.MEM_RECLAIM, Status.DENIED, due, (LAST_PAGE, 1, abi.FORCE)),
    (abi.MEM_NEXT_RELEASED, Status.INVALID_PARAMETER, nothing, (64 * MIB // PAGE_SIZE,)),
    (abi.MEM_NEXT_RELEASED, Status.INVALID_PARAMETER, nothing, ((NORMAL_END - DRAM_BASE) // PAGE_SIZE,)),
    (abi.MEM_NEXT_REVOKED, Status.INVALID_PARAMETER, nothing, (STATUS_MASK,)),
    (abi.MEM_ACK_REVOKED, Status.WRONG_STATE, nothing, (PAGE, 1)),
    (abi.SECURE_CALL, Status.BUSY, interrupted, (1,)),
    (abi.SECURE_RESUME, Status.BUSY, revoked, (1,)),
    (abi.SECURE_RESUME, Status.BUSY, interrupted, (1,)),
    (abi.SECURE_RESUME, Status.WRONG_STATE, nothing, (abi.INTERRUPTED_THREAD,)),
    (abi.SECURE_READY, Status.WRONG_STATE, nothing, (0, 0)),
]


@pytest.mark.parametrize(
    ("call", "status", "prepare", "arguments"),
    FAILURES,
    ids=lambda value: value.name if isinstance(value, Call | Status | PsciStatus) else None,
)
def test_fails_as_its_row_says(
    phone: Phone, call: Call, status: Status | PsciStatus, prepare: Prepare, arguments: tuple[int, ...]
) -> None:
    prepare(phone)
    table = phone.machine.read_physical(phone.layout.ownership_base, phone.layout.pages)
    carve_out, size = phone.layout.carve_out_base, phone.layout.secure_base - phone.layout.carve_out_base
    stage2 = phone.machine.read_physical(carve_out, size)
    assert phone.call(call, *arguments) == {"status": status}
    assert phone.registers(len(call.returns))[1:] == [0] * (len(call.returns) - 1)
    assert phone.machine.read_physical(phone.layout.ownership_base, phone.layout.pages) == table
    assert phone.machine.read_physical(carve_out, size) == stage2


def test_each_failing_status_of_the_table_is_tried() -> None:
    tried = {(call.name, status) for call, status, *_ in FAILURES}
    before_boot = {(name, Status.WRONG_STATE) for name in ("SECURE_DONE", "SECURE_RPC")}
    unaligned_entry = {("SECURE_READY", Status.INVALID_PARAMETER)}
    declared = {(call.name, s) for call in abi.CALLS if not call.name.startswith(ELSEWHERE) for s in call.fails}
    assert tried | before_boot | unaligned_entry == declared


def test_secure_world_cannot_leave_before_it_is_ready() -> None:
    phone = Phone().boot_driver()
    for call in (abi.SECURE_DONE, abi.SECURE_RPC):
        assert phone.status(call, by=World.SECURE) == Status.WRONG_STATE
    for entries in ((2, 0), (0, 2)):
        assert phone.status(abi.SECURE_READY, *entries, by=World.SECURE) == Status.INVALID_PARAMETER
    assert phone.core.world is World.SECURE


IDENTITY = {
    abi.SMCCC_VERSION_CALL: {"version": 0x1_0005},
    abi.PSCI_VERSION_CALL: {"version": 0x1_0001},
    abi.FLEX_VERSION: {"version": abi.VERSION_MAJOR << 16 | abi.VERSION_MINOR},
    abi.FLEX_REVISION: {"major": abi.VERSION_MAJOR, "minor": abi.VERSION_MINOR},
    abi.FLEX_UID: {f"word{index}": word for index, word in enumerate(abi.UID)},
}


@pytest.mark.parametrize("call", IDENTITY, ids=lambda call: call.name)
def test_identity(phone: Phone, call: Call) -> None:
    for world in (World.NORMAL, World.SECURE):
        if call.permits(world):
            assert phone.call(call, by=world) == IDENTITY[call]


def test_features_are_the_tables_limits(phone: Phone) -> None:
    for feature in abi.Feature:
        assert phone.call(abi.FLEX_FEATURES, feature) == {"status": 0, "value": getattr(abi, feature.name)}


def test_implemented_calls_say_so(phone: Phone) -> None:
    for call in abi.CALLS:
        is_psci = call.name.startswith(("PSCI_", "SMCCC_VERSION"))
        expected = PsciStatus.SUCCESS if is_psci else PsciStatus.NOT_SUPPORTED
        assert phone.status(abi.PSCI_FEATURES, call.function) == expected, call.name
    for call in (abi.SMCCC_VERSION_CALL, abi.SMCCC_ARCH_FEATURES):
        assert phone.status(abi.SMCCC_ARCH_FEATURES, call.function) == Status.SUCCESS


@pytest.mark.parametrize("call", abi.CALLS, ids=lambda call: call.name)
def test_wrong_world_is_told_that_there_is_no_such_call(phone: Phone, call: Call) -> None:
    for world in World:
        if not call.permits(world):
            phone.enter(world)
            before = phone.registers(31)
            assert phone.smc(call.function, PAGE, 1) == "arrive_return"
            assert phone.registers(31) == [STATUS_MASK, PAGE, 1, 0, 0, 0, 0, 0, *before[8:]]


@pytest.mark.parametrize(
    "function",
    [0, 0xC700_0102, 0xC700_0119, 0x8700_0100, 0xC702_0100, 0xC740_0100, 0xC780_0100, 0x4700_0100, 0x7200_0002,
     0xF200_0003, 0xC400_0008, 0x8400_0005, 0xFFFF_FFFF],
)  # fmt: skip
@pytest.mark.parametrize("world", World)
def test_unknown_functions(phone: Phone, function: int, world: World) -> None:
    phone.enter(world)
    assert phone.smc(function, PAGE, 1) == "arrive_return"
    assert phone.registers(4) == [STATUS_MASK, PAGE, 1, 0]


def test_hint_bit_and_upper_half_of_the_function_are_ignored(phone: Phone) -> None:
    for function in (abi.FLEX_VERSION.function | abi.HINT, abi.FLEX_VERSION.function | 0xDEAD_BEEF << 32):
        phone.smc(function)
        assert phone.registers(1) == [abi.VERSION_MAJOR << 16]


def test_smc32_arguments_are_truncated(phone: Phone) -> None:
    assert phone.status(abi.PSCI_FEATURES, 0xFFFF_FFFF << 32 | abi.PSCI_VERSION_CALL.function) == Status.SUCCESS


def test_immediate_must_be_zero(phone: Phone) -> None:
    phone.core.x[0] = abi.FLEX_VERSION.function
    assert phone.probe("probe_smc_immediate", abi.FLEX_VERSION.function) == "registers_done"
    assert phone.registers(1) == [STATUS_MASK]


def test_hvc_is_undefined(phone: Phone) -> None:
    assert phone.probe("probe_hvc") == "arrive_sync"
    assert phone.core.read_sysreg("ESR_EL1") >> 26 == 0


def test_call_from_el2_is_refused(phone: Phone) -> None:
    """EL2 is the monitor's own stub, which calls nobody: an SMC from there is not the normal world's."""
    spsr_el2h = 0x3C9
    phone.core.write_sysreg("SPSR_EL3", spsr_el2h)
    core, smc = phone.core, phone.gate("gate_smc")
    core.x[0] = abi.FLEX_VERSION.function
    core.x[33] = spsr_el2h
    core.write_sysreg("SCR_EL3", core.read_sysreg("SCR_EL3"))
    core.pc = smc
    phone.machine.run(phone.machine.instructions + 400)
    assert core.level == 2
    assert core.x[0] == STATUS_MASK


@pytest.mark.parametrize("call", ENDS, ids=lambda call: call.name)
def test_system_off_and_reset(phone: Phone, call: Call) -> None:
    assert phone.smc(call.function) == "halted"
    assert phone.board.trusted.resets == (call is abi.PSCI_SYSTEM_RESET)


@pytest.mark.parametrize("call", [abi.PSCI_CPU_SUSPEND, abi.PSCI_CPU_SUSPEND_32], ids=lambda call: call.name)
def test_suspended_core_wakes_at_an_interrupt(phone: Phone, call: Call) -> None:
    """Though it masks them: the timer's is pending when it returns."""
    listen(phone)
    due = phone.machine.instructions + 100_000
    phone.set_timer(due)
    assert phone.smc(call.function, 0, PAGE, 1) == "arrive_return"
    assert phone.registers(1) == [PsciStatus.SUCCESS]
    assert 0 <= phone.machine.instructions - due < 1_000
    assert acknowledge(phone) == TIMER


def test_the_only_core_is_on_and_has_the_secure_world(phone: Phone) -> None:
    for call in (abi.PSCI_AFFINITY_INFO, abi.PSCI_AFFINITY_INFO_32):
        assert phone.status(call, 0, 0) == PsciStatus.SUCCESS
    assert phone.call(abi.PSCI_MIGRATE_INFO_TYPE) == {"type": 1}
    for call in (abi.PSCI_MIGRATE_INFO_UP_CPU, abi.PSCI_MIGRATE_INFO_UP_CPU_32):
        assert phone.call(call) == {"target": 0}


MANDATORY = {
    "PSCI_VERSION", "PSCI_CPU_SUSPEND", "PSCI_CPU_OFF", "PSCI_CPU_ON", "PSCI_AFFINITY_INFO", "PSCI_SYSTEM_OFF",
    "PSCI_SYSTEM_RESET", "PSCI_FEATURES",
}  # fmt: skip  # of PSCI 1.1 (DEN 0022, 5.3)


def test_every_mandatory_call_of_the_psci_version_exists() -> None:
    assert abi.PSCI_VERSION == 0x1_0001
    assert {call.name for call in abi.CALLS} >= MANDATORY


def test_results_leave_every_other_register_alone(phone: Phone) -> None:
    """All results but the status are zero after a failure; what is no result is as it was."""
    for call in abi.CALLS:
        if call in ENDS or call.function >> 24 in (0x72, 0xF2) or call.name.startswith(ELSEWHERE):
            continue
        phone.enter(World.NORMAL if call.permits(World.NORMAL) else World.SECURE)
        for index in range(8, 31):
            phone.core.x[index] = 0x1111_0000_0000 + index
        phone.smc(call.function, PAGE, 1, 2, 3, 4, 5, 6)
        kept = [call.function, PAGE, 1, 2, 3, 4, 5, 6, *(0x1111_0000_0000 + index for index in range(8, 31))]
        assert phone.registers(31)[len(call.returns) :] == kept[len(call.returns) :], call.name


def test_every_fast_call_stays_within_its_bound(phone: Phone) -> None:
    """Whole windows, and a scan that finds its page last."""
    base, longest = PAGE, {}
    last = phone.layout.normal_end - PAGE_SIZE
    bring(phone, PageState.RELEASED, last)
    bring(phone, PageState.LOCKED, base + MIB, 64)
    for call, *arguments in (
        (abi.MEM_ALLOCATE, base, 64), (abi.MEM_LOCK, base, 64), (abi.MEM_RELEASE, base, 64),
        (abi.MEM_NEXT_RELEASED, 1025), (abi.MEM_RECLAIM, base, 64), (abi.MEM_RECALL, 64, abi.MINIMUM_DEADLINE),
    ):  # fmt: skip
        assert phone.status(call, *arguments) == 0
        longest[call.name] = phone.instructions
    phone.wait(abi.MINIMUM_DEADLINE)
    assert phone.status(abi.MEM_RECLAIM, base + MIB, 64, abi.FORCE) == 0
    longest["FORCE"] = phone.instructions
    assert max(longest.values()) <= abi.MAX_CALL_INSTRUCTIONS, longest
    assert max(longest.values()) > abi.MAX_CALL_INSTRUCTIONS / 2, "the bound says little"


def test_version_call_is_short(phone: Phone) -> None:
    phone.call(abi.FLEX_VERSION)
    assert phone.instructions <= 250


def executed(phone: Phone, call: Call, *arguments: int) -> list[int]:
    """Addresses that EL3 executes for a call of the present world, in order."""
    for index, value in enumerate((call.function, *arguments)):
        phone.core.x[index] = value
    phone.core.pc = phone.gate("gate_smc")
    phone.machine.run(phone.machine.instructions + 1)
    addresses = []
    while phone.core.level == 3:
        addresses.append(phone.core.pc)
        phone.machine.run(phone.machine.instructions + 1)
    return addresses


def test_version_call_takes_the_path_of_every_other_call(phone: Phone) -> None:
    """Entry, dispatch and exit: what it shares not with all others is its way through the switch and its handler."""
    version = executed(phone, abi.FLEX_VERSION)
    paths = []
    for call in abi.CALLS:
        if call in ENDS or call.function >> 24 in (0x72, 0xF2) or call.name.startswith(ELSEWHERE):
            continue
        phone.enter(World.NORMAL if call.permits(World.NORMAL) else World.SECURE)
        paths.append(executed(phone, call, PAGE, 1))
    shared = set(version).intersection(*paths)
    own = [address for address in version if address not in shared]
    assert len(version) <= 250
    assert len(own) <= 40, "a short cut"
    symbols = phone.images.monitor.symbols
    for path in paths:
        assert path[0] == version[0] == symbols["vectors"] + 0x400
        leaving = version[version.index(symbols["monitor_exit"]) :]
        assert path[-len(leaving) :] == leaving


def test_each_call_with_a_status_declares_it_first() -> None:
    for call in abi.CALLS:
        assert sum(word.kind in STATUSES for word in call.returns) <= 1
        assert not call.fails or isinstance(call.fails[0], STATUSES[call.returns[0].kind])
