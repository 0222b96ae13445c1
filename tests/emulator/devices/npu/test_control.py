"""Power, clock, reset, interrupts, and what a job in flight keeps through a save."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest

from emulator.devices.device import BusError
from emulator.devices.npu import NpuControl, NpuCore, Problem
from emulator.events import NpuWhat
from emulator.memory_map import FIRST_SPI, NPU0, NPU1
from emulator.registers import Register
from emulator.state import MachineState
from tests.emulator.devices.rig import Abort

from .bench import DONE, FEATURES, OUTPUT, WEIGHTS, Bench, bench, exact
from .program import Matrix, Product, features_of, result_bytes, result_of, weights_of

GICD_ISPENDR = 0x200


ROWS = 4000  # of the matrix: some steps


@pytest.fixture
def rig() -> Iterator[Bench]:
    with bench() as made:
        yield made


def pending(rig: Bench, core: int) -> bool:
    word, bit = divmod(FIRST_SPI + 110 + core, 32)
    return bool(rig.board.gic.distributor.read(GICD_ISPENDR + 4 * word, 4, True) >> bit & 1)


def prepare(rig: Bench) -> tuple[Product, Matrix]:
    random = np.random.default_rng(1)
    features = random.integers(-128, 128, (20, 1000), dtype=np.int8)
    weights = random.integers(-128, 128, (ROWS, 1000), dtype=np.int8)
    rig.machine.write_physical(FEATURES, features_of(features))
    rig.machine.write_physical(WEIGHTS, weights_of(weights))
    return Product(20, 1000, ROWS, FEATURES, WEIGHTS, OUTPUT), exact(features, weights)


def output(rig: Bench) -> Matrix:
    return result_of(rig.machine.read_physical(OUTPUT, result_bytes(20, ROWS, "<i4")), 20, ROWS, "<i4")


@pytest.mark.parametrize("register", [NpuControl.POWER, NpuControl.CLOCK], ids=["power", "clock"])
def test_a_core_without_power_or_clock_is_a_bus_error(rig: Bench, register: Register) -> None:
    rig.control(register.offset, 0b101)
    assert rig.load(NPU0.base, 4) == NpuCore.PC_VERSION.resets[0]
    with pytest.raises(Abort):
        rig.load(NPU1.base, 4)
    with pytest.raises(BusError):
        rig.get(0, 1)


def test_out_of_reset_all_is_off(rig: Bench) -> None:
    rig.control(NpuControl.POWER.offset, 0)
    rig.control(NpuControl.CLOCK.offset, 0)
    for core in range(3):
        with pytest.raises(BusError):
            rig.get(0, core)


def test_the_interrupt_follows_mask_and_clear(rig: Bench) -> None:
    task, _ = prepare(rig)
    rig.launch(task)
    while rig.control(NpuControl.STATUS.offset):
        assert not pending(rig, 0)
        rig.step()
    assert pending(rig, 0) and not pending(rig, 1)
    assert rig.get(NpuCore.PC_INTERRUPT_STATUS.offset) & DONE
    rig.put(NpuCore.PC_INTERRUPT_MASK.offset, 0)
    assert not pending(rig, 0)
    assert rig.get(NpuCore.PC_INTERRUPT_RAW_STATUS.offset) & DONE
    rig.put(NpuCore.PC_INTERRUPT_MASK.offset, 0x300)
    assert pending(rig, 0)
    rig.put(NpuCore.PC_INTERRUPT_CLEAR.offset, 0x1FFFF)
    assert not pending(rig, 0)
    assert not rig.get(NpuCore.PC_INTERRUPT_RAW_STATUS.offset)


def test_reset_leaves_nothing(rig: Bench) -> None:
    task, _ = prepare(rig)
    rig.launch(task)
    for _ in range(3):
        rig.step()
    before = rig.machine.read_physical(OUTPUT, 4096)
    rig.control(NpuControl.RESET.offset, 1)
    assert len(rig.told(NpuWhat.ABORTED)) == 1
    assert not rig.control(NpuControl.STATUS.offset)
    while rig.step():
        pass
    assert rig.machine.read_physical(OUTPUT, 4096) == before, "what was posted is dropped"
    shown = {register.name: rig.get(offset) for register, _, offset in NpuCore.elements() if register.readable}
    assert {name: value for name, value in shown.items() if value} == {"PC_VERSION": NpuCore.PC_VERSION.resets[0]}
    other_group = Product(20, 1000, ROWS, FEATURES, WEIGHTS, OUTPUT, reuse=True)
    assert not rig.run(other_group) & DONE, "nor features in the buffer"


def test_reset_lets_the_interrupt_fall(rig: Bench) -> None:
    task, _ = prepare(rig)
    rig.launch(task)
    while rig.control(NpuControl.STATUS.offset):
        rig.step()
    assert pending(rig, 0)
    rig.control(NpuControl.RESET.offset, 1)
    assert not pending(rig, 0)


def test_a_job_stands_still_without_clock(rig: Bench) -> None:
    task, wanted = prepare(rig)
    rig.launch(task)
    rig.step()
    rig.control(NpuControl.CLOCK.offset, 0b110)
    assert not rig.step()
    assert rig.control(NpuControl.STATUS.offset) == 1
    rig.control(NpuControl.CLOCK.offset, 0b111)
    assert rig.wait() & DONE
    assert np.array_equal(output(rig), wanted)


def test_a_second_start_is_ignored(rig: Bench) -> None:
    task, wanted = prepare(rig)
    rig.launch(task)
    rig.step()
    rig.put(NpuCore.PC_OPERATION_ENABLE.offset, 1)
    assert len(rig.told(NpuWhat.IGNORED)) == 1
    assert rig.wait() & DONE
    assert np.array_equal(output(rig), wanted)


def test_registers_written_under_a_job_do_not_change_it(rig: Bench) -> None:
    task, wanted = prepare(rig)
    rig.launch(task)
    for _ in range(2):
        rig.step()
    for register in (
        NpuCore.DPU_DST_BASE_ADDR,
        NpuCore.CNA_DCOMP_ADDR0,
        NpuCore.CNA_DATA_SIZE0,
        NpuCore.PC_BASE_ADDRESS,
    ):
        rig.put(register.offset, 0x40)
    assert rig.wait() & DONE
    assert np.array_equal(output(rig), wanted)


def test_a_save_at_every_step_goes_on_alike(rig: Bench) -> None:
    task, wanted = prepare(rig)
    rig.launch(task)
    states: list[MachineState] = []
    while rig.control(NpuControl.STATUS.offset):
        file = io.BytesIO()
        rig.machine.save().write(file)
        states.append(MachineState.read(io.BytesIO(file.getvalue())))
        rig.step()
    ended = rig.machine.instructions
    assert len(states) > 6
    for state in states:
        rig.machine.restore(state)
        rig.machine.write_physical(OUTPUT, rig.machine.read_physical(OUTPUT, 16))
        assert rig.machine.save().core == state.core
        assert rig.wait() & DONE
        assert rig.machine.instructions == ended
        assert np.array_equal(output(rig), wanted)


def test_time_passes_by_bytes_and_multiplications(rig: Bench) -> None:
    times = []
    for rows in (1, 80):
        before = rig.machine.instructions
        rig.multiply(np.ones((rows, 4096), np.int8), np.ones((1024, 4096), np.int8))
        times.append(rig.machine.instructions - before)
    assert 4096 * 1024 / 16 < times[0] < 1.1 * 4096 * 1024 / 16
    assert 80 * 4096 * 1024 / 1024 < times[1] < 1.1 * 80 * 4096 * 1024 / 1024


def test_counters_tell_what_was_done(rig: Bench) -> None:
    rig.multiply(np.ones((3, 50), np.int8), np.ones((7, 50), np.int8))
    assert (rig.board.npu.counters(0).jobs, rig.board.npu.counters(0).macs) == (1, 3 * 50 * 7)


def test_features_that_were_loaded_in_part_do_not_stay(rig: Bench) -> None:
    rows = 344  # so many that the second half of their bytes is another step's
    features, weights = np.ones((rows, 1000), np.int8), np.ones((32, 1000), np.int8)
    rig.machine.write_physical(FEATURES, features_of(features))
    rig.machine.write_physical(WEIGHTS, weights_of(weights))
    rig.launch(Product(rows, 1000, 32, FEATURES, WEIGHTS, OUTPUT))
    for _ in range(2):
        rig.step()
    rig.put(NpuCore.PC_OPERATION_ENABLE.offset, 0)
    assert not rig.run(Product(rows, 1000, 32, FEATURES, WEIGHTS, OUTPUT, reuse=True)) & DONE
    assert rig.fault() == (Problem.BAD_VALUE, NpuCore.CNA_CBUF_CON0.offset)
