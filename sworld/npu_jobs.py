"""The NPU's jobs: sets of products over the same features, each with its program and the projection of its weights.

Programs and projections stay in memory and serve every token; both are lost when a recall takes their pages, and then
made again. What the NPU reads or writes besides weights lies in staging areas of its own: no activation that this world
goes on working with is in its reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from emulator.devices import npu_program
from emulator.gate import Flow, charge, compute, write
from emulator.memory_map import PAGE_SIZE
from emulator.product_check import Sums

from .flexmem import DeviceAccess, Kind, Pool, Region
from .matrix_layout import INT32, padded, weights_size
from .npu_memory import NpuMemory
from .npu_tiles import tasks, tile_rows
from .products import Product

PROGRAM_BYTES = 2 << 20
MAX_COUNT = 2048  # feature rows of a job
NUMBER = 8  # bytes of a projected or expected value
INSTRUCTIONS_PER_COMMAND = 4  # to compose a register command


@dataclass(frozen=True)
class Limits:
    """Bytes of the largest features and sums of a set, and of all projections together."""

    features: int
    sums: int
    projections: int


@dataclass(frozen=True)
class Job:
    """``program``: a DMA address; ``tile``: feature rows of a task; ``sums``: where each product's are staged."""

    program: int
    words: int
    tasks: int
    tile: int
    projection: int
    sums: tuple[int, ...]
    macs: int


Key = tuple[tuple[tuple[int, int], ...], int]  # (matrix, rows) of each product, columns


@dataclass
class BookState:
    """``next_*``: bytes in use of the regions."""

    jobs: dict[tuple[Key, int], Job] = field(default_factory=dict)
    projections: dict[Key, int] = field(default_factory=dict)
    next_program: int = 0
    next_projection: int = 0


class JobBook:
    """Jobs of one open model."""

    def __init__(self, pool: Pool, memory: NpuMemory, limits: Limits, key: int) -> None:
        self.state = BookState()
        self.key = key
        self._pool = pool
        self._memory = memory
        self._limits = limits
        self.features = self._reserve("npu features", limits.features, DeviceAccess.READ)
        self._programs = self._reserve("npu programs", PROGRAM_BYTES, DeviceAccess.READ)
        self._sums = self._reserve("npu sums", limits.sums, DeviceAccess.WRITE)
        self._secrets = self._reserve("npu checks", MAX_COUNT * NUMBER + limits.projections, DeviceAccess.NONE)

    @property
    def expected(self) -> int:
        """Virtual address of what the sums of the job under way are to give."""
        return self._secrets.va

    def find(self, products: Sequence[Product]) -> Flow[Job | None]:
        """The job that computes ``products``, ready to be launched; None: it is none for the NPU."""
        if not self._fits(products):
            return None
        first = products[0]
        yield from self._back(first.features_size, sum(product.sums_size for product in products))
        self._forget_lost()
        key = tuple((product.matrix, product.rows) for product in products), first.columns
        job = self.state.jobs.get((key, first.count))
        if job is None:
            job = yield from self._make(products, key)
        return job

    def results(self, job: Job, products: Sequence[Product]) -> tuple[Sums, ...]:
        """Where the sums come from and where they go."""
        return tuple((staged, product.rows, product.sums) for staged, product in zip(job.sums, products, strict=True))

    def discard(self) -> Flow[None]:
        """The model is closed."""
        for region in (self.features, self._programs, self._sums, self._secrets):
            yield from self._pool.discard(region)

    def _reserve(self, name: str, size: int, device: DeviceAccess) -> Region:
        return self._pool.reserve(Kind.ACTIVATIONS, name, size, device)

    def _fits(self, products: Sequence[Product]) -> bool:
        """One set of features for all, and room in the staging areas."""
        first = products[0]
        return (
            all((product.features, product.columns, product.count) == (first.features, first.columns, first.count)
                for product in products)
            and first.count <= MAX_COUNT
            and first.features_size <= self._limits.features
            and sum(product.sums_size for product in products) <= self._limits.sums
        )  # fmt: skip

    def _back(self, features: int, sums: int) -> Flow[None]:
        wanted = (
            (self.features, features),
            (self._sums, sums),
            (self._programs, self.state.next_program),
            (self._secrets, MAX_COUNT * NUMBER + self.state.next_projection),
        )
        while any(len(region.frames) < _pages(size) for region, size in wanted):
            for region, size in wanted:
                yield from self._pool.back(region, _pages(size))

    def _forget_lost(self) -> None:
        """A region that lost its pages is not ``ready`` any more."""
        if not self._secrets.ready:
            self.state.projections.clear()
            self.state.next_projection = 0
        if not (self._secrets.ready and self._programs.ready):
            self.state.jobs.clear()
            self.state.next_program = 0
        self._secrets.ready = self._programs.ready = True

    def _make(self, products: Sequence[Product], key: Key) -> Flow[Job | None]:
        first = products[0]
        tile = tile_rows(first.columns, first.count)
        features = self._memory.address(self.features.va, first.features_size)
        if tile is None or features is None:
            return None
        staged, done, work = self._sums.va, [], []
        for product in products:
            weights = self._memory.address(product.weights, weights_size(product.rows, product.columns))
            sums = self._memory.address(staged, product.sums_size)
            if weights is None or sums is None:
                return None
            work += tasks(tile, product.rows, first.columns, first.count, features, weights, sums)
            done.append(staged)
            staged += INT32 * padded(product.rows) * first.count
        place = yield from self._write(npu_program.program_size(len(work)), work)
        if place is None:
            return None
        projection = yield from self._project(products, key)
        macs = sum(product.rows for product in products) * first.columns * first.count
        job = Job(place, npu_program.TASK_COMMANDS, len(work), tile, projection, tuple(done), macs)
        self.state.jobs[key, first.count] = job
        return job

    def _write(self, size: int, work: list[npu_program.Task]) -> Flow[int | None]:
        """The DMA address of a new program; when there is no room, all others go."""
        if size > PROGRAM_BYTES:
            return None
        if self.state.next_program + size > PROGRAM_BYTES:
            self.state.jobs.clear()
            self.state.next_program = 0
        offset = self.state.next_program
        self.state.next_program += size
        yield from self._pool.back(self._programs, _pages(self.state.next_program))
        place = self._memory.address(self._programs.va + offset, size)
        if place is not None:
            program = npu_program.program(work, place)
            yield from charge(INSTRUCTIONS_PER_COMMAND * len(program) // npu_program.COMMAND_BYTES)
            yield from write(self._programs.va + offset, program)
        return place

    def _project(self, products: Sequence[Product], key: Key) -> Flow[int]:
        """The projection of all weights of a set, row numbers going on from product to product."""
        known = self.state.projections.get(key)
        if known is not None:
            return known
        columns = products[0].columns
        place = self._secrets.va + MAX_COUNT * NUMBER + self.state.next_projection
        self.state.next_projection += NUMBER * padded(columns)
        yield from self._pool.back(self._secrets, _pages(MAX_COUNT * NUMBER + self.state.next_projection))
        row = 0
        for product in products:
            add = int(row > 0)
            yield from compute("check_project", product.weights, product.rows, columns, self.key, row, add, place)
            row += padded(product.rows)
        self.state.projections[key] = place
        return place


def _pages(size: int) -> int:
    return -(-size // PAGE_SIZE)
