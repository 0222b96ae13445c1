"""The secure kernel of an attacked phone: the judge sees what its check of the NPU's sums finds, and may lift it."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.npu import CORES, NpuControl
from emulator.gate import Flow, Gate, Operation, Operations
from emulator.memory_map import NPU_CONTROL
from emulator.product_check import Verdict
from emulator.world_port import WorldPort
from nworld.attacks import Carelessness
from sworld.extent import Extent
from sworld.flexmem import Pool
from sworld.kernel import SecureKernel

CHECK = "check_accept"
NEVER_BUSY = NPU_CONTROL.base + NpuControl.FAULT.at(CORES - 1)  # of a core that no driver uses: it holds zero


class JudgedKernel(SecureKernel):
    """``verdict``: of the last check."""

    verdict: Verdict | None = None

    def __init__(
        self,
        gate: Gate,
        port: WorldPort,
        operations: Operations,
        clock: Callable[[], int],
        heap: int,
        *,
        use_npu: bool = True,
    ) -> None:
        self._check = operations[CHECK]
        watched = {**operations, CHECK: Operation(self._accept, self._check.cost)}
        super().__init__(gate, port, watched, clock, heap, use_npu=use_npu)

    def _accept(self, port: WorldPort, busy: int, results: tuple[int, ...], *arguments: int) -> int:
        self.verdict = Verdict(self._check.run(port, busy, results, *arguments))
        return self.verdict


class CredulousKernel(JudgedKernel):
    """Looks neither whether the NPU is still at work nor whether its sums are right."""

    def _accept(self, port: WorldPort, busy: int, results: tuple[int, ...], *arguments: int) -> int:
        super()._accept(port, NEVER_BUSY, results, *arguments)
        return Verdict.RIGHT


class GraspingPool(Pool):
    """Takes whatever it is granted."""

    def _grantable(self, extent: Extent) -> bool:
        return True


class GraspingKernel(CredulousKernel):
    pool_type = GraspingPool


class ForgetfulPool(Pool):
    """Keeps what was taken from it, whatever it says."""

    def _lose(self, revoked: Extent) -> Flow[None]:
        yield from ()


class ForgetfulKernel(CredulousKernel):
    pool_type = ForgetfulPool


CARELESS: dict[Carelessness, type[JudgedKernel]] = {
    Carelessness.CHECK_SUMS: CredulousKernel,
    Carelessness.CHECK_GRANTS: GraspingKernel,
    Carelessness.DROP_REVOKED: ForgetfulKernel,
}
