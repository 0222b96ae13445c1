"""Every page of every step goes through the core's stream and the filters at that instant."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from emulator.devices.npu import NpuCore, Problem
from emulator.devices.smmu_structures import Opcode
from emulator.events import EventKind, NpuWhat
from emulator.memory_map import DRAM_BASE, MIB, PAGE_SIZE, Nsaid, StreamId
from tests.emulator.devices.rig import id_access
from tests.emulator.devices.smmu_driver import ACCESS_FLAG, READ, VMID, SmmuDriver

from .bench import DONE, Bench, exact
from .program import Product, amount, chain, features_of, result_bytes, result_of, weights_of

READ_ERROR, WRITE_ERROR = 1 << 12, 1 << 13
ROWS, CHANNELS, KERNELS = 6, 1000, 6000
PROGRAM, FEATURES, WEIGHTS, OUTPUT = 0x0010_0000, 0x0020_0000, 0x0030_0000, 0xF000_0000  # as the NPU has them
PHYSICAL = DRAM_BASE + 16 * MIB


class Job:
    """One task, behind stream NPU1's own table, whose pages lie scattered in memory, or one after another."""

    def __init__(self, rig: Bench, core: int = 1, *, kernels: int = KERNELS, scattered: bool = True) -> None:
        self.rig, self.core, self.kernels = rig, core, kernels
        self.smmu = SmmuDriver(rig)
        for stream in (StreamId.NPU0, StreamId.NPU1, StreamId.NPU2):
            self.smmu.write_entry(self.smmu.entry() if stream == StreamId.NPU0 + core else self.smmu.entry(v=0), stream)
        dice = np.random.default_rng(7)
        features = dice.integers(-128, 128, (ROWS, CHANNELS), dtype=np.int8)
        weights = dice.integers(-128, 128, (kernels, CHANNELS), dtype=np.int8)
        self.wanted = exact(features, weights)
        self.task = Product(ROWS, CHANNELS, kernels, FEATURES, WEIGHTS, OUTPUT)
        self.pages: dict[int, int] = {}
        self._free = [PHYSICAL + PAGE_SIZE * page for page in range(2048)]
        if scattered:
            dice.shuffle(self._free)
        else:
            self._free.reverse()
        self.output_bytes = result_bytes(ROWS, kernels, "<i4")
        self.place(PROGRAM, chain([self.task], PROGRAM))
        self.place(FEATURES, features_of(features))
        self.place(WEIGHTS, weights_of(weights))
        self.place(OUTPUT, b"\xaa" * self.output_bytes)

    def place(self, address: int, data: bytes) -> None:
        for at in range(0, len(data), PAGE_SIZE):
            self.pages[address + at] = self._free.pop()
            self.smmu.map(address + at, self.pages[address + at])
            self.rig.machine.write_physical(self.pages[address + at], data[at : at + PAGE_SIZE])

    def start(self) -> None:
        self.rig.submit(PROGRAM, amount(self.task), core=self.core)

    def lock(self, address: int) -> None:
        """What the monitor does to a page: the entry, the SMMU's TLB, a CMD_SYNC."""
        self.smmu.map(address, 0, 0)
        self.smmu.command(Opcode.TLBI_S2_IPA, VMID, address)
        self.smmu.sync()

    def output(self) -> bytes:
        pages = (self.pages[OUTPUT + at] for at in range(0, self.output_bytes, PAGE_SIZE))
        return b"".join(self.rig.machine.read_physical(page, PAGE_SIZE) for page in pages)[: self.output_bytes]

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.rig.step()


@pytest.fixture
def job() -> Iterator[Job]:
    rig = Bench()
    yield Job(rig)
    rig.machine.close()


def whole(job: Job) -> None:
    assert np.array_equal(result_of(job.output(), ROWS, job.kernels, "<i4"), job.wanted)


def test_scattered_pages_give_the_product(job: Job) -> None:
    job.start()
    assert job.rig.wait(1) & DONE
    whole(job)


def test_the_other_cores_streams_are_not_used(job: Job) -> None:
    job.core = 0
    job.start()
    assert job.rig.wait(0) == READ_ERROR
    assert {args[0] for args in job.rig.seen(EventKind.SMMU_FAULT)} == {StreamId.NPU0}


@pytest.mark.parametrize(
    ("address", "error"),
    [(PROGRAM, READ_ERROR), (FEATURES, READ_ERROR), (WEIGHTS, READ_ERROR), (OUTPUT, WRITE_ERROR),
     (WEIGHTS + 300 * PAGE_SIZE, READ_ERROR), (OUTPUT + 8 * PAGE_SIZE, WRITE_ERROR)],
)  # fmt: skip
def test_a_page_that_is_not_mapped_is_a_dma_error(job: Job, address: int, error: int) -> None:
    job.smmu.map(address, 0, 0)
    job.start()
    assert job.rig.wait(1) == error
    (told,) = job.rig.told(NpuWhat.FAULT)
    assert told[2:5] == (Problem.DMA_READ if error == READ_ERROR else Problem.DMA_WRITE, 0, address)
    assert job.output()[-1024:] == b"\xaa" * 1024


def test_a_program_that_goes_beyond_32_bits_ends_there(job: Job) -> None:
    job.place(0xFFFF_F000, bytes(PAGE_SIZE))
    job.rig.submit(0xFFFF_F800, 0x1FF, core=1)
    assert job.rig.wait(1) == 1 << 14
    (told,) = job.rig.told(NpuWhat.FAULT)
    assert told[2:5] == (Problem.TOO_LARGE, NpuCore.PC_REGISTER_AMOUNTS.offset, 0x1FF)


def test_a_page_that_may_only_be_read_is_not_written(job: Job) -> None:
    job.smmu.map(OUTPUT, job.pages[OUTPUT], READ | ACCESS_FLAG)
    job.start()
    assert job.rig.wait(1) == WRITE_ERROR
    assert job.output() == b"\xaa" * job.output_bytes


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_lock_under_a_job_ends_it_and_nothing_is_written_afterwards(job: Job, steps: int) -> None:
    job.start()
    job.steps(steps)
    job.lock(OUTPUT + (job.output_bytes - 1) // PAGE_SIZE * PAGE_SIZE)
    assert job.rig.wait(1) == WRITE_ERROR
    last = job.output_bytes % PAGE_SIZE
    assert job.output()[-last:] == b"\xaa" * last


@pytest.mark.parametrize("steps", range(2, 8))
def test_weights_locked_under_a_job_are_not_read(job: Job, steps: int) -> None:
    job.start()
    job.steps(steps)
    for address in job.pages:
        if WEIGHTS <= address < OUTPUT:
            job.lock(address)
    job.rig.forget()
    assert job.rig.wait(1) == READ_ERROR
    assert not [args for args in job.rig.seen(EventKind.DMA) if not args[4]]


@pytest.mark.parametrize(
    ("address", "error"),
    [(FEATURES + PAGE_SIZE, READ_ERROR), (WEIGHTS + 300 * PAGE_SIZE, READ_ERROR),
     (OUTPUT + 8 * PAGE_SIZE, WRITE_ERROR)],
)  # fmt: skip
def test_a_page_locked_between_two_jobs_is_refused_among_its_neighbours(address: int, error: int) -> None:
    """The same job again: its pages lie together, and those before the locked one are as they were."""
    rig = Bench()
    job = Job(rig, kernels=6016, scattered=False)
    for _ in range(2):
        job.start()
        assert rig.wait(1) & DONE
        whole(job)
    job.lock(address)
    rig.forget()
    job.start()
    assert rig.wait(1) == error
    (told,) = rig.told(NpuWhat.FAULT)
    assert told[4] == address
    rig.machine.close()


def test_posted_output_is_written_by_cmd_sync(job: Job) -> None:
    job.start()
    while not [args for args in job.rig.seen(EventKind.NPU) if args[1] != NpuWhat.STARTED]:
        before = job.output()
        job.smmu.sync()
        if job.output() != before:
            break
        job.rig.step()
    assert job.output()[:1024] != b"\xaa" * 1024
    job.lock(OUTPUT)
    assert job.rig.wait(1) & DONE, "its first page is written already"
    whole(job)


def test_posted_output_lands_where_it_was_translated_to(job: Job) -> None:
    """Without TLBI and CMD_SYNC the write that is under way is still performed: the monitor has to ask."""
    job.start()
    job.steps(3)
    job.smmu.map(OUTPUT, 0, 0)
    before = job.output()
    job.steps(1)
    assert job.output() != before


OTHERS, EVERYBODY = tuple(nsaid for nsaid in Nsaid if nsaid != Nsaid.NPU1), tuple(Nsaid)
SECURE_TOO = 0xC000_0001


def deny_reads(rig: Bench, page: int) -> None:
    access = id_access(read=OTHERS, write=EVERYBODY)
    rig.region(1, page, page + PAGE_SIZE - 1, attributes=SECURE_TOO, access=access)


def deny_writes(rig: Bench, page: int) -> None:
    access = id_access(read=EVERYBODY, write=OTHERS)
    rig.region(1, page, page + PAGE_SIZE - 1, attributes=SECURE_TOO, access=access)


@pytest.mark.parametrize(
    ("deny", "address", "error"),
    [(deny_reads, WEIGHTS + 0x15_0000, READ_ERROR), (deny_writes, OUTPUT, WRITE_ERROR)],
)
@pytest.mark.parametrize("steps", [0, 2, 3])
def test_the_tzasc_judges_every_step(
    job: Job, deny: Callable[[Bench, int], None], address: int, error: int, steps: int
) -> None:
    job.start()
    job.steps(steps)
    deny(job.rig, job.pages[address])
    assert job.rig.wait(1) == error
    assert job.rig.seen(EventKind.DENIED)[-1][1] == Nsaid.NPU1
    assert job.output()[:PAGE_SIZE] == b"\xaa" * PAGE_SIZE or error == READ_ERROR


def test_a_register_window_is_no_memory(job: Job) -> None:
    job.smmu.map(OUTPUT, 0x0A23_0000)
    job.start()
    assert job.rig.wait(1) == WRITE_ERROR
