"""The NPU, shaped like the RK3588's: three cores that multiply matrices by programs fetched through the SMMU.

The model is native (emulator/native/npu*.c, docs/npu.md); the declarations here drive it (they give the register table
npu_registers.h), name what it holds, and print as documentation.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from emulator.memory_map import NPU0, NPU1, NPU2, NPU_CONTROL, Window
from emulator.registers import RO, WO, Register

from .frame import Frame
from .npu_convolution import CnaBlock, CoreBlock
from .npu_output import AbsentBlocks, DpuBlock

if TYPE_CHECKING:
    from .native import NativeNpu, NpuCounters

CORES = 3
CBUF_BANKS, CBUF_BANK_BYTES = 12, 32 * 1024


class Target(enum.IntEnum):
    """Bits 63:48 of a register command: the block whose register it writes."""

    NONE = 0  # no operation
    MARKER = 0x0041  # before the operation enable; no effect
    ENABLE = 0x0081  # of the blocks that the value's bits name
    PC = 0x0101
    CNA = 0x0201
    CORE = 0x0801
    DPU = 0x1001
    DPU_RDMA = 0x2001
    PPU = 0x4001
    PPU_RDMA = 0x8001


class Problem(enum.IntEnum):
    """Why a core gave up a program; numbered as ``enum npu_problem`` in native/npu_api.h."""

    NONE = 0
    UNKNOWN_TARGET = 1  # a register command for no block
    UNKNOWN_REGISTER = 2  # or a write of bits that are reserved
    NOT_IMPLEMENTED = 3
    BAD_VALUE = 4  # a size of zero, registers that contradict each other
    UNALIGNED = 5
    TOO_LARGE = 6  # for the convolution buffer, or beyond 32 bits of address
    NO_END = 7  # a program without operation enable
    DMA_READ = 8
    DMA_WRITE = 9


_INTERRUPTS = {
    "cna_feature_0": (0, 0),
    "cna_feature_1": (1, 1),
    "cna_weight_0": (2, 2),
    "cna_weight_1": (3, 3),
    "cna_csc_0": (4, 4),
    "cna_csc_1": (5, 5),
    "core_0": (6, 6),
    "core_1": (7, 7),
    "dpu_0": (8, 8),
    "dpu_1": (9, 9),
    "ppu_0": (10, 10),
    "ppu_1": (11, 11),
    "dma_read_error": (12, 12),
    "dma_write_error": (13, 13),
    "program_error": (14, 14),
    "linux": (16, 15),
}
_INTERRUPTS_WHAT = "program_error is ours: NPU_CONTROL.FAULT says of what."


class PcBlock:
    """Fetches programs and starts the other blocks."""

    PC_VERSION = Register(0x0000, access=RO, reset=0x46495245, what="As Linux finds it on an RK3588.")
    PC_VERSION_NUM = Register(0x0004, access=RO, reset=0)
    PC_OPERATION_ENABLE = Register(
        0x0008,
        fields={"op_en": (0, 0), "blocks": (6, 1)},
        what="1 starts a job; 0 aborts one. blocks: of a program's last word, with target 0x81.",
    )
    PC_BASE_ADDRESS = Register(
        0x0010,
        fields={"pc_sel": (0, 0), "pc_source_addr": (31, 4)},
        what="Of the program. pc_sel: the core is driven by registers alone, which is not implemented.",
    )
    PC_REGISTER_AMOUNTS = Register(
        0x0014,
        fields={"pc_data_amount": (15, 0)},
        what="Pairs of words, minus one. A program may be longer by up to four words, its end.",
    )
    PC_INTERRUPT_MASK = Register(0x0020, fields=_INTERRUPTS, what="1: enabled.")
    PC_INTERRUPT_CLEAR = Register(0x0024, access=WO, fields=_INTERRUPTS, what="Clears raw status.")
    PC_INTERRUPT_STATUS = Register(0x0028, access=RO, fields=_INTERRUPTS, what="Raw status where the mask is 1.")
    PC_INTERRUPT_RAW_STATUS = Register(0x002C, access=RO, fields=_INTERRUPTS, what=_INTERRUPTS_WHAT)
    PC_TASK_CON = Register(
        0x0030,
        fields={"task_number": (11, 0), "task_pp_en": (12, 12), "task_count_clear": (13, 13), "linux": (14, 14)},
        what="How many tasks a job has. The rest has no effect: the count is cleared by every start.",
    )
    PC_TASK_DMA_BASE_ADDR = Register(0x0034, fields={"dma_base_addr": (31, 4)}, what="0.")
    PC_TASK_STATUS = Register(0x003C, access=RO, fields={"task_status": (27, 0)}, what="Tasks done of this job.")


class NpuCore(Frame, PcBlock, CnaBlock, CoreBlock, DpuBlock, AbsentBlocks):
    """A core of the NPU. CNA, CORE and DPU have two groups of registers; the pointer's is shown."""

    prefix = "NPU"


class NpuControl(Frame):
    """Power, clocks and resets of the NPU, of our own design: on the RK3588 they lie in its PMU and CRU."""

    prefix = "NPU_CONTROL"

    POWER = Register(0x000, fields={"cores": (2, 0)}, what="Taking it away resets the core.")
    CLOCK = Register(0x004, fields={"cores": (2, 0)}, what="A core without clock or power answers with bus errors.")
    RESET = Register(
        0x008,
        access=WO,
        fields={"cores": (2, 0)},
        what="Aborts the job; registers take their reset values, buffers are zero.",
    )
    STATUS = Register(0x00C, access=RO, fields={"busy": (2, 0)}, what="Cores with a job in flight.")
    FAULT = Register(
        0x010,
        access=RO,
        count=CORES,
        fields={"register": (15, 0), "problem": (19, 16, Problem)},
        what="Why the core's last job failed: the register's offset, or 0 for an address of the program.",
    )


class Npu:
    """The NPU of a machine. ``frames``: what to attach where."""

    def __init__(self, native: NativeNpu) -> None:
        self._native = native
        self.cores = tuple(NpuCore(native.window(1 + core, place)) for core, place in enumerate((NPU0, NPU1, NPU2)))
        self.control = NpuControl(native.window(0, NPU_CONTROL))
        self.frames: tuple[tuple[Window, Frame], ...] = (
            *zip((NPU0, NPU1, NPU2), self.cores, strict=True),
            (NPU_CONTROL, self.control),
        )

    def counters(self, core: int) -> NpuCounters:
        """What core ``core`` has done since the machine was made."""
        return self._native.counters(core)
