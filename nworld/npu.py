"""Driver of the NPU: power, launch, completion. The same class in the normal kernel and in the secure world's sandbox.

It knows nothing of what a job computes: a job is the DMA address of a program, whose tasks chain to each other. The
order of the stores is that of Linux' rocket driver (drivers/accel/rocket/rocket_job.c).
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.devices.npu import NpuControl, NpuCore
from emulator.devices.npu_program import amount
from emulator.gate import Flow, access_all, wait
from emulator.memory_map import FIRST_SPI, NPU0, NPU1, NPU2, NPU_CONTROL

CORES = (NPU0, NPU1, NPU2)
ALL_CORES = (1 << len(CORES)) - 1
POINTER = 0xE  # S_POINTER: programs fill one register group while the other is at work
CORE_SHIFT = 28  # of S_POINTER
TASK_MODE = 0x7000  # TASK_CON beside the number of tasks
JOB_DONE = 0x300  # the two groups of the DPU: nothing of a task comes after it
JOB_FAILED = 0x7000  # DMA read error, DMA write error, program error
ALL_INTERRUPTS = 0x1FFFF


@dataclass(frozen=True)
class Job:
    """``program``: DMA address; ``words``: commands of its first task; ``tasks`` in all."""

    program: int
    words: int
    tasks: int


class NpuDriver:
    """Drives core ``core``; all three are powered together."""

    def __init__(self, core: int = 0) -> None:
        self._core = core
        self._base = CORES[core].base

    @property
    def interrupt(self) -> int:
        """The GIC's number of the core's interrupt: its line is high from the end of a job until `poll` has seen it."""
        spi = CORES[self._core].spi
        assert spi is not None
        return FIRST_SPI + spi

    def power(self) -> Flow[None]:
        """Power and clock on: after every switch of the NPU between the worlds they are off."""
        yield from access_all(
            (NPU_CONTROL.base + NpuControl.POWER.offset, ALL_CORES),
            (NPU_CONTROL.base + NpuControl.CLOCK.offset, ALL_CORES),
        )

    def start(self, job: Job) -> Flow[None]:
        """Begin ``job``; the core must be idle."""
        pointer = POINTER | self._core << CORE_SHIFT
        yield from access_all(
            (self._base + NpuCore.PC_BASE_ADDRESS.offset, 1),
            (self._base + NpuCore.CNA_S_POINTER.offset, pointer),
            (self._base + NpuCore.CORE_S_POINTER.offset, pointer),
            (self._base + NpuCore.PC_BASE_ADDRESS.offset, job.program),
            (self._base + NpuCore.PC_REGISTER_AMOUNTS.offset, amount(job.words)),
            (self._base + NpuCore.PC_INTERRUPT_MASK.offset, JOB_DONE | JOB_FAILED),
            (self._base + NpuCore.PC_INTERRUPT_CLEAR.offset, JOB_DONE | JOB_FAILED),
            (self._base + NpuCore.PC_TASK_CON.offset, TASK_MODE | job.tasks),
            (self._base + NpuCore.PC_TASK_DMA_BASE_ADDR.offset, 0),
            (self._base + NpuCore.PC_OPERATION_ENABLE.offset, 1),
        )

    def poll(self) -> Flow[int]:
        """The raw interrupt status once the job is over, or 0."""
        (raw,) = yield from access_all((self._base + NpuCore.PC_INTERRUPT_RAW_STATUS.offset, None))
        if not raw & (JOB_DONE | JOB_FAILED):
            return 0
        yield from access_all(
            (self._base + NpuCore.PC_OPERATION_ENABLE.offset, 0),
            (self._base + NpuCore.PC_INTERRUPT_CLEAR.offset, ALL_INTERRUPTS),
        )
        return raw

    def finish(self) -> Flow[int]:
        """Wait for the end of the job: the raw interrupt status."""
        while not (raw := (yield from self.poll())):
            yield from wait()
        return raw

    def run(self, job: Job) -> Flow[int]:
        """Begin ``job`` and wait for its end: the raw interrupt status."""
        yield from self.start(job)
        yield from wait()
        return (yield from self.finish())
