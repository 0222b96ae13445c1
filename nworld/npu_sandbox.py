"""The normal world's NPU driver in the driver context, where it works for the secure world and reaches nothing else.

The object is a fresh one: nothing that the normal kernel's driver knows is in it, and nothing of it leaves but answers.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.gate import Flow, Gate, Operations, Registers
from emulator.world_port import WorldPort
from monitor.services.messages import DriverOperation, DriverStatus

from .driver_context import DriverContext
from .npu import JOB_FAILED, Job, NpuDriver


class NpuSandbox(DriverContext):
    """Serves the operations of the message table; one job at a time."""

    def __init__(self, gate: Gate, port: WorldPort, operations: Operations, clock: Callable[[], int]) -> None:
        super().__init__(gate, port, operations, clock)
        self.driver = NpuDriver()
        self.serves = {
            DriverOperation.POWER: self.power,
            DriverOperation.RUN: self.run,
            DriverOperation.SUBMIT: self.submit,
            DriverOperation.WAIT: self.wait,
        }
        self._under_way = False

    def power(self, *_: int) -> Flow[Registers]:
        self._under_way = False
        yield from self.driver.power()
        return (DriverStatus.DONE,)

    def run(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        return _answer((yield from self.driver.run(Job(program, words, tasks))))

    def submit(self, program: int, words: int, tasks: int, *_: int) -> Flow[Registers]:
        self._under_way = True
        yield from self.driver.start(Job(program, words, tasks))
        return (DriverStatus.DONE,)

    def wait(self, *_: int) -> Flow[Registers]:
        if not self._under_way:
            return (DriverStatus.NO_JOB,)
        self._under_way = False
        return _answer((yield from self.driver.finish()))


def _answer(raw_status: int) -> Registers:
    return (DriverStatus.JOB_FAILED if raw_status & JOB_FAILED else DriverStatus.DONE, raw_status)
