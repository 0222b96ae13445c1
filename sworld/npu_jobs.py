"""The NPU's jobs: sets of products over the same features, each with its program and the projection of its weights.

Programs and projections stay in memory and serve every token; both are lost when a recall takes their pages, and then
made again. What the NPU reads or writes besides weights lies in staging areas of its own: no activation that this world
goes on working with is in its reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from emulator.devices import npu_program
from emulator.devices.npu import NpuControl
from emulator.gate import Flow, charge, compute, write
from emulator.memory_map import NPU_CONTROL, PAGE_SIZE

from .flexmem import Pool
from .matrix_layout import padded, weights_size
from .npu_memory import NpuMemory
from .npu_tiles import tasks, tile_rows
from .products import Product
from .region import DeviceAccess, Kind, Region

PROGRAM_BYTES = 2 << 20
MAX_COUNT = 2048  # feature rows of a job
NUMBER = 8  # bytes of a projected or expected value
INSTRUCTIONS_PER_COMMAND = 4  # to compose a register command
STATUS = NPU_CONTROL.base + NpuControl.STATUS.offset  # zero: no job is under way
FEATURES = slice(2, 5)  # of a product: what the products of one job have in common


@dataclass(frozen=True)
class Limits:
    """Bytes of the largest features and sums of a set, and of all projections together."""

    features: int
    sums: int
    projections: int


@dataclass(frozen=True)
class Job:
    """``program``: a DMA address. ``offer``, ``accept``: what the computations of these names take."""

    program: int
    words: int
    tasks: int
    offer: tuple[int, ...]
    accept: tuple[int | tuple[int, ...], ...]
    macs: int


Products: TypeAlias = tuple[Product, ...]
Matrices: TypeAlias = tuple[tuple[tuple[int, int], ...], int]  # (matrix, rows) of each product, columns


@dataclass
class BookState:
    """``next_*``: bytes in use of the regions. ``whole``: jobs that lack nothing while the pool counts ``moves``."""

    jobs: dict[Products, Job] = field(default_factory=dict)
    whole: dict[Products, Job] = field(default_factory=dict)
    projections: dict[Matrices, int] = field(default_factory=dict)
    next_program: int = 0
    next_projection: int = 0
    moves: int = -1


class JobBook:
    """Jobs of one open model."""

    def __init__(self, pool: Pool, memory: NpuMemory, limits: Limits, key: int) -> None:
        self.state = BookState()
        self._key = key
        self._pool = pool
        self._memory = memory
        self._limits = limits
        self.features = self._reserve("npu features", limits.features, DeviceAccess.READ)
        self._programs = self._reserve("npu programs", PROGRAM_BYTES, DeviceAccess.READ)
        self._sums = self._reserve("npu sums", limits.sums, DeviceAccess.WRITE)
        self._secrets = self._reserve("npu checks", MAX_COUNT * NUMBER + limits.projections, DeviceAccess.NONE)

    def known(self, products: Products) -> Job | None:
        """The job that computes ``products``, ready to be launched, if nothing has to be done for it."""
        return self.state.whole.get(products) if self.state.moves == self._pool.state.moves else None

    def find(self, products: Products) -> Flow[Job | None]:
        """The job that computes ``products``, ready to be launched; None: it is none for the NPU."""
        if not self._fits(products):
            return None
        first = products[0]
        yield from self._back(first.features_size, sum(product.sums_size for product in products))
        self._forget_lost()
        if self.state.moves != self._pool.state.moves:
            self.state.whole.clear()
            self.state.moves = self._pool.state.moves
        job = self.state.jobs.get(products) or (yield from self._make(products))
        if job and self.state.moves == self._pool.state.moves:
            self.state.whole[products] = job
        return job

    def _reserve(self, name: str, size: int, device: DeviceAccess) -> Region:
        return self._pool.reserve(Kind.ACTIVATIONS, name, size, device)

    def _fits(self, products: Products) -> bool:
        """One set of features for all, and room in the staging areas."""
        first = products[0]
        return (
            all(product[FEATURES] == first[FEATURES] for product in products)
            and first.feature_rows <= MAX_COUNT
            and first.features_size <= self._limits.features
            and sum(product.sums_size for product in products) <= self._limits.sums
        )

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
            self._forget_programs()
        self._secrets.ready = self._programs.ready = True

    def _forget_programs(self) -> None:
        self.state.jobs.clear()
        self.state.whole.clear()
        self.state.next_program = 0

    def _make(self, products: Products) -> Flow[Job | None]:
        first = products[0]
        columns, count = first.columns, first.feature_rows
        tile = tile_rows(columns, count)
        features = self._memory.address(self.features.va, first.features_size)
        if tile is None or features is None:
            return None
        staged, results, work = self._sums.va, list[int](), list[npu_program.Task]()
        for product in products:
            weights = self._memory.address(product.weights, weights_size(product.rows, columns))
            sums = self._memory.address(staged, product.sums_size)
            if weights is None or sums is None:
                return None
            work += tasks(tile, product.rows, columns, count, features, weights, sums)
            results += staged, product.rows, product.sums
            staged += product.sums_size
        place = yield from self._write(npu_program.program_size(len(work)), work)
        if place is None:
            return None
        projection = yield from self._project(products)
        job = Job(
            place, npu_program.TASK_COMMANDS, len(work),
            (first.features, columns, count, tile, projection, self.features.va, self._secrets.va),
            (STATUS, tuple(results), count, tile, self._key, self._secrets.va),
            sum(product.rows for product in products) * columns * count,
        )  # fmt: skip
        self.state.jobs[products] = job
        return job

    def _write(self, size: int, work: list[npu_program.Task]) -> Flow[int | None]:
        """The DMA address of a new program; when there is no room, all others go."""
        if size > PROGRAM_BYTES:
            return None
        if self.state.next_program + size > PROGRAM_BYTES:
            self._forget_programs()
        offset = self.state.next_program
        self.state.next_program += size
        yield from self._pool.back(self._programs, _pages(self.state.next_program))
        place = self._memory.address(self._programs.va + offset, size)
        if place is not None:
            program = npu_program.program(work, place)
            yield from charge(INSTRUCTIONS_PER_COMMAND * len(program) // npu_program.COMMAND_BYTES)
            yield from write(self._programs.va + offset, program)
        return place

    def _project(self, products: Products) -> Flow[int]:
        """The projection of all weights of a set, row numbers going on from product to product."""
        columns = products[0].columns
        matrices = tuple((product.matrix, product.rows) for product in products), columns
        known = self.state.projections.get(matrices)
        if known is not None:
            return known
        offset, generation = self.state.next_projection, self._secrets.generation
        place, end = self._secrets.va + MAX_COUNT * NUMBER + offset, offset + NUMBER * padded(columns)
        yield from self._pool.back(self._secrets, _pages(MAX_COUNT * NUMBER + end))
        row = 0
        for product in products:
            add = int(row > 0)
            yield from compute("check_project", product.weights, product.rows, columns, self._key, row, add, place)
            row += padded(product.rows)
        if self._secrets.generation == generation:  # room is taken by what is there: weights may have gone meanwhile
            self.state.projections[matrices] = place
            self.state.next_projection = end
        return place


def _pages(size: int) -> int:
    return -(-size // PAGE_SIZE)
