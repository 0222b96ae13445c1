"""The core: exact time, stops, devices, code that changes, memory that goes back to the host."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.events import Event, EventKind
from emulator.machine import StopReason
from emulator.memory_map import STORAGE
from emulator.native import lib
from tests.emulator.bare import DEVICE, MAIR, NORMAL, TABLES, TCR_EL1, Guest, PageTable, read_register

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

eventful:
    ldr     x20, =0x42100ffc    // eight bytes from here lie in two pages
    ldr     x21, =0x0a130000    // a device
    ldr     x22, =0x50000000    // nothing
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

    def __init__(self) -> None:
        self.log: list[tuple[str, int, int, int]] = []
        self.value = 0

    def read(self, offset: int, size: int, secure: bool) -> int:
        self.log.append(("read", offset, size, self.value))
        return self.value

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        self.log.append(("write", offset, size, value))
        self.value = value


def eventful_guest() -> tuple[Guest, Latch, list[Event]]:
    guest, latch = Guest(EVENTFUL), Latch()
    guest.machine.attach(STORAGE, latch)
    allow_normal_devices(guest)
    table = PageTable(guest.machine)
    for page in range(0x4200_0000, 0x4202_0000, 0x1000):
        table.map(page, page, NORMAL)
    table.map(0x4210_0000, 0x4230_0000, NORMAL)
    table.map(0x4210_1000, 0x4220_0000, NORMAL)
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


def allow_normal_devices(guest: Guest) -> None:
    lib.tzpc_set(guest.machine.native, 0, (1 << 32) - 1)


def outcome(guest: Guest, latch: Latch, events: list[Event]) -> tuple[object, ...]:
    machine = guest.machine
    result = (
        machine.instructions,
        [machine.core.x[index] for index in range(34)],
        [read_register(machine, name) for name in ("ESR_EL1", "FAR_EL1", "ELR_EL1", "ESR_EL3", "SPSR_EL3")],
        machine.read_physical(0x4220_0000, 64),
        machine.read_physical(0x4230_0FC0, 64),
        latch.log,
        events,
    )
    machine.close()
    return result


def test_eventful_program_does_what_it_says() -> None:
    guest, latch, events = eventful_guest()
    assert guest.machine.run().reason is StopReason.WFI
    assert guest.core.x[27] == 0
    print(outcome(guest, latch, events)[:2], len(events), len(latch.log))


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=200))
def test_a_run_in_slices_is_the_same_run(slices: list[int]) -> None:
    guest, latch, events = eventful_guest()
    whole_stop = guest.machine.run()
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
