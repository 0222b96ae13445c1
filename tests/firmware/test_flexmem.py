"""Locking under warm TLBs, scrubbing, recall with its deadline and debt, revocation and its acknowledgement."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.events import EventKind
from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from emulator.world import World
from emulator.world_port import PortAbort
from monitor import abi
from monitor.abi import PageState, Pending, Status

from .phone import PAGE, PSTATE, Phone

RETURN = 0xD65F_03C0  # RET, as code of a page
SYNC, TLBI_S2_IPA = 0x46, 0x2A
WINDOW = 0x10_0000_0000  # of virtual addresses, where the secure kernel maps Flex-Mem
NS = 1 << 5
NORMAL_DATA = 1 | 1 << 2 | 3 << 8 | 1 << 10 | 3 << 53  # a block: attribute 1, inner shareable, AF, never executed
SYNCHRONOUS_EXTERNAL = 0x10


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    yield phone
    phone.machine.close()


@pytest.mark.parametrize("routine", ["probe_read", "probe_write", "probe_exec"])
def test_lock_takes_a_page_out_of_a_warm_tlb(phone: Phone, routine: str) -> None:
    phone.machine.write_physical(PAGE, RETURN.to_bytes(4, "little") * 4)
    assert phone.probe(routine, PAGE, 1) == "registers_done"
    phone.lock()
    assert phone.probe(routine, PAGE, 1) == "arrive_sync"
    assert phone.probe("probe_read", PAGE + PAGE_SIZE) == "registers_done"


def test_lock_invalidates_each_page_of_the_window_in_the_smmu_with_one_sync(phone: Phone) -> None:
    phone.machine.events.listen((EventKind.SMMU_COMMAND,), phone.events.append)
    phone.lock(PAGE, 5)
    commands = [(event.args[0], event.args[1]) for event in phone.events if event.kind is EventKind.SMMU_COMMAND]
    assert [low & 0xFF for low, _ in commands] == [TLBI_S2_IPA] * 5 + [SYNC]
    assert [high & ~0xFFF for _, high in commands[:5]] == [PAGE + index * PAGE_SIZE for index in range(5)]


def test_locks_are_done_when_the_smmus_command_queue_has_wrapped(phone: Phone) -> None:
    """It has 256 places: of five windows, the last ones find it at its beginning again."""
    phone.machine.events.listen((EventKind.SMMU_COMMAND,), phone.events.append)
    for first in range(0, 5 * abi.PAGES_PER_CALL, abi.PAGES_PER_CALL):
        phone.lock(PAGE + first * PAGE_SIZE, abi.PAGES_PER_CALL)
    commands = [event.args[0] & 0xFF for event in phone.events if event.kind is EventKind.SMMU_COMMAND]
    assert commands == 5 * ([TLBI_S2_IPA] * abi.PAGES_PER_CALL + [SYNC])


def test_reclaimed_page_holds_only_zeros_and_is_reachable(phone: Phone) -> None:
    phone.lock(PAGE, 2)
    phone.call(abi.MEM_RELEASE, PAGE, 2)
    phone.fill(PAGE, 2)
    assert phone.call(abi.MEM_RECLAIM, PAGE, 2) == {"status": 0, "done": 2}
    assert phone.machine.read_physical(PAGE, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)
    assert phone.probe("probe_read", PAGE) == "registers_done"


def test_allocated_pages_come_back_untouched(phone: Phone) -> None:
    """In one window with a RELEASED page, which is scrubbed."""
    phone.lock(PAGE + PAGE_SIZE)
    phone.call(abi.MEM_RELEASE, PAGE + PAGE_SIZE, 1)
    phone.call(abi.MEM_ALLOCATE, PAGE, 1)
    phone.fill(PAGE, 2)
    assert phone.call(abi.MEM_RECLAIM, PAGE, 2) == {"status": 0, "done": 2}
    assert phone.machine.read_physical(PAGE, PAGE_SIZE) == b"\xa5" * PAGE_SIZE
    assert phone.machine.read_physical(PAGE + PAGE_SIZE, PAGE_SIZE) == bytes(PAGE_SIZE)


def test_declined_pages_are_the_normal_worlds_as_they_are(phone: Phone) -> None:
    phone.call(abi.MEM_ALLOCATE, PAGE, 1)
    phone.fill()
    assert phone.status(abi.MEM_DECLINE, PAGE, 1) == 0
    assert (phone.entry(), phone.is_mapped()) == (PageState.NORMAL, True)
    assert phone.machine.read_physical(PAGE, PAGE_SIZE) == b"\xa5" * PAGE_SIZE


def test_next_released_finds_every_run_and_ends(phone: Phone) -> None:
    runs = [(PAGE, 3), (PAGE + 7 * PAGE_SIZE, 1), (PAGE + 9 * PAGE_SIZE, 64), (phone.layout.normal_end - PAGE_SIZE, 1)]
    for base, pages in runs:
        phone.lock(base, pages)
        phone.call(abi.MEM_RELEASE, base, pages)
    found, cursor, calls = [], 0, 0
    while calls == 0 or cursor:
        reply = phone.call(abi.MEM_NEXT_RELEASED, cursor)
        assert reply["status"] == 0
        if reply["pages"]:
            found.append((reply["base"], reply["pages"]))
        cursor, calls = reply["cursor"], calls + 1
    assert found == runs
    assert calls <= len(runs) + phone.layout.pages // abi.SCAN_PAGES + 1


def test_next_released_finds_the_first_run_from_any_page_on(phone: Phone) -> None:
    first = (PAGE - DRAM_BASE) // PAGE_SIZE
    there = {first + index for index in (0, 1, 6, 8, 9, 10, 16, 23, 24, 39)}
    phone.lock(PAGE, 40)
    for page in there:
        phone.call(abi.MEM_RELEASE, DRAM_BASE + page * PAGE_SIZE, 1)
    for cursor in range(first - 9, first + 40):
        found = phone.call(abi.MEM_NEXT_RELEASED, cursor)
        page = (found["base"] - DRAM_BASE) // PAGE_SIZE
        assert page == min(one for one in there if one >= cursor)
        run = next(length for length in range(1, 4) if page + length not in there)
        assert found["pages"] == run


def test_a_long_run_is_told_in_windows(phone: Phone) -> None:
    for first in (0, 64):
        phone.lock(PAGE + first * PAGE_SIZE, 64)
        phone.call(abi.MEM_RELEASE, PAGE + first * PAGE_SIZE, 64)
    reply = phone.call(abi.MEM_NEXT_RELEASED, 0)
    assert (reply["base"], reply["pages"]) == (PAGE, 64)
    reply = phone.call(abi.MEM_NEXT_RELEASED, reply["cursor"])
    assert (reply["base"], reply["pages"]) == (PAGE + 64 * PAGE_SIZE, 64)


def test_nothing_is_owed_when_the_secure_world_has_nothing(phone: Phone) -> None:
    assert phone.call(abi.MEM_RECALL, 5, abi.MINIMUM_DEADLINE) == {"status": 0, "owed": 0, "deadline": 0}
    phone.enter(World.SECURE)
    assert phone.registers(7) == [Pending.NEW_CALL, 0, 0, 0, 0, 0, 0]


def test_owed_is_at_most_what_there_is_and_each_return_lowers_it(phone: Phone) -> None:
    phone.lock(PAGE, 6)
    phone.call(abi.MEM_ALLOCATE, PAGE + 6 * PAGE_SIZE, 2)
    reply = phone.call(abi.MEM_RECALL, 3, abi.MINIMUM_DEADLINE * 5)
    assert reply["owed"] == 3
    first = reply["deadline"]
    for everything in (1 << 40, (1 << 64) - 3, (1 << 64) - 1):
        reply = phone.call(abi.MEM_RECALL, everything, abi.MINIMUM_DEADLINE * 9)
        assert reply == {"status": 0, "owed": 8, "deadline": first}
    sooner = phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)["deadline"]
    assert sooner < first
    phone.enter(World.SECURE)
    assert (phone.registers(1)[0], phone.core.x[6]) == (Pending.RECALL | Pending.NEW_CALL, 8)
    phone.call(abi.MEM_RELEASE, PAGE, 2)
    phone.enter(World.NORMAL)
    phone.enter(World.SECURE)
    assert phone.core.x[6] == 6
    phone.call(abi.MEM_RECLAIM, PAGE + 6 * PAGE_SIZE, 2)  # its own offer: less is left to claim, but 4 are
    phone.enter(World.SECURE)
    assert phone.core.x[6] == 4
    phone.call(abi.MEM_RELEASE, PAGE + 2 * PAGE_SIZE, 4)
    phone.enter(World.NORMAL)
    phone.enter(World.SECURE)
    assert phone.registers(7) == [Pending.NEW_CALL, 0, 0, 0, 0, 0, 0]


def test_a_page_pays_once(phone: Phone) -> None:
    """When it is released: to fetch it then leaves the rest as due as it was."""
    phone.lock(PAGE, 4)
    deadline = phone.call(abi.MEM_RECALL, 4, abi.MINIMUM_DEADLINE)["deadline"]
    phone.call(abi.MEM_RELEASE, PAGE, 2)
    phone.call(abi.MEM_RECLAIM, PAGE, 2)
    phone.wait(deadline - phone.machine.instructions)
    assert phone.call(abi.MEM_RECLAIM, PAGE + 2 * PAGE_SIZE, 2, abi.FORCE) == {"status": 0, "done": 2}


def test_declined_pages_are_paid(phone: Phone) -> None:
    phone.call(abi.MEM_ALLOCATE, PAGE, 4)
    assert phone.call(abi.MEM_RECALL, 2, abi.MINIMUM_DEADLINE)["owed"] == 2
    assert phone.status(abi.MEM_DECLINE, PAGE, 1) == 0
    phone.enter(World.NORMAL)
    phone.enter(World.SECURE)
    assert phone.core.x[6] == 1


def test_force_waits_for_the_deadline_and_takes_no_more_than_is_owed(phone: Phone) -> None:
    phone.lock(PAGE, 4)
    deadline = phone.call(abi.MEM_RECALL, 2, abi.MINIMUM_DEADLINE)["deadline"]
    phone.wait(deadline - phone.machine.instructions - 2000)
    assert phone.status(abi.MEM_RECLAIM, PAGE, 2, abi.FORCE) == Status.NOT_DUE
    phone.wait(2000)
    assert phone.status(abi.MEM_RECLAIM, PAGE, 3, abi.FORCE) == Status.NOT_OWED
    phone.fill(PAGE, 4)
    assert phone.call(abi.MEM_RECLAIM, PAGE, 2, abi.FORCE) == {"status": 0, "done": 2}
    assert [phone.entry(PAGE + i * PAGE_SIZE) for i in range(4)] == [abi.REVOKED] * 2 + [PageState.LOCKED] * 2
    assert phone.machine.read_physical(PAGE, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)
    assert phone.probe("probe_read", PAGE) == "registers_done"
    assert phone.probe("probe_read", PAGE + 2 * PAGE_SIZE) == "arrive_sync"
    assert phone.status(abi.MEM_RECLAIM, PAGE + 2 * PAGE_SIZE, 1, abi.FORCE) == Status.NOT_OWED


def test_a_paid_recall_leaves_no_deadline_behind(phone: Phone) -> None:
    """FORCE after the old deadline, for a debt that is new, is early."""
    phone.lock(PAGE, 2)
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.call(abi.MEM_RELEASE, PAGE, 1)
    phone.enter(World.NORMAL)
    phone.wait(abi.MINIMUM_DEADLINE)
    assert phone.status(abi.MEM_RECLAIM, PAGE + PAGE_SIZE, 1, abi.FORCE) == Status.NOT_OWED
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    assert phone.status(abi.MEM_RECLAIM, PAGE + PAGE_SIZE, 1, abi.FORCE) == Status.NOT_DUE


def past(phone: Phone, locked: int, owed: int) -> None:
    """The deadline of a recall has passed, and nothing was paid."""
    phone.lock(PAGE, locked)
    phone.call(abi.MEM_RECALL, owed, abi.MINIMUM_DEADLINE)
    phone.wait(abi.MINIMUM_DEADLINE)


def takes(phone: Phone, first: int, pages: int) -> int:
    """Status of FORCE."""
    return phone.status(abi.MEM_RECLAIM, PAGE + first * PAGE_SIZE, pages, abi.FORCE)


@pytest.mark.parametrize("ticks", [abi.MINIMUM_DEADLINE, 4 * abi.MINIMUM_DEADLINE, 10**12, 1 << 63])
@pytest.mark.parametrize("more", [1, 63, 1 << 40])
def test_what_is_asked_for_when_a_recall_is_past_has_time_of_its_own(phone: Phone, more: int, ticks: int) -> None:
    """As long as the first one had: it could be had at once, with all that was asked for last."""
    past(phone, 64, 1)
    asked = phone.machine.instructions
    found = phone.call(abi.MEM_RECALL, more, ticks)
    assert found["owed"] == min(64, 1 + more)
    assert found["deadline"] - asked >= abi.MINIMUM_DEADLINE
    for pages in (1, found["owed"]):
        assert takes(phone, 0, pages) == Status.NOT_DUE
    phone.wait(found["deadline"] - phone.machine.instructions)
    assert takes(phone, 0, found["owed"]) == Status.SUCCESS


def test_what_is_asked_for_when_a_part_was_taken_has_time_of_its_own(phone: Phone) -> None:
    past(phone, 6, 4)
    assert takes(phone, 0, 2) == Status.SUCCESS
    assert phone.call(abi.MEM_RECALL, 2, abi.MINIMUM_DEADLINE)["owed"] == 4
    assert takes(phone, 2, 1) == takes(phone, 2, 4) == Status.NOT_DUE
    phone.wait(abi.MINIMUM_DEADLINE)
    assert takes(phone, 2, 4) == Status.SUCCESS


def test_what_is_asked_for_just_before_a_deadline_has_time_of_its_own(phone: Phone) -> None:
    phone.lock(PAGE, 64)
    first = phone.call(abi.MEM_RECALL, 1, 4 * abi.MINIMUM_DEADLINE)["deadline"]
    phone.wait(first - phone.machine.instructions - 600)
    assert phone.machine.instructions < first
    second = phone.call(abi.MEM_RECALL, 63, abi.MINIMUM_DEADLINE)["deadline"]
    assert second - phone.machine.instructions > abi.MINIMUM_DEADLINE - 1000
    phone.wait(first + 100 - phone.machine.instructions)
    assert phone.machine.instructions > first
    assert takes(phone, 0, 1) == takes(phone, 0, 64) == Status.NOT_DUE


def test_what_is_asked_for_of_an_interrupted_secure_world_has_time_of_its_own(phone: Phone) -> None:
    """The deadline has taken the core from it; it has the core again until the next one is due."""
    phone.lock(PAGE, 4)
    phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)
    phone.enter(World.SECURE)
    phone.core.x[8], phone.core.x[9], phone.core.pc = 1 << 40, 0, phone.gate("gate_busy")
    assert phone.run() == "arrive_return"
    for _ in range(3):
        assert (phone.core.world, phone.registers(1)) == (World.NORMAL, [Status.PREEMPTED])
        second = phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)["deadline"]
        assert takes(phone, 0, 1) == Status.NOT_DUE
        assert phone.smc(abi.SECURE_RESUME.function, abi.INTERRUPTED_THREAD) == "arrive_return"
        assert 0 <= phone.machine.instructions - second < 1024
    assert takes(phone, 0, 4) == Status.SUCCESS


def test_recall_ends_without_the_secure_world(phone: Phone) -> None:
    """Invariant 8: ceil(owed / PAGES_PER_CALL) FORCE calls."""
    owed = 150
    for first in range(0, owed, 64):
        phone.lock(PAGE + first * PAGE_SIZE, min(64, owed - first))
    assert phone.call(abi.MEM_RECALL, owed, abi.MINIMUM_DEADLINE)["owed"] == owed
    phone.wait(abi.MINIMUM_DEADLINE)
    calls, done = 0, 0
    while done < owed:
        reply = phone.call(abi.MEM_RECLAIM, PAGE + done * PAGE_SIZE, owed - done, abi.FORCE)
        assert reply["status"] == 0
        done, calls = done + reply["done"], calls + 1
    assert (done, calls) == (owed, 3)


def test_revocation_is_served_before_any_thread(phone: Phone) -> None:
    phone.revoke(PAGE, 2)
    assert phone.status(abi.MEM_ALLOCATE, PAGE, 1) == Status.WRONG_STATE
    assert phone.smc(abi.SECURE_RESUME.function, 7) == "arrive_return"
    assert phone.core.x[0] == Status.BUSY & ((1 << 64) - 1)
    assert phone.smc(abi.SECURE_CALL.function, 0) == "arrive_revocation"
    assert phone.registers(1) == [Pending.REVOKED | Pending.NEW_CALL]
    found = phone.call(abi.MEM_NEXT_REVOKED, 0)
    assert (found["base"], found["pages"]) == (PAGE, 2)
    assert phone.status(abi.MEM_ACK_REVOKED, PAGE, 1) == 0
    phone.enter(World.NORMAL)
    assert phone.smc(abi.SECURE_CALL.function, 0) == "arrive_revocation"
    assert phone.status(abi.MEM_ACK_REVOKED, PAGE, 1) == Status.WRONG_STATE
    assert phone.status(abi.MEM_ACK_REVOKED, PAGE + PAGE_SIZE, 1) == 0
    assert phone.call(abi.MEM_NEXT_REVOKED, 0) == {"status": 0, "base": 0, "pages": 0, "cursor": 0}
    phone.enter(World.NORMAL)
    assert phone.smc(abi.SECURE_RESUME.function, 7) == "arrive_entry"
    assert phone.registers(2) == [Pending.RPC_REPLY, 7]
    assert phone.status(abi.MEM_ALLOCATE, PAGE, 2) == 0


def test_results_and_arguments_pass_between_the_worlds(phone: Phone) -> None:
    assert phone.smc(abi.SECURE_CALL.function, 1, 2, 3, 4, 5, 6) == "arrive_entry"
    assert phone.registers(31) == [Pending.NEW_CALL, 1, 2, 3, 4, 5, *[0] * 25]
    assert phone.smc(abi.SECURE_RPC.function, 21, 22, 23, 24, 25, 26) == "arrive_return"
    assert phone.registers(8) == [Status.RPC, 21, 22, 23, 24, 25, 6, 0]
    assert phone.smc(abi.SECURE_RESUME.function, 31, 32, 33, 34, 35) == "arrive_entry"
    assert phone.registers(7) == [Pending.RPC_REPLY, 31, 32, 33, 34, 35, 0]
    assert phone.smc(abi.SECURE_DONE.function, 41, 42, 43, 44, 45, 46) == "arrive_return"
    assert phone.registers(8) == [Status.SUCCESS, 41, 42, 43, 44, 45, 0, 0]


def test_entry_begins_masked_and_on_its_own_stack(phone: Phone) -> None:
    """In whatever state the secure world has left."""
    el1t_unmasked_with_flags, el1h_masked = 0xF000_0004, 0x3C5
    phone.enter(World.SECURE)
    phone.core.x[PSTATE] = el1t_unmasked_with_flags
    phone.enter(World.NORMAL)
    phone.enter(World.SECURE)
    assert phone.core.x[PSTATE] == el1h_masked


@pytest.mark.parametrize("operand", [WINDOW >> 12, (1 << 64) - 1], ids=["one page", "everything"])
def test_secure_worlds_invalidation_reaches_its_tlb(phone: Phone, operand: int) -> None:
    phone.lock()
    phone.enter(World.SECURE)
    port, entry = phone.machine.port(World.SECURE), phone.gate("gate_tables") + (WINDOW >> 30) * 8
    port.store(entry, 8, DRAM_BASE | NORMAL_DATA | NS)
    port.load(WINDOW + PAGE - DRAM_BASE, 8)
    port.store(entry, 8, 0)
    port.load(WINDOW + PAGE - DRAM_BASE, 8)  # by its TLB
    phone.core.x[0], phone.core.pc = operand, phone.gate("gate_tlbi")
    assert phone.run() == "arrive_return"
    with pytest.raises(PortAbort, match="data abort"):
        port.load(WINDOW + PAGE - DRAM_BASE, 8)


@pytest.mark.parametrize("non_secure", [True, False])
def test_secure_world_reaches_flex_mem_as_normal_memory_only(phone: Phone, non_secure: bool) -> None:
    """The TZASC refuses a secure transaction to normal DRAM: a forgotten NS bit faults instead of working by luck."""
    phone.lock()
    phone.fill()
    phone.enter(World.SECURE)
    root = phone.gate("gate_tables")
    block = DRAM_BASE | NORMAL_DATA | (NS if non_secure else 0)
    port = phone.machine.port(World.SECURE)
    port.store(root + (WINDOW >> 30) * 8, 8, block)
    if non_secure:
        assert port.load(WINDOW + PAGE - DRAM_BASE, 8) == 0xA5A5_A5A5_A5A5_A5A5
    else:
        with pytest.raises(PortAbort, match="data abort") as abort:
            port.load(WINDOW + PAGE - DRAM_BASE, 8)
        assert abort.value.status == SYNCHRONOUS_EXTERNAL
