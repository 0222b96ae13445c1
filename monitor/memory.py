"""What the monitor keeps where: its carve-out of normal memory, and a world's context in its secure SRAM.

firmware/include/monitor_memory.h comes from here, and so does everything that looks at the monitor from outside.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

WORD = 8


class CarveOut(enum.IntEnum):
    """Offsets from the carve-out's base. The CPU and the SMMU's walker reach it, nobody else."""

    EL2_STUB = 0x0_0000  # two pages at most
    NORMAL_ROOT = 0x0_2000  # stage 2 of the normal world
    STORAGE_ROOT = 0x0_3000  # of its DMA masters
    DEVICE_LEVEL2 = 0x0_4000
    DEVICE_LEVEL3 = 0x0_5000  # three tables
    STREAM_TABLE = 0x0_8000
    COMMAND_QUEUE = 0x0_9000
    EVENT_QUEUE = 0x0_A000
    NPU_ROOT = 0x0_B000  # of the NPU's streams in secure mode
    NPU_WINDOWS = 0x0_C000  # level 3 of the NPU's registers, linked from one core table at a time
    DRIVER_ROOT = 0x0_D000
    DRIVER_DEVICES = 0x0_E000  # level 2
    DRIVER_LEVEL2 = 0x0_F000
    DRAM_LEVEL2 = 0x1_0000  # a table a GiB, in a row: indexed by 2 MiB block
    NPU_LEVEL2 = 0x2_0000  # a table a GiB, in a row
    DRIVER_LEVEL3 = 0x2_4000
    DRAM_LEVEL3 = 0x20_0000  # an entry a page, in a row: indexed by page


REVERSE_WRITE = 1 << 31  # of an entry of the reverse table: mapped writable. No page number of an IOVA has this bit

# Every register that EL1 or EL0 of a Cortex-A72 can write and that is each context's own, in the order of a context.
EL1_REGISTERS = (
    "sctlr_el1", "actlr_el1", "cpacr_el1", "ttbr0_el1", "ttbr1_el1", "tcr_el1", "mair_el1", "amair_el1",
    "contextidr_el1", "vbar_el1", "esr_el1", "far_el1", "afsr0_el1", "afsr1_el1", "par_el1", "elr_el1", "spsr_el1",
    "sp_el0", "sp_el1", "tpidr_el0", "tpidrro_el0", "tpidr_el1", "csselr_el1", "cntkctl_el1", "mdscr_el1", "pmcr_el0",
)  # fmt: skip

# EL1's timers are the normal world's, and go on in every context.
TIMER_REGISTERS = ("cntp_ctl_el0", "cntp_cval_el0", "cntv_ctl_el0", "cntv_cval_el0")


@dataclass(frozen=True)
class Field:
    """``words`` of 64 bits at ``offset`` of a context."""

    offset: int
    words: int


def _fields() -> Mapping[str, Field]:
    sizes = {"x": 31, "elr": 1, "spsr": 1, "scr": 1, "mdcr": 1, "fpcr": 1, "fpsr": 1, "v": 64,
             "el1": len(EL1_REGISTERS), "timers": len(TIMER_REGISTERS)}  # fmt: skip
    fields, offset = {}, 0
    for name, words in sizes.items():
        if name == "v":
            offset = -(-offset // 16) * 16
        fields[name] = Field(offset, words)
        offset += words * WORD
    return fields


CONTEXT = _fields()
CONTEXT_BYTES = -(-max(field.offset + field.words * WORD for field in CONTEXT.values()) // 16) * 16
