"""A machine that is put back does again what it did, also in another machine, also through a file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.devices.device import Device
from emulator.devices.storage import Command
from emulator.events import Event, EventKind
from emulator.machine import Machine
from emulator.memory_map import PAGE_SIZE, SECURE_SRAM
from emulator.native import lib
from emulator.state import MAGIC, PART, MachineState, StateError
from tests.emulator.bare import (
    EL3H,
    MAIR,
    NORMAL,
    NS,
    TCR_HIGHER,
    PageTable,
    assemble,
    bare_machine,
    read_register,
    write_register,
)
from tests.emulator.devices.rig import PAGE, Rig

DATA = 0x4280_0000
SECOND = DATA + PAGE_SIZE
STEPS = 300


def content(state: MachineState) -> bytes:
    file = io.BytesIO()
    state.write(file)
    return file.getvalue()


def reread(state: MachineState) -> MachineState:
    return MachineState.read(io.BytesIO(content(state)))


def same(state: MachineState) -> MachineState:
    return state


class Scene:
    """A machine in the middle of something, and what comes of it."""

    def __init__(self, machine: Machine, prepare: Callable[[], None]) -> None:
        self.machine = machine
        self._events: list[Event] = []
        machine.events.listen(EventKind, self._events.append)
        prepare()
        machine.events.drain()
        self._events.clear()

    def go_on(self) -> tuple[list[Event], bytes]:
        self._events.clear()
        self.machine.run(self.machine.instructions + STEPS)
        return list(self._events), content(self.machine.save())


# --- scenes: each leaves something where no memory and no register shows it -------------------------------------------


def scene_code(source: str, prepare: Callable[[Machine], None] = lambda machine: None, steps: int = 20) -> Scene:
    machine = bare_machine()
    image = assemble(source)

    def start() -> None:
        machine.load(image)
        machine.reset(image.entry)
        prepare(machine)
        machine.run(machine.instructions + steps)

    return Scene(machine, start)


def exclusive() -> Scene:
    """Between LDXR and STXR."""
    return scene_code(
        f"_start: ldr x1, ={DATA:#x}\n 1: ldxr x2, [x1]\n add x2, x2, #1\n stxr w3, x2, [x1]\n"
        "cbnz w3, failed\n add x4, x4, #1\n b 1b\n failed: add x5, x5, #1\n b 1b\n",
        steps=3,
    )


def stale_translation() -> Scene:
    """The table says one thing, the TLB another."""

    def prepare(machine: Machine) -> None:
        table = PageTable(machine)
        table.map(assemble(STALE).entry & ~0xFFF, assemble(STALE).entry & ~0xFFF, NORMAL | NS)
        table.map(DATA, DATA, NORMAL | NS)
        write_register(machine, "MAIR_EL3", MAIR)
        write_register(machine, "TCR_EL3", TCR_HIGHER)
        write_register(machine, "TTBR0_EL3", table.base)
        write_register(machine, "SCTLR_EL3", 1)
        machine.write_physical(DATA, struct.pack("<Q", 1))
        machine.write_physical(SECOND, struct.pack("<Q", 100))
        machine.run(machine.instructions + 10)
        table.map(DATA, SECOND, NORMAL | NS)

    return scene_code(STALE, prepare)


STALE = f"""
_start:
    ldr     x1, ={DATA:#x}
    mov     x4, #0
1:  ldr     x2, [x1]
    add     x3, x3, x2
    add     x4, x4, #1
    cmp     x4, #40
    b.ne    1b
    tlbi    alle3
    dsb     sy
    b       1b
"""


def code_overwritten() -> Scene:
    """The engine has translated what memory holds no more."""
    return scene_code(
        "_start: adr x1, place\n ldr w2, other\n"
        "1: bl place\n add x4, x4, #1\n cmp x4, #30\n b.ne 1b\n str w2, [x1]\n dc cvau, x1\n ic ivau, x1\n isb\n b 1b\n"
        ".balign 4096\n place: add x3, x3, #1\n ret\n other: add x3, x3, #16\n",
        steps=60,
    )


def floats_and_timers() -> Scene:
    return scene_code(
        "_start: msr cptr_el3, xzr\n isb\n mov x0, #3\n msr cntp_ctl_el0, x0\n mov x0, #70\n msr cntp_cval_el0, x0\n"
        "mov x0, #9\n msr cntvoff_el2, x0\n fmov d0, #1.5\n mov x1, #0xc00000\n msr fpcr, x1\n"
        "1: fmul d0, d0, d0\n fadd d1, d1, d0\n mrs x2, cntp_ctl_el0\n eor x3, x3, x2\n mrs x2, cntvct_el0\n"
        "add x3, x3, x2\n mrs x2, fpsr\n add x4, x4, x2\n b 1b\n"
    )


def own_exceptions() -> Scene:
    """At a vector: several positions share one guest time."""
    return scene_code(
        "_start: adr x1, vectors\n msr vbar_el3, x1\n 1: smc #1\n svc #2\n udf #0\n b 1b\n"
        ".balign 0x800\n vectors: .space 0x200\n mrs x2, esr_el3\n mrs x3, elr_el3\n"
        "lsr x4, x2, #26\n cbnz x4, 2f\n add x3, x3, #4\n msr elr_el3, x3\n 2: eret\n"
    )


SCENES = (exclusive, stale_translation, code_overwritten, floats_and_timers, own_exceptions)


@pytest.fixture(params=SCENES, ids=lambda scene: scene.__name__)
def make(request: pytest.FixtureRequest) -> Callable[[], Scene]:
    scene: Callable[[], Scene] = request.param
    return scene


@pytest.mark.parametrize("through", [same, reread])
def test_restored_machine_does_again_what_it_did(
    make: Callable[[], Scene], through: Callable[[MachineState], MachineState]
) -> None:
    scene = make()
    with closing(scene.machine):
        state = scene.machine.save()
        before = content(state)
        first = scene.go_on()
        scene.machine.restore(through(state))
        assert content(scene.machine.save()) == before
        assert scene.go_on() == first


def test_another_machine_goes_on_as_the_first(make: Callable[[], Scene]) -> None:
    scene, fresh = make(), Scene(bare_machine(), lambda: None)
    with closing(scene.machine), closing(fresh.machine):
        fresh.machine.restore(scene.machine.save())
        assert fresh.go_on() == scene.go_on()


def test_saving_changes_nothing(make: Callable[[], Scene]) -> None:
    saved, plain = make(), make()
    with closing(saved.machine), closing(plain.machine):
        for _ in range(STEPS // 2):
            saved.machine.run(saved.machine.instructions + 1)
            saved.machine.save()
        plain.machine.run(plain.machine.instructions + STEPS // 2)
        assert saved.machine.position == plain.machine.position
        assert content(saved.machine.save()) == content(plain.machine.save())
        assert saved.go_on()[1] == plain.go_on()[1]


def test_exclusive_store_fails_if_its_claim_was_not_saved() -> None:
    """So the scene above would see it."""
    scene = exclusive()
    with closing(scene.machine) as machine:
        machine.core.pc -= 8  # the LDXR
        machine.run(machine.instructions + 2)
        claimed = machine.save()
        machine.write_physical(DATA, b"\x07")
        machine.run(machine.instructions + 1)
        assert machine.core.x[3] == 1
        machine.restore(claimed)
        machine.run(machine.instructions + 1)
        assert machine.core.x[3] == 0


def test_vector_registers_come_back() -> None:
    with closing(bare_machine()) as machine, closing(bare_machine()) as fresh:
        for index in range(32):
            machine.core.write_vector(index, (index + 1) << 64 | 7 * index)
        fresh.restore(machine.save())
        assert [fresh.core.read_vector(index) for index in range(32)] == [
            (index + 1) << 64 | 7 * index for index in range(32)
        ]


def test_dma_in_flight_goes_on() -> None:
    first, second = Rig(), Rig()
    medium = bytes(range(256)) * 48
    for rig in (first, second):
        rig.open_dram()
        rig.bypass_smmu()
        rig.board.storage.insert(medium)
    with closing(first.machine), closing(second.machine):
        first.start(Command.READ, PAGE + 0x100, blocks=3)
        second.machine.restore(first.machine.save())
        outcomes = []
        for rig in (first, second):
            rig.forget()
            status, moves = rig.finish(), rig.seen(EventKind.DMA)
            outcomes.append((status, moves, rig.machine.read_physical(PAGE + 0x100, len(medium))))
        assert outcomes[0] == outcomes[1]
        assert len(outcomes[0][1]) > 1
        assert outcomes[0][2] == medium


# --- nothing is forgotten ---------------------------------------------------------------------------------------------

# Constant to the guest: MIDR_EL1, which the engine lets us overwrite. PMXEVTYPER and PMXEVCNTR show other registers, or
# none at all, where a write from outside still lands.
NOT_THE_GUESTS = {(3, 0, 0, 0, 0), (3, 3, 9, 13, 0), (3, 3, 9, 13, 1), (3, 3, 9, 13, 2)}
ENCODINGS = set(product((2, 3), range(8), range(16), range(16), range(8))) - NOT_THE_GUESTS


def system_registers(machine: Machine) -> dict[tuple[int, ...], int]:
    return {encoding: int(lib.core_read_sysreg(machine.native, *encoding)) for encoding in ENCODINGS}


@pytest.mark.parametrize("pattern", [0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA])
def test_every_system_register_comes_back(pattern: int) -> None:
    with closing(bare_machine()) as machine, closing(bare_machine()) as fresh:
        fresh.reset(DATA)
        machine.reset(DATA)
        before = system_registers(machine)
        for encoding in sorted(ENCODINGS):
            lib.core_write_sysreg(machine.native, *encoding, pattern)
        written = system_registers(machine)
        assert sum(before[encoding] != written[encoding] for encoding in ENCODINGS) > 100
        fresh.restore(machine.save())
        assert system_registers(fresh) == written


# What the board was built with, and what stays as it was built.
WIRING = {"window", "number", "values", "_events", "_interrupt", "_on_byte", "_on_look", "_on_line", "_always_on"}
WIRING |= {"_native", "_channel", "_filter", "_protection", "_power_off", "_seed", "_slots"}


def test_devices_say_what_they_hold() -> None:
    """An attribute of a device that is neither wiring nor said to be held would be lost."""
    rig = Rig()
    with closing(rig.machine):
        devices = [device for _, device in rig.machine.devices if isinstance(device, Device)]
        assert len(devices) >= 7
        for device in devices:
            assert vars(device).keys() - WIRING == set(device.held), device.window.name


def test_unchanged_pages_are_shared() -> None:
    with closing(bare_machine()) as machine:
        machine.write_physical(DATA, b"one")
        machine.write_physical(SECOND, b"two")
        first = machine.save()
        machine.write_physical(SECOND, b"more")
        second = machine.save()
        assert second.pages[DATA] is first.pages[DATA]
        assert second.pages[SECOND] != first.pages[SECOND]
        assert first.pages.keys() == second.pages.keys() == {DATA, SECOND}


def test_states_can_be_put_back_in_any_order() -> None:
    with closing(bare_machine()) as machine:
        states = []
        for step in range(4):
            machine.write_physical(DATA + step % 2 * PAGE_SIZE, bytes([step]))
            machine.write_physical(SECURE_SRAM.base + step * PAGE_SIZE, b"x")
            states.append(machine.save())
        files = [content(state) for state in states]
        for index in (2, 0, 3, 1, 1, 0, 2):
            machine.restore(states[index])
            assert content(machine.save()) == files[index]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written() -> Iterator[bytes]:
    scene = stale_translation()
    with closing(scene.machine):
        yield content(scene.machine.save())


def test_file_says_the_same_again(written: bytes) -> None:
    assert content(MachineState.read(io.BytesIO(written))) == written


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_file_is_refused(written: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(StateError):
        MachineState.read(io.BytesIO(written[:end]))


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_is_refused_or_the_same(written: bytes, data: st.DataObject) -> None:
    damaged = bytearray(written)
    damaged[data.draw(st.integers(0, len(written) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        state = MachineState.read(io.BytesIO(damaged))
    except StateError:
        return
    assert content(state) == written  # a bit of the compression that says nothing


def part(data: bytes) -> bytes:
    packed = zlib.compress(data)
    return PART.pack(len(packed), len(data)) + packed


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"version": 2}',
        b'{"version": 1, "devices": {"1": {"values": ["x"]}}, "media": [], "pages": 0}',
        b'{"version": 1, "devices": {}, "media": [], "pages": Infinity}',
        b'{"version": 1, "devices": {}, "media": 7, "pages": 0}',
    ],
)
def test_nonsense_of_the_right_form_is_refused(head: bytes) -> None:
    with pytest.raises(StateError):
        MachineState.read(io.BytesIO(MAGIC + part(head) + part(b"core")))


def test_part_that_would_fill_the_host_is_refused() -> None:
    with pytest.raises(StateError, match="too large"):
        MachineState.read(io.BytesIO(MAGIC + PART.pack(100, 1 << 60) + bytes(100)))


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_forged_core_is_refused_or_taken_but_never_fatal(written: bytes, data: st.DataObject) -> None:
    state = MachineState.read(io.BytesIO(written))
    core = bytearray(state.core)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(core) // 8 - 1)) * 8
        core[at : at + 8] = struct.pack("<Q", data.draw(st.sampled_from([0, 1, 255, 1 << 16, 1 << 32, (1 << 64) - 1])))
    end = data.draw(st.sampled_from([len(core), len(core) // 2, 0]))
    with closing(bare_machine()) as machine:
        try:
            machine.restore(MachineState(bytes(core[:end]), {}, {}, state.pages))
        except StateError:
            return
        assert machine.position >= (0, 0)


def test_state_of_a_smaller_machine_is_refused() -> None:
    with closing(bare_machine(1 << 30)) as large, closing(bare_machine()) as small:
        large.write_physical(0x4000_0000 + (1 << 30) - PAGE_SIZE, b"far")
        with pytest.raises(StateError, match="another machine"):
            small.restore(large.save())


def test_state_of_a_machine_with_other_devices_is_refused() -> None:
    rig = Rig()
    with closing(rig.machine), closing(bare_machine()) as bare, pytest.raises(StateError, match="other devices"):
        bare.restore(rig.machine.save())


def test_level_and_masks_come_back() -> None:
    with closing(bare_machine()) as machine:
        machine.reset(DATA)
        state = machine.save()
        machine.core.x[33] = 0x3C5
        machine.restore(state)
        assert machine.core.x[33] & 0xF == EL3H
        assert read_register(machine, "SCR_EL3") == 0x430
