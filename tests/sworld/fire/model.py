"""A model so small that its flows can be run thousands of times, and computations that only look at memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from emulator.devices.trusted import Slot, fuse_key
from emulator.gate import Argument, Operation, Operations
from emulator.memory_map import PAGE_SIZE
from emulator.product_check import Verdict
from emulator.tensor import TENSOR_OPERATIONS
from flexserve.attacked_model import attacked_medium
from sworld.flexmem import Pool
from sworld.loader import LOADER_OPERATIONS
from sworld.package import HEADER_SIZE, Package, open_chunk
from sworld.region import Kind
from sworld.shape import ModelShape

from .core import Driver
from .judge import SECRET
from .memory import ModelPort, is_flex_mem

SHAPE = ModelShape(
    vocabulary=320,
    width=32,
    layers=2,
    heads=2,
    kv_heads=1,
    feed_forward=64,
    context=16,
    rope_base=10000.0,
    norm_epsilon=1e-5,
    tied=True,
)
SLOT = "assistant"
TOKEN = 5  # that is always chosen
WRITES_LAST = {name for name in TENSOR_OPERATIONS if name not in ("tensor_argmax", "tensor_sample")}
CHECKS = ("check_project", "check_offer", "check_accept")


@dataclass(frozen=True)
class Stored:
    """``plaintexts``: each chunk's contents by name."""

    medium: bytes
    slot: Slot
    plaintexts: dict[str, bytes]

    def plain_pages(self) -> frozenset[bytes]:
        """Whole pages of decrypted weights."""
        pages = (content[at : at + PAGE_SIZE] for content in self.plaintexts.values()
                 for at in range(0, len(content) - PAGE_SIZE + 1, PAGE_SIZE))  # fmt: skip
        return frozenset(page for page in pages if any(page))


@functools.cache
def stored() -> Stored:
    made = attacked_medium(SHAPE)
    content = bytes(made.content)
    package = Package.parse(content[: Package.metadata_size(content[:HEADER_SIZE])], fuse_key(0))
    plaintexts = {}
    for index, chunk in enumerate(package.chunks):
        size, key, number, associated, tag = package.opening(index)
        at = chunk.block * PAGE_SIZE
        plain = open_chunk(key, number, associated, content[at : at + size], tag)
        assert plain is not None
        plaintexts[chunk.name] = plain
    return Stored(content, made.slot, plaintexts)


class Computations:
    """What the secure kernel computes, as far as memory goes: weights must be the model's, results are SECRET."""

    def __init__(self, plaintexts: dict[str, bytes]) -> None:
        self.pool: Pool | None = None
        self.driver = Driver()
        self._plaintexts = plaintexts

    def operations(self) -> Operations:
        tensors = {
            name: Operation(functools.partial(self._tensor, name), lambda *_: 1) for name in TENSOR_OPERATIONS
        }
        checks = {name: Operation(functools.partial(self._check, name), lambda *_: 1) for name in CHECKS}
        return {**LOADER_OPERATIONS, **tensors, **checks}

    def _tensor(self, name: str, port: ModelPort, *arguments: int) -> int:
        places = [argument for argument in arguments if is_flex_mem(argument)]
        for place in places:
            self._use(port, place)
        if name in WRITES_LAST:
            self._compute(places[:-1], places[-1])
            port.write(places[-1], SECRET)
            return 0
        return TOKEN

    def _check(self, name: str, port: ModelPort, *arguments: Argument) -> int:
        flat = [one for argument in arguments for one in (argument if isinstance(argument, tuple) else (argument,))]
        places = [one for one in flat if isinstance(one, int) and is_flex_mem(one)]
        for place in places:
            self._use(port, place)
        if name == "check_accept":
            results = arguments[1]
            assert isinstance(results, tuple)
            for sums in results[2::3]:
                assert isinstance(sums, int)
                port.write(sums, SECRET)
                if self.driver.verdict is Verdict.RIGHT:
                    self._compute([], sums)
            return self.driver.verdict
        port.write(places[-1], SECRET)
        return 0

    def _compute(self, inputs: list[int], output: int) -> None:
        """Whoever began again since a job was begun does not use its sums."""
        assert self.pool
        for place in inputs:
            assert self.driver.missing.get(place) != self.pool.state.losses, "sums are used that nobody has computed"
        self.driver.missing.pop(output, None)

    def _use(self, port: ModelPort, place: int) -> None:
        """A page of weights holds those of its chunk, decrypted."""
        port.touch(place)
        assert self.pool
        for region in self.pool.state.regions:
            plain = self._plaintexts.get(region.name)
            if region.kind is Kind.WEIGHTS and plain and region.va <= place < region.va + region.pages * PAGE_SIZE:
                assert region.ready, f"{region.name} is used, and it is not ready"
                at = (place - region.va) // PAGE_SIZE * PAGE_SIZE
                expected = plain[at : at + PAGE_SIZE]
                assert port.read(region.va + at, len(expected)) == expected, f"{region.name} does not hold its weights"
