"""The NPU's driver against a register recorder: the order of its accesses is the hardware's."""

from __future__ import annotations

import pytest

from emulator.devices.npu import NpuControl, NpuCore
from emulator.gate import AccessAll, Flow, Wait
from emulator.memory_map import NPU0, NPU2, NPU_CONTROL
from emulator.registers import Register
from nworld.npu import JOB_DONE, Job, NpuDriver

JOB = Job(program=0x12_3450, words=44, tasks=3)


class Recorder:
    """Answers loads of the raw status from a list, then with the last of it."""

    def __init__(self, raw: list[int]) -> None:
        self.stores: list[tuple[int, int]] = []
        self.waits = 0
        self._raw = raw

    def play(self, flow: Flow[int]) -> int:
        reply: tuple[int, ...] | None = None
        try:
            while True:
                action = flow.send(reply)
                reply = None
                if isinstance(action, Wait):
                    self.waits += 1
                    continue
                assert isinstance(action, AccessAll)
                self.stores += [(address, value) for address, value in action.accesses if value is not None]
                loads = [address for address, value in action.accesses if value is None]
                reply = tuple(self._raw.pop(0) for _ in loads)
        except StopIteration as end:
            return int(end.value)


def at(base: int, register: Register) -> int:
    return base + register.offset


def test_job_is_launched_and_cleared_in_the_hardwares_order() -> None:
    recorder = Recorder([JOB_DONE])
    assert recorder.play(NpuDriver().run(JOB)) == JOB_DONE
    assert [address - NPU0.base for address, _ in recorder.stores] == [
        register.offset
        for register in (
            NpuCore.PC_BASE_ADDRESS, NpuCore.CNA_S_POINTER, NpuCore.CORE_S_POINTER, NpuCore.PC_BASE_ADDRESS,
            NpuCore.PC_REGISTER_AMOUNTS, NpuCore.PC_INTERRUPT_MASK, NpuCore.PC_INTERRUPT_CLEAR, NpuCore.PC_TASK_CON,
            NpuCore.PC_TASK_DMA_BASE_ADDR, NpuCore.PC_OPERATION_ENABLE,
            NpuCore.PC_OPERATION_ENABLE, NpuCore.PC_INTERRUPT_CLEAR,
        )
    ]  # fmt: skip
    values = [value for _, value in recorder.stores]
    assert values[:5] == [1, 0xE, 0xE, JOB.program, 21]
    assert (values[7] & 0xFFF, values[9], values[10]) == (JOB.tasks, 1, 0)


def test_nothing_is_cleared_before_the_job_is_over() -> None:
    recorder = Recorder([0, 0x3, 0x1000])
    assert recorder.play(NpuDriver().run(JOB)) == 0x1000
    assert recorder.waits == 3
    assert len(recorder.stores) == 12


@pytest.mark.parametrize(("core", "base"), [(0, NPU0.base), (2, NPU2.base)])
def test_each_core_is_driven_at_its_own_registers(core: int, base: int) -> None:
    recorder = Recorder([JOB_DONE])
    recorder.play(NpuDriver(core).run(JOB))
    assert {address & ~0xFFFF for address, _ in recorder.stores} == {base}
    assert recorder.stores[1] == (at(base, NpuCore.CNA_S_POINTER), 0xE | core << 28)


def test_power_comes_before_the_clock() -> None:
    recorder = Recorder([])

    def flow() -> Flow[int]:
        yield from NpuDriver().power()
        return 0

    recorder.play(flow())
    assert recorder.stores == [
        (at(NPU_CONTROL.base, NpuControl.POWER), 7), (at(NPU_CONTROL.base, NpuControl.CLOCK), 7)
    ]  # fmt: skip
