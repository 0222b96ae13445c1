"""What the judge of attacks sees of the NPU: whose it is, what it does, and what its registers hold."""

from __future__ import annotations

from emulator.devices.npu import NpuControl, NpuCore
from emulator.devices.smmu import Smmu
from emulator.memory_map import NPU0, NPU_CONTROL, PAGE_SIZE, SMMU, StreamId
from emulator.registers import WO, Register
from monitor.abi import Vmid
from monitor.view import STREAM_ENTRY_BYTES, read_reverse_table, read_stream

from .evidence import Evidence
from .system import System

ENTRY_BYTES = 8


class NpuJudge:
    """The `nworld.attacks.scene.NpuScene` of ``system``."""

    def __init__(self, system: System, evidence: Evidence) -> None:
        self._system = system
        self._machine = system.machine
        self._layout = system.machine.layout
        self._evidence = evidence

    def is_secure(self) -> bool:
        stream = read_stream(self._machine, self._stream_table(), StreamId.NPU0)
        return stream is not None and stream.vmid == Vmid.NPU

    def secure_job_under_way(self) -> bool:
        tasks = self._read(NpuCore.PC_TASK_CON) & NpuCore.PC_TASK_CON.fields["task_number"].mask
        left = tasks - self._read(NpuCore.PC_TASK_STATUS)
        return self.is_secure() and self.job_under_way() and left > 1

    def drains(self) -> bool:
        return self.job_under_way() and not self.is_secure() and self._evidence.npu_is_wanted()

    def job_under_way(self) -> bool:
        return bool(self._machine.read_register(NPU_CONTROL, NpuControl.STATUS.offset))

    def registers(self) -> dict[int, int]:
        readable = (offset for register, _, offset in NpuCore.elements() if register.access is not WO)
        return {offset: self._machine.read_register(NPU0, offset) for offset in readable}

    def has_moved_data(self) -> bool:
        return self._evidence.npu_has_moved_data()

    def was_aborted(self) -> bool:
        return self._evidence.npu_was_aborted()

    # For the judge

    def page_of(self, name: str) -> int:
        """The first page of the region ``name`` of the secure world's pool."""
        (region,) = (one for one in self._system.secure.pool.state.regions if one.name == name)
        return region.frames[0]

    def iova(self, page: int) -> int:
        """Where the NPU finds ``page`` in secure mode."""
        return read_reverse_table(self._machine, self._layout)[page]

    def stream_entry(self) -> int:
        """Address of the stream table's entry of core 0."""
        return self._stream_table() + StreamId.NPU0 * STREAM_ENTRY_BYTES

    def table_entry(self, page: int) -> int:
        """Address of the stage-2 descriptor by which the NPU reaches ``page`` in secure mode."""
        return self._layout.npu_tables_base + self.iova(page) // PAGE_SIZE * ENTRY_BYTES

    def _read(self, register: Register) -> int:
        return self._machine.read_register(NPU0, register.offset)

    def _stream_table(self) -> int:
        register = Smmu.STRTAB_BASE
        return self._machine.read_register(SMMU, register.offset) & register.fields["address"].mask
