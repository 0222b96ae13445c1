"""The NPU as tests of the monitor see it: who reaches it, and jobs that are in flight."""

from __future__ import annotations

from emulator.debug.stream_walk import explain_stream
from emulator.debug.walk import Access
from emulator.memory_map import NPU0, NPU1, NPU2, NPU_CONTROL, PAGE_SIZE, StreamId

from .phone import Phone

CORES = (NPU0, NPU1, NPU2)
STREAMS = (StreamId.NPU0, StreamId.NPU1, StreamId.NPU2)
POWER, CLOCK, STATUS = (NPU_CONTROL.base + offset for offset in (0x0, 0x4, 0xC))
OPERATION_ENABLE, BASE_ADDRESS, REGISTER_AMOUNTS, TASK_CON = 0x08, 0x10, 0x14, 0x30
EVERY_PAGE = [page for window in (*CORES, NPU_CONTROL) for page in range(window.base, window.end, PAGE_SIZE)]
LONGEST = 0xFFFF  # pairs of words: fetching them takes a while
MANY_TASKS = 0xFFF


def normal_reaches(phone: Phone, address: int) -> bool:
    """Whether the normal world can load a word from there, with whatever its TLB still holds."""
    return phone.probe("probe_read_word", address) == "registers_done"


def power_on(phone: Phone, store: str = "probe_write_word") -> None:
    """As the normal world's driver does first."""
    for register in (POWER, CLOCK):
        assert phone.probe(store, register, 7) == "registers_done"


def start_job(phone: Phone, program: int, core: int = 0) -> None:
    """The normal world starts a job on a core that is on: whatever is in memory there, as a program."""
    base = CORES[core].base
    for register, value in (
        (BASE_ADDRESS, program), (REGISTER_AMOUNTS, LONGEST), (TASK_CON, MANY_TASKS), (OPERATION_ENABLE, 1),
    ):  # fmt: skip
        assert phone.probe("probe_write_word", base + register, value) == "registers_done"


def dma_reaches(phone: Phone, address: int, write: bool = False) -> set[StreamId]:
    """Which of the NPU's streams the SMMU lets through at this DMA address, by its tables and the filters."""
    access = Access.WRITE if write else Access.READ
    return {stream for stream in STREAMS if explain_stream(phone.machine, stream, address, access).allowed}
