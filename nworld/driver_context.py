"""What lives in the driver context: serves one call of the secure world at a time and answers by DRIVER_RETURN.

The context has its own memory and, while the NPU is secure, the NPU's registers; stage 2 refuses everything else. An
access that its port refused is made again by the core, so that the monitor hears of it and ends the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emulator.gate import Arrival, Flow, Gate, GateFault, Operations, Registers, Runner, Thread
from emulator.memory_map import NORMAL_IMAGE_BASE
from emulator.world_port import PortAbort, WorldPort
from monitor.abi import DRIVER_READY, DRIVER_RETURN

ENTRY_REGISTERS = 6
UNKNOWN_OPERATION = (1 << 64) - 1
NOT_OURS = NORMAL_IMAGE_BASE  # stage 2 refuses it, which ends the call

Operation = Callable[..., Flow[Registers]]


class DriverContext:
    """Lives in ``gate`` with ``port``; ``serves`` has a flow for each operation that DRIVER_CALL may name.

    An operation gets DRIVER_CALL's x2 to x5 and gives DRIVER_RETURN's x1 to x5.
    """

    def __init__(self, gate: Gate, port: WorldPort, operations: Operations, clock: Callable[[], int]) -> None:
        self.gate = gate
        self.runner = Runner(gate, port, operations, clock, self._ended)
        self.serves: Mapping[int, Operation] = {}

    def arrived(self, arrival: Arrival) -> None:
        """Go on from ``arrival``; leaves the core at a site of the gate. Raises GateFault."""
        match arrival:
            case Arrival.RETURN | Arrival.IDLE:
                self._guarded(self.runner.returned)
            case Arrival.ENTRY:
                self._entered(self.gate.registers(ENTRY_REGISTERS))
            case Arrival.BOOT:
                self.gate.smc(DRIVER_READY.function, (self.gate.address(Arrival.ENTRY.value),))
            case Arrival.SYNC | Arrival.SERROR:
                self.gate.touch(NOT_OURS)  # an exception of its own that nobody here handles: it gives up
            case _:
                raise GateFault(f"the driver context cannot go on from {arrival.value}")

    def _entered(self, registers: Registers) -> None:
        """A call that never returned was ended by the monitor: its flow is dropped."""
        self.runner.abandon()
        _, operation, *arguments = registers
        flow = self.serves.get(operation, self._unknown)
        self._guarded(lambda: self.runner.resume(self.runner.start("driver", flow, tuple(arguments))))

    def _unknown(self, *_arguments: int) -> Flow[Registers]:
        yield from ()
        return (UNKNOWN_OPERATION,)

    def _guarded(self, go_on: Callable[[], None]) -> None:
        try:
            go_on()
        except PortAbort as abort:
            self.gate.touch(abort.address)

    def _ended(self, thread: Thread) -> None:
        assert isinstance(thread.result, tuple)
        self.gate.smc(DRIVER_RETURN.function, thread.result)
