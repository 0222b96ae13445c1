"""The core: exact time, stops, devices, code that changes, memory that goes back to the host."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.devices.device import BusError
from emulator.events import Event, EventKind
from emulator.machine import StopReason
from emulator.memory_map import STORAGE
from emulator.native import lib
from tests.emulator import bare
from tests.emulator.bare import DEVICE, MAIR, NORMAL, TABLES, TCR_EL1, Guest, PageTable

# Everything that leaves a block early or enters one in the middle.
EVENTFUL = """
.balign 0x800
el3_vectors:
    .space 0x400
    add     x0, x0, #1
    eret
.balign 0x800
el1_vectors:
    .space 0x200
    mrs     x10, esr_el1
    add     x11, x11, x10
    lsr     x10, x10, #26
    cmp     x10, #0x15          // SVC returns behind itself
    b.eq    1f
    mrs     x12, elr_el1
    add     x12, x12, #4
    msr     elr_el1, x12
1:  eret
    .org el1_vectors + 0x380    // SError
    add     x16, x16, #1
    eret

eventful:
    ldr     x20, =0x42100ffc    // eight bytes from here lie in two pages
    ldr     x21, =0x0a130000    // a device
    ldr     x22, =0x50000000    // nothing
    ldr     x19, =0x42180000    // mapped, but nothing is there
    adr     x23, patched
    mov     x25, #0
    mov     x26, #12345
    mov     x27, #30
again:
    mov     x28, #1103
    madd    x26, x26, x28, x25
    smc     #0
    str     x26, [x20]
    ldr     x1, [x20], #16
    sub     x20, x20, #16
    stp     w26, w1, [x20]
    ldp     w2, w3, [x20]
    str     w26, [x21, #8]
    ldr     w4, [x21, #8]!
    sub     x21, x21, #8
    ldr     x5, [x22]
    mrs     x6, cntpct_el0
    eor     x25, x25, x6
    at      s1e1w, x22
    isb
    mrs     x17, par_el1
    add     x13, x13, x17
    str     w26, [x19]
    add     x13, x13, #1
    msr     daifclr, #4
    add     x13, x13, #1
    msr     daifset, #4
    tbz     x26, #3, 2f
    svc     #7
    udf     #0
2:  tbz     x26, #4, 3f
    tlbi    vmalle1
    dsb     sy
    isb
3:  and     w7, w26, #0xffff
    mov     w8, #0x52800000     // mov w9, #w7
    orr     w8, w8, w7, lsl #5
    add     w8, w8, #9
    str     w8, [x23]
    dc      cvau, x23
    dsb     ish
    ic      ivau, x23
    dsb     ish
    isb
    bl      patched
    add     x13, x13, x9
    tbz     x26, #5, 4f
    mov     x14, #5
5:  subs    x14, x14, #1
    b.ne    5b
4:  mrs     x15, cntvct_el0
    add     x25, x25, x15
    subs    x27, x27, #1
    b.ne    again
    wfi
    b       .
.balign 0x1000
patched:
    nop
    ret
.ltorg
"""


class Latch:
    """A device that remembers what it was asked."""

    held: tuple[str, ...] = ()

    def __init__(self, guest: Guest, value: int = 0) -> None:
        self.guest = guest
        self.value = value
        self.values: dict[int, int] = {}
        self.log: list[tuple[str, int, int, int]] = []
        self.seen_at: list[tuple[int, int]] = []
        self.reaction: Callable[[], None] = lambda: None

    def read(self, offset: int, size: int, secure: bool) -> int:
        self._note("read", offset, size, self.value & (1 << 8 * size) - 1)
        return self.value & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        self._note("write", offset, size, value)
        self.value = value

    def _note(self, what: str, offset: int, size: int, value: int) -> None:
        self.log.append((what, offset, size, value))
        self.seen_at.append((self.guest.core.pc, self.guest.machine.instructions))
        self.reaction()


def eventful_guest() -> tuple[Guest, Latch, list[Event]]:
    guest = Guest(EVENTFUL)
    latch = with_device(guest)
    table = PageTable(guest.machine)
    for page in range(0x4200_0000, 0x4202_0000, 0x1000):
        table.map(page, page, NORMAL)
    table.map(0x4210_0000, 0x4230_0000, NORMAL)
    table.map(0x4210_1000, 0x4220_0000, NORMAL)
    table.map(0x4218_0000, 0x6000_0000, DEVICE)
    table.map(STORAGE.base, STORAGE.base, DEVICE)
    use_stage1(guest)
    guest["VBAR_EL3"], guest["VBAR_EL1"] = guest.at("el3_vectors"), guest.at("el1_vectors")
    events: list[Event] = []
    kinds = (EventKind.SMC, EventKind.SMC_RETURN, EventKind.EXCEPTION, EventKind.TLB)
    guest.machine.events.listen(kinds, events.append)
    guest.enter("eventful", 1)
    return guest, latch, events


def use_stage1(guest: Guest) -> None:
    guest["MAIR_EL1"], guest["TCR_EL1"], guest["TTBR0_EL1"], guest["SCTLR_EL1"] = MAIR, TCR_EL1, TABLES, 1


def with_device(guest: Guest, value: int = 0) -> Latch:
    latch = Latch(guest, value)
    guest.machine.attach(STORAGE, latch)
    lib.tzpc_set(guest.machine.native, 0, (1 << 32) - 1)
    return latch


def outcome(guest: Guest, latch: Latch, events: list[Event]) -> tuple[object, ...]:
    machine = guest.machine
    result = (
        machine.instructions,
        latch.seen_at,
        [machine.core.x[index] for index in range(34)],
        [guest[name] for name in ("ESR_EL1", "FAR_EL1", "ELR_EL1", "ESR_EL3", "SPSR_EL3")],
        machine.read_physical(0x4220_0000, 64),
        machine.read_physical(0x4230_0FC0, 64),
        latch.log,
        events,
    )
    machine.close()
    return result


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=200))
def test_a_run_in_slices_is_the_same_run(slices: list[int]) -> None:
    guest, latch, events = eventful_guest()
    whole_stop = guest.machine.run()
    assert guest.core.x[16] == 30  # SErrors
    assert len(events) > 150
    assert len(latch.log) == 60
    whole = outcome(guest, latch, events)
    guest, latch, events = eventful_guest()
    stop = None
    for length in slices:
        until = guest.machine.instructions + length
        stop = guest.machine.run(until)
        if stop.reason is StopReason.WFI:
            break
        assert guest.machine.instructions == until
    if stop is None or stop.reason is not StopReason.WFI:
        stop = guest.machine.run()
    assert stop == whole_stop
    assert outcome(guest, latch, events) == whole


# --- time and stops ---------------------------------------------------------------------------------------------------

LOOPS = """
spin:       b   .
spin_smc:   smc #0
            b   spin_smc
spin_device: ldr w1, [x0]
            b   spin_device
count:      mrs x1, cntpct_el0
            nop
            add x3, x3, #1
            mrs x2, cntvct_el0
            cbnz x3, 1f
1:          mrs x29, cntpct_el0
            mrs xzr, cntpct_el0
two_waits:  wfi
            nop
            wfi
            b   .
timer:      mov x0, #1
            msr cntp_ctl_el0, x0
            mov x0, #8
            msr cntp_tval_el0, x0       // due eight instructions from here
            mrs x1, cntp_tval_el0
            mrs x2, cntp_cval_el0
            mrs x3, cntp_ctl_el0
            mrs x4, pmccntr_el0
            nop
            nop
            nop
            mrs x5, cntp_ctl_el0
            mrs x6, cntp_tval_el0
            wfi
user_timer: mrs x1, cntp_tval_el0
user_isr:   mrs x1, isr_el1
calls:      svc #0
            subs x0, x0, #1
            b.ne calls
            wfi
.balign 0x800
returning:  .rept 16
            eret
            .balign 0x80
            .endr
"""


@pytest.fixture
def loops() -> Guest:
    guest = Guest(LOOPS)
    guest["VBAR_EL3"] = guest["VBAR_EL1"] = guest.at("returning")
    return guest


def test_the_counters_count_instructions(loops: Guest) -> None:
    loops.enter("count", 1)
    start = loops.machine.instructions
    loops.machine.run()
    assert loops.core.x[1] == start
    assert loops.core.x[2] == start + 3
    assert loops.core.x[29] == start + 5
    assert loops.machine.instructions == start + 8


def test_timers_and_the_cycle_counter_know_no_other_time(loops: Guest) -> None:
    loops.enter("timer", 1)
    written = loops.machine.instructions + 3
    loops.machine.run()
    assert [loops.core.x[index] for index in range(1, 5)] == [7, written + 8, 0b001, written + 4]
    assert loops.core.x[5] == 0b101
    assert loops.core.x[6] == 0xFFFF_FFFF


@pytest.mark.parametrize("symbol", ["user_timer", "user_isr"])
def test_el0_reads_no_timer_and_no_pending_interrupts_by_default(loops: Guest, symbol: str) -> None:
    loops["VBAR_EL1"] = bare.VECTORS[1]
    loops.enter(symbol, 0)
    assert loops.vector() == (1, 0x400)


def test_a_wfi_at_the_end_of_the_budget_is_a_wfi(loops: Guest) -> None:
    loops.enter("two_waits", 1)
    stop = loops.machine.run(loops.machine.instructions + 1)
    assert (stop.reason, stop.pc) == (StopReason.WFI, loops.at("two_waits"))
    stop = loops.machine.run(loops.machine.instructions + 1)
    assert (stop.reason, stop.pc) == (StopReason.BUDGET, loops.at("two_waits") + 8)
    stop = loops.machine.run(loops.machine.instructions + 1)
    assert (stop.reason, stop.pc) == (StopReason.WFI, loops.at("two_waits") + 8)


def test_a_budget_that_is_spent_executes_nothing(loops: Guest) -> None:
    loops.enter("spin", 1)
    before = loops.machine.instructions
    assert loops.machine.run(before).reason is StopReason.BUDGET
    assert loops.machine.instructions == before


@pytest.mark.parametrize("symbol", ["spin", "spin_smc", "spin_device"])
def test_ctrl_c_ends_a_spinning_guest(loops: Guest, symbol: str) -> None:
    with_device(loops)
    loops.enter(symbol, 1)
    loops.core.x[0] = STORAGE.base
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loops.machine.run()
    timer.join()
    assert time.monotonic() - begun < 1.2
    assert loops.machine.run(loops.machine.instructions + 1000).reason is StopReason.BUDGET


def test_more_events_than_the_buffer_holds_all_arrive_in_order(loops: Guest) -> None:
    seen: list[Event] = []
    loops.machine.events.listen([EventKind.EXCEPTION], seen.append)
    loops.enter("calls", 1)
    loops.core.x[0] = 70_000
    assert loops.machine.run().reason is StopReason.WFI
    assert len(seen) == 70_000
    assert [event.instruction for event in seen] == sorted({event.instruction for event in seen})


# --- devices ----------------------------------------------------------------------------------------------------------

VALUE = 0x8877_6655_C433_B2A1
ONES = (1 << 64) - 1
ACCESSES = {
    # instruction: what the device sees from offset 8 on (offset, size, ..), and x1
    "ldr x1, [x0]": ([("read", 8, 8, VALUE)], VALUE),
    "ldr w1, [x0]": ([("read", 8, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldrh w1, [x0]": ([("read", 8, 2, 0xB2A1)], 0xB2A1),
    "ldrb w1, [x0]": ([("read", 8, 1, 0xA1)], 0xA1),
    "ldrsb w1, [x0]": ([("read", 8, 1, 0xA1)], 0xFFFF_FFA1),
    "ldrsb x1, [x0]": ([("read", 8, 1, 0xA1)], ONES & ~0xFF | 0xA1),
    "ldrsh x1, [x0]": ([("read", 8, 2, 0xB2A1)], ONES & ~0xFFFF | 0xB2A1),
    "ldrsw x1, [x0]": ([("read", 8, 4, 0xC433_B2A1)], 0xFFFF_FFFF_C433_B2A1),
    "ldr xzr, [x0]": ([("read", 8, 8, VALUE)], 0x11),
    "ldur w1, [x0, #-4]": ([("read", 4, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldtr w1, [x0, #4]": ([("read", 12, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldr w1, [x0, w2, sxtw #2]": ([("read", 4, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldr w1, [x0, x3, lsl #2]": ([("read", 16, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldr w1, [x0, #8]!": ([("read", 16, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldr w1, [x0], #8": ([("read", 8, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldp w1, w4, [x0, #8]": ([("read", 16, 4, 0xC433_B2A1), ("read", 20, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldp x1, x4, [x0]": ([("read", 8, 8, VALUE), ("read", 16, 8, VALUE)], VALUE),
    "ldpsw x1, x4, [x0]": ([("read", 8, 4, 0xC433_B2A1), ("read", 12, 4, 0xC433_B2A1)], 0xFFFF_FFFF_C433_B2A1),
    "ldar w1, [x0]": ([("read", 8, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldxr w1, [x0]": ([("read", 8, 4, 0xC433_B2A1)], 0xC433_B2A1),
    "ldr d1, [x0]\nfmov x1, d1": ([("read", 8, 8, VALUE)], VALUE),
    "ldr b1, [x0]\nfmov x1, d1": ([("read", 8, 1, 0xA1)], 0xA1),
    "ldr q1, [x0, #8]\nmov x1, v1.d[1]": ([("read", 16, 8, VALUE), ("read", 24, 8, VALUE)], VALUE),
    "str x1, [x0]": ([("write", 8, 8, 0x11)], 0x11),
    "str w4, [x0]": ([("write", 8, 4, 0xFFFF_FF44)], 0x11),
    "strh w4, [x0]": ([("write", 8, 2, 0xFF44)], 0x11),
    "strb w4, [x0]": ([("write", 8, 1, 0x44)], 0x11),
    "str xzr, [x0]": ([("write", 8, 8, 0)], 0x11),
    "stp w4, wzr, [x0]": ([("write", 8, 4, 0xFFFF_FF44), ("write", 12, 4, 0)], 0x11),
    "stp x1, x4, [x0], #16": ([("write", 8, 8, 0x11), ("write", 16, 8, ONES & ~0xFF | 0x44)], 0x11),
    "stlr w4, [x0]": ([("write", 8, 4, 0xFFFF_FF44)], 0x11),
    "sttr w4, [x0]": ([("write", 8, 4, 0xFFFF_FF44)], 0x11),
    "str q2, [x0, #8]": ([("write", 16, 8, 0x22), ("write", 24, 8, 0x33)], 0x11),
}
WRITTEN_BACK = {"ldr w1, [x0, #8]!": 8, "ldr w1, [x0], #8": 8, "stp x1, x4, [x0], #16": 16}
DEVICE_SOURCE = (
    "\n".join(f"access{number}: {form}\n wfi" for number, form in enumerate(ACCESSES))
    + """
unaligned:  ldr w1, [x0]
            wfi
zero_block: dc zva, x0
            wfi
crossing:   ldr x1, [x0]
            wfi
twice:      str w1, [x0]
            ldr x2, [x3]
            wfi
"""
)


def device_guest(value: int = VALUE) -> tuple[Guest, Latch]:
    guest = Guest(DEVICE_SOURCE)
    latch = with_device(guest, value)
    guest["CPACR_EL1"] = 0b11 << 20
    return guest, latch


@pytest.mark.parametrize("form", ACCESSES)
def test_a_device_sees_every_access_as_it_is(form: str) -> None:
    guest, latch = device_guest()
    symbol = f"access{list(ACCESSES).index(form)}"
    guest.enter(symbol, 1)
    for index, value in enumerate([STORAGE.base + 8, 0x11, ONES, 2, ONES & ~0xFF | 0x44]):
        guest.core.x[index] = value
    guest.core.write_vector(2, 0x33 << 64 | 0x22)
    start = guest.machine.instructions
    stop = guest.machine.run(start + 10)
    log, x1 = ACCESSES[form]
    assert latch.log == log
    assert guest.core.x[1] == x1
    assert set(latch.seen_at) == {(guest.at(symbol), start)}
    assert guest.core.x[0] == STORAGE.base + 8 + WRITTEN_BACK.get(form, 0)
    assert stop.pc == guest.at(symbol) + 4 * (1 + form.count("\n"))
    assert guest.machine.instructions == start + 2 + form.count("\n")


@pytest.mark.parametrize(
    ("symbol", "address"),
    [("unaligned", STORAGE.base + 2), ("zero_block", STORAGE.base + 0x47), ("crossing", STORAGE.end - 3)],
)
def test_a_device_takes_no_unaligned_access_and_no_zeroing(symbol: str, address: int) -> None:
    guest, latch = device_guest()
    guest.enter(symbol, 1)
    guest.core.x[0] = address
    assert guest.vector() == (1, 0x200)
    assert guest["ESR_EL1"] & 0x3F == 0x21
    assert guest["FAR_EL1"] == address
    assert latch.log == []


@pytest.mark.parametrize(("symbol", "vector"), [("unaligned", 0x200), ("twice", 0x380)])
def test_a_device_can_refuse(symbol: str, vector: int) -> None:
    guest, latch = device_guest()
    latch.reaction = refuse
    guest.enter(symbol, 1, masked=0)
    guest.core.x[0] = STORAGE.base
    assert guest.vector() == (1, vector)
    assert guest["ELR_EL1"] == guest.at(symbol) + (4 if symbol == "twice" else 0)


def refuse() -> None:
    raise BusError


def test_what_a_device_raises_comes_out_of_run() -> None:
    guest, latch = device_guest()

    def fail() -> None:
        raise LookupError("the device's own")

    latch.reaction = fail
    guest.enter("unaligned", 1)
    guest.core.x[0] = STORAGE.base
    with pytest.raises(LookupError, match="the device's own"):
        guest.machine.run()
    assert guest.core.pc == guest.at("unaligned")  # and the load can be tried again
    latch.reaction = lambda: None
    assert guest.machine.run().pc == guest.at("unaligned") + 4


def test_a_filter_that_a_store_changes_judges_the_very_next_load() -> None:
    """The page is in every TLB when the device, as a TZC-400 would, takes it away."""
    guest, latch = device_guest()

    def lock() -> None:
        bare.set_region(guest.machine, 1, 0x4210_0000, 0x4210_0FFF, normal="")

    latch.reaction = lock
    guest.enter("crossing", 1)
    guest.core.x[0] = 0x4210_0000
    guest.machine.run()
    guest.enter("twice", 1)
    guest.core.x[0], guest.core.x[3] = STORAGE.base, 0x4210_0000
    assert guest.vector() == (1, 0x200)
    assert guest["ESR_EL1"] & 0x3F == 0x10
    assert guest["ELR_EL1"] == guest.at("twice") + 4


# --- code that changes, memory that goes ------------------------------------------------------------------------------

CHANGING = """
call:       blr x0
            wfi
store_call: str w1, [x2]
            dc  cvau, x2
            dsb ish
            ic  ivau, x2
            dsb ish
            isb
            blr x0
            wfi
scrub:      mov x4, x0
1:          stp xzr, xzr, [x4], #16
            cmp x4, x1
            b.ne 1b
            smc #0
            wfi
.balign 0x800
returning:  .rept 16
            eret
            .balign 0x80
            .endr
"""
ROUTINE = 0x4210_0000
RETURN = 0xD65F_03C0


def mov_w9(value: int) -> int:
    return 0x5280_0000 | value << 5 | 9


def place_routine(guest: Guest, value: int, address: int = ROUTINE) -> None:
    code = mov_w9(value).to_bytes(4, "little") + RETURN.to_bytes(4, "little")
    guest.machine.write_physical(address, code)


def call_routine(guest: Guest) -> int:
    guest.enter("call", 1)
    guest.core.x[0] = ROUTINE
    guest.machine.run()
    return guest.core.x[9]


def test_code_that_the_host_writes_is_executed() -> None:
    guest = Guest(CHANGING)
    for value in (1, 2, 3):
        place_routine(guest, value)
        assert call_routine(guest) == value


@pytest.mark.parametrize("alias", [ROUTINE, ROUTINE + 0x10_0000])
def test_code_that_the_guest_writes_is_executed(alias: int) -> None:
    """Also through another virtual address of the page, and again after it was executed."""
    guest = Guest(CHANGING)
    table = PageTable(guest.machine)
    for page in range(bare.CODE, bare.CODE + 0x4000, 0x1000):
        table.map(page, page, NORMAL)
    table.map(ROUTINE, ROUTINE, NORMAL)
    table.map(ROUTINE + 0x10_0000, ROUTINE, NORMAL)
    use_stage1(guest)
    place_routine(guest, 0)
    assert call_routine(guest) == 0
    for value in (1, 2, 3):
        guest.enter("store_call", 1)
        guest.core.x[0], guest.core.x[1], guest.core.x[2] = ROUTINE, mov_w9(value), alias
        guest.machine.run()
        assert guest.core.x[9] == value


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_pages_that_el3_scrubs_go_back_to_the_host() -> None:
    guest, start, size = Guest(CHANGING), 0x4040_0000, 24 << 20
    guest["VBAR_EL3"] = guest.at("returning")
    guest.machine.write_physical(start, bytes([0xAA]) * size)
    full = resident_bytes()
    guest.enter("scrub", 3)
    guest.core.x[0], guest.core.x[1] = start, start + size
    guest.machine.run()
    guest.enter("scrub", 1)  # the next call finds the last pages
    guest.core.x[0], guest.core.x[1] = ROUTINE, ROUTINE + 16
    guest.machine.run()
    assert full - resident_bytes() > size / 2
    assert guest.machine.read_physical(start, size) == bytes(size)


# --- random programs --------------------------------------------------------------------------------------------------

CLASSES = (0xD5, 0xD4, 0xD6, 0x08, 0x38, 0x28, 0x0C, 0x1E, 0x0E, 0x91, 0x54)  # bits 31:24: system, loads, stores, FP ..
DATA = 0x4210_0000


@st.composite
def programs(draw: st.DrawFn) -> tuple[bytes, list[int], int]:
    """Six instructions, 31 registers that often point to data, and a level to run at."""
    random = draw(st.randoms(use_true_random=True))
    words = []
    for _ in range(6):
        word = random.getrandbits(32)
        if random.random() < 0.8:
            word = word & 0x40FF_FFFF | random.choice(CLASSES) << 24
        words.append(word)
    values = [DATA + 0xFF8, DATA + 0x3FF8, 0x5000_0000, 0, bare.CODE]
    registers = [random.choice([*values, DATA + random.getrandbits(13), random.getrandbits(64)]) for _ in range(31)]
    return b"".join(word.to_bytes(4, "little") for word in words), registers, random.randrange(2)


def run_program(program: tuple[bytes, list[int], int], step: int) -> tuple[object, ...]:
    code, registers, level = program
    guest = Guest("code: .space 24\nwfi\nb .")
    table = PageTable(guest.machine)
    for page in range(bare.CODE, bare.CODE + 0x4000, 0x1000):
        table.map(page, page, NORMAL | bare.READ_ONLY)
    for page in range(DATA, DATA + 0x4000, 0x1000):
        table.map(page, page, NORMAL | bare.EL0)
    use_stage1(guest)
    guest["CPACR_EL1"] = 0b11 << 20
    guest.machine.write_physical(guest.at("code"), code)
    guest.machine.write_physical(DATA, bytes(range(256)) * 64)
    guest.enter("code", level)
    for index, value in enumerate(registers):
        guest.core.x[index] = value
    guest.core.sp = DATA + 0x2000
    start = guest.machine.instructions
    stop = guest.machine.run(start + step)
    while stop.reason is StopReason.BUDGET and guest.machine.instructions < start + 40:
        stop = guest.machine.run(min(guest.machine.instructions + step, start + 40))
    return (
        stop,
        guest.machine.instructions,
        [guest.core.x[index] for index in range(34)],
        [guest.core.read_vector(index) for index in range(32)],
        [guest[f"{name}_EL{target}"] for target in (1, 2, 3) for name in ("ESR", "FAR", "ELR", "SPSR")],
        guest.machine.read_physical(DATA, 0x4000),
    )


@settings(max_examples=150, deadline=None)
@given(programs(), st.integers(1, 3))
def test_any_program_is_the_same_step_by_step(program: tuple[bytes, list[int], int], step: int) -> None:
    assert run_program(program, step) == run_program(program, 40)


def test_a_budget_ends_at_el0_too() -> None:
    """Where WFI is trapped, as SCTLR_EL1.nTWI is 0."""
    nops = (0xD503_201F).to_bytes(4, "little") * 6
    stop, instructions, *_ = run_program((nops, [0] * 31, 0), 1)
    assert (stop, instructions) == run_program((nops, [0] * 31, 0), 40)[:2]
