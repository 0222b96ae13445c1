"""Breakpoints, watchpoints, stops at events and single steps: where they stop, and that the run stays the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.devices.board import populate
from emulator.devices.storage import Command
from emulator.events import Event, EventKind
from emulator.machine import Machine, Stop, StopReason
from emulator.memory_map import PAGE_SIZE, UART1
from emulator.stops import Access, Position, TooManyStops, Watch
from tests.emulator.bare import assemble, bare_machine, open_dram
from tests.emulator.devices.rig import PAGE, Rig
from tests.emulator.guest import FRAMES, WINDOW, Guest

DATA = 0x4280_0000
CODE = f"""
_start:
    ldr     x1, ={DATA:#x}
    adr     x2, vectors
    msr     vbar_el3, x2
    mov     x0, #0
again:
    add     x0, x0, #1
stored:
    str     x0, [x1, #16]
    stp     x0, x0, [x1, #32]!
    ldr     x3, [x1], #-32
    svc     #1
called:
    smc     #2
    ldrb    w4, [x1, #16]
    cmp     x0, #20
    b.ne    again
done:
    wfi
    .balign 0x800
vectors:
    .space  0x200
    mrs     x5, esr_el3
    eret
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with closing(bare_machine()) as machine:
        image = assemble(CODE)
        machine.load(image)
        machine.reset(image.entry)
        yield machine


def at(symbol: str) -> int:
    return assemble(CODE).symbols[symbol]


def finish(machine: Machine, until: int | None = None) -> list[Stop]:
    """Every stop up to the WFI."""
    stops = []
    while (stop := machine.run(until)).reason is not StopReason.WFI:
        stops.append(stop)
        machine.stops.leave()
        assert len(stops) < 10_000
    return stops


def everything(machine: Machine, run: Callable[[Machine], object]) -> tuple[list[Event], bytes, dict[int, bytes]]:
    events: list[Event] = []
    machine.events.listen(EventKind, events.append)
    run(machine)
    state = machine.save()
    return events, state.core, dict(state.pages)


def watch_all(machine: Machine) -> None:
    for address in (at("again"), at("called"), at("vectors") + 0x200):
        machine.stops.break_at(address)
    machine.stops.watch(Watch(DATA + 16, 8, read=True))
    machine.stops.watch(Watch(DATA + 32, 16, physical=True))
    machine.stops.watch(Watch(at("stored"), 4, read=True))
    machine.stops.stop_on({EventKind.SMC, EventKind.EXCEPTION})


def step_all(machine: Machine) -> None:
    machine.stops.step(True)


@pytest.mark.parametrize("prepare", [watch_all, step_all])
def test_stopped_run_is_the_run(machine: Machine, prepare: Callable[[Machine], None]) -> None:
    with closing(bare_machine()) as plain:
        image = assemble(CODE)
        plain.load(image)
        plain.reset(image.entry)
        expected = everything(plain, finish)

    def stopped(machine: Machine) -> None:
        prepare(machine)
        assert len(finish(machine)) > 100
        machine.stops.clear()
        machine.stops.step(False)

    assert everything(machine, stopped) == expected


@given(
    breakpoints=st.sets(st.sampled_from(range(at("_start"), at("done"), 4)), max_size=4),
    watches=st.lists(
        st.builds(
            Watch,
            st.integers(DATA, DATA + 64),
            st.integers(1, 64),
            st.booleans(),
            st.booleans(),
            physical=st.booleans(),
        ),
        max_size=3,
    ),
    kinds=st.sets(st.sampled_from([EventKind.SMC, EventKind.EXCEPTION, EventKind.SMC_RETURN])),
    slices=st.lists(st.integers(1, 80), max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_no_stops_change_the_run(
    breakpoints: set[int], watches: list[Watch], kinds: set[EventKind], slices: list[int]
) -> None:
    def watched(machine: Machine) -> None:
        for address in breakpoints:
            machine.stops.break_at(address)
        for watch in watches:
            machine.stops.watch(watch)
        machine.stops.stop_on(kinds)
        for length in slices:
            if machine.run(min(machine.instructions + length, 100)).reason is not StopReason.BUDGET:
                machine.stops.leave()
        finish(machine)
        machine.stops.clear()

    outcomes = []
    for run in (finish, watched):
        with closing(bare_machine()) as machine:
            image = assemble(CODE)
            machine.load(image)
            machine.reset(image.entry)
            outcomes.append(everything(machine, run))
    assert outcomes[0] == outcomes[1]


def test_every_step_leads_to_a_later_position(machine: Machine) -> None:
    machine.stops.step(True)
    positions = [machine.position]
    while machine.run().reason is not StopReason.WFI:
        positions.append(machine.position)
    assert positions == sorted(set(positions))
    assert {position.entries for position in positions} == {0, 1}


@pytest.mark.parametrize(
    ("instruction", "executed"), [("smc #2", 1), ("svc #1", 1), ("udf #0", 0), ("ldr x0, [x3]", 0)]
)
def test_step_of_what_takes_an_exception_ends_at_the_vector(instruction: str, executed: int) -> None:
    image = assemble(
        "_start: adr x1, vectors\n msr vbar_el3, x1\n mov x3, #0xf00000000\n"
        f"here: {instruction}\n .balign 0x800\n vectors: .space 0x200\n b ."
    )
    with closing(bare_machine()) as machine:
        machine.load(image)
        machine.reset(image.entry)
        machine.stops.step(True)
        while machine.core.pc != image.symbols["here"]:
            machine.run()
        assert machine.position.entries == 0
        before = machine.position.instructions
        stop = machine.run()
        assert (stop.reason, stop.pc) == (StopReason.STEP, image.symbols["vectors"] + 0x200)
        assert machine.position == Position(before + executed, 1)


def test_breakpoint_stops_before_its_instruction_each_time(machine: Machine) -> None:
    machine.stops.break_at(at("stored"))
    stops = finish(machine)
    assert {(stop.reason, stop.pc) for stop in stops} == {(StopReason.BREAKPOINT, at("stored"))}
    assert len(stops) == 20


def test_breakpoint_at_the_next_instruction_stops_at_once_unless_it_is_left(machine: Machine) -> None:
    machine.stops.break_at(machine.core.pc)
    assert machine.run().reason is StopReason.BREAKPOINT
    assert machine.position == Position(0, 0)
    machine.stops.leave()
    assert machine.run().reason is StopReason.WFI


def test_too_many_breakpoints_are_refused(machine: Machine) -> None:
    for index in range(256):
        machine.stops.break_at(at("_start") + 4 * index)
    with pytest.raises(TooManyStops, match="no room"):
        machine.stops.break_at(at("_start") + 1024)


@pytest.mark.parametrize("watch", [Watch(DATA, 0), Watch((1 << 64) - 4, 8)])
def test_watch_without_bytes_is_refused(machine: Machine, watch: Watch) -> None:
    with pytest.raises(TooManyStops):
        machine.stops.watch(watch)


@pytest.mark.parametrize("physical", [False, True])
def test_watchpoint_stops_behind_the_store(machine: Machine, physical: bool) -> None:
    watch = Watch(DATA + 20, 1, physical=physical)
    machine.stops.watch(watch)
    stop = machine.run()
    assert (stop.reason, stop.pc) == (StopReason.WATCHPOINT, at("stored") + 4)
    assert stop.access == Access(watch, DATA + 16, 8, write=True)
    assert machine.read_physical(DATA + 16, 1) == b"\x01"


def test_watchpoint_meets_only_what_it_is_for(machine: Machine) -> None:
    machine.stops.watch(Watch(DATA + 16, 1, read=True, write=False))
    machine.stops.watch(Watch(DATA + 24, 8))
    machine.stops.watch(Watch(DATA + 0x1000, 8, read=True))
    stops = finish(machine)
    assert {(stop.pc, stop.access and stop.access.write) for stop in stops} == {(at("called") + 8, False)}


SPANS = {
    "st1 {v0.16b}, [x1]": 16,
    "st1 {v0.8b, v1.8b, v2.8b, v3.8b}, [x1]": 32,
    "st4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1]": 64,
    "st2 {v0.2d, v1.2d}, [x1], #32": 32,
    "st1 {v0.b}[3], [x1]": 1,
    "st3 {v0.h, v1.h, v2.h}[1], [x1]": 6,
    "st1 {v0.d}[1], [x1]": 8,
    "ld1r {v0.4s}, [x1]": 4,
    "ld1 {v0.2d, v1.2d, v2.2d}, [x1]": 48,
    "ldp q0, q1, [x1]": 32,
    "dc zva, x1": 64,
    "ldaxr x0, [x1]": 8,
}


@pytest.mark.parametrize(("instruction", "span"), SPANS.items())
def test_watchpoint_knows_how_much_an_instruction_accesses(instruction: str, span: int) -> None:
    image = assemble(f"_start: msr cptr_el3, xzr\n isb\n ldr x1, ={DATA:#x}\n {instruction}\n wfi\n")
    for first, met in ((DATA + span - 1, True), (DATA + span, False)):
        with closing(bare_machine()) as machine:
            machine.load(image)
            machine.reset(image.entry)
            machine.stops.watch(Watch(first, 1, read=True, physical=True))
            assert (machine.run().reason is StopReason.WATCHPOINT) == met


def test_device_registers_can_be_watched() -> None:
    image = assemble(f"_start: ldr x1, ={UART1.base:#x}\n mov w0, #65\n str w0, [x1]\n ldr w2, [x1, #0x18]\n wfi\n")
    with closing(bare_machine()) as machine:
        populate(machine)
        open_dram(machine)
        machine.load(image)
        machine.reset(image.entry)
        for watch in (Watch(UART1.base, 4), Watch(UART1.base + 0x18, 4, read=True, write=False, physical=True)):
            machine.stops.watch(watch)
            stop = machine.run()
            assert stop.reason is StopReason.WATCHPOINT
            assert stop.access == Access(watch, watch.address, 4, watch.write)
            machine.stops.clear()


@pytest.mark.parametrize("command", [Command.READ, Command.WRITE])
def test_dma_meets_physical_watchpoints(command: Command) -> None:
    rig = Rig()
    with closing(rig.machine) as machine:
        rig.open_dram()
        rig.bypass_smmu()
        rig.board.storage.insert(bytearray(PAGE_SIZE), writable=True)
        loop = assemble("_start: b _start")
        machine.load(loop)
        machine.core.pc = loop.entry
        watch = Watch(PAGE + 5, 1, read=command is Command.WRITE, write=command is Command.READ, physical=True)
        machine.stops.watch(watch)
        rig.start(command, PAGE)
        stop = machine.run(machine.instructions + 1_000_000)
        assert stop.reason is StopReason.WATCHPOINT
        assert stop.access == Access(watch, PAGE, PAGE_SIZE, watch.write)


@pytest.mark.parametrize("write", [False, True])
def test_ports_meet_physical_watchpoints(write: bool) -> None:
    guest = Guest()
    with closing(guest.machine) as machine:
        address = guest.put(bytes(16))
        physical = next(place for place in range(FRAMES, FRAMES + 256 * PAGE_SIZE, PAGE_SIZE) if _shows(guest, place))
        watch = Watch(physical + 8, 1, read=not write, write=write, physical=True)
        machine.stops.watch(watch)
        guest.port.read(address, 8)
        guest.port.write(address, bytes(8))
        guest.port.write(address + 8, b"abc") if write else guest.port.read(address + 8, 3)
        stop = machine.run()
        assert (stop.reason, stop.access) == (StopReason.WATCHPOINT, Access(watch, physical + 8, 3, write))


def _shows(guest: Guest, physical: int) -> bool:
    """Whether the first page of the guest's window is this one."""
    guest.port.write(WINDOW, b"found")
    found = guest.machine.read_physical(physical, 5) == b"found"
    guest.port.write(WINDOW, bytes(5))
    return found


def test_stop_at_an_event_is_behind_its_instruction(machine: Machine) -> None:
    machine.stops.stop_on({EventKind.SMC})
    stops = finish(machine)
    assert {(stop.reason, stop.pc) for stop in stops} == {(StopReason.EVENT, at("vectors") + 0x200)}
    assert len(stops) == 20


def test_what_was_met_before_a_restore_stops_nothing_after_it(machine: Machine) -> None:
    state = machine.save()
    machine.stops.watch(Watch(DATA + 16, 8, physical=True))
    machine.write_physical(DATA + 16, b"later")
    machine.restore(state)
    stop = machine.run()
    assert (stop.reason, stop.pc) == (StopReason.WATCHPOINT, at("stored") + 4)
