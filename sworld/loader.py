"""Weights on demand: ciphertext from storage into promised pages; locked, mapped, authenticated, decrypted in place.

The normal world's storage driver moves the blocks by DMA, so pages are locked only after it is done; until then, and
after any recall, their contents are nothing but a claim, and only the authentication tag counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from emulator.gate import Flow, Operation, Operations, compute, costs, read
from emulator.memory_map import PAGE_SIZE
from emulator.world_port import WorldPort
from monitor.services.messages import Request, RequestStatus, ServiceStatus

from .errors import Refused
from .flexmem import Pool, Rpc
from .package import Package, open_chunk
from .region import DeviceAccess, Kind, Region

FIRST_WEIGHTS = 1  # a package numbers its chunks from the tokenizer, which is 0


class Storage:
    """The opened package's blocks of 4 KiB, as the normal world delivers them."""

    def __init__(self, pool: Pool, rpc: Rpc) -> None:
        self._pool = pool
        self._rpc = rpc

    def copy(self, offset: int, size: int) -> Flow[bytes]:
        """``size`` bytes at ``offset`` of the package: a copy out of locked pages. Raises Refused."""
        first, last = offset // PAGE_SIZE, -(-(offset + size) // PAGE_SIZE)
        region = self._pool.reserve(Kind.WEIGHTS, "package metadata", (last - first) * PAGE_SIZE)
        try:
            yield from self.fetch(region, first)
        except Refused:
            yield from self._pool.discard(region)
            raise
        data = yield from read(region.va + offset % PAGE_SIZE, size)
        yield from self._pool.discard(region)
        return data

    def fetch(self, region: Region, block: int) -> Flow[None]:
        """Blocks from ``block`` on behind all of ``region``, locked. Raises Refused."""
        while len(region.frames) < region.pages:
            present, generation = len(region.frames), region.generation
            grant = yield from self._pool.promise(region.pages - present)
            base, pages = grant.extent.base, grant.extent.pages
            status, *_ = yield from self._rpc(Request.LOAD_BLOCKS, block + present, base, pages)
            if status != RequestStatus.DONE:
                yield from self._pool.decline(grant)
                raise Refused(ServiceStatus.STORAGE_FAILED, block + present)
            yield from self._pool.keep(grant, region, generation)


class Loader:
    """The weights of ``package``, a region of the pool for each of its chunks."""

    def __init__(self, pool: Pool, storage: Storage, rpc: Rpc, package: Package) -> None:
        self._pool = pool
        self._storage = storage
        self._rpc = rpc
        self._package = package
        self._regions = [
            pool.reserve(Kind.WEIGHTS, chunk.name, chunk.size, DeviceAccess.READ) for chunk in package.chunks
        ]

    @property
    def pages(self) -> int:
        return sum(region.pages for region in self._regions)

    def addresses(self, layer: int, names: Sequence[str]) -> Flow[list[int]]:
        """Where objects are, once they are loaded; valid until the flow yields again. Raises Refused.

        The objects of one layer are of one chunk, which comes as a whole.
        """
        places = [self._package.place(layer, name) for name in names]
        region = self._regions[places[0][0]]
        if not region.ready:
            yield from self._load(places[0][0])
        return [region.va + offset for _, offset in places]

    def load_all(self) -> Flow[None]:
        """Bring in what is missing, in order, and say how far it is. Raises Refused."""
        loaded = 0
        for chunk, region in enumerate(self._regions):
            if not region.ready:
                yield from self._load(chunk)
            loaded += region.pages
            yield from self._rpc(Request.PROGRESS, loaded, self.pages)

    def _load(self, chunk: int) -> Flow[None]:
        """The pages are locked before the first byte is looked at: nobody can change what is authenticated here.

        What is taken by force while this world pays for its decryption comes again.
        """
        region = self._regions[chunk]
        while not region.ready:
            yield from self._pool.give_back()  # a load needs pages that DMA reaches; locked spare ones are of no use
            yield from self._storage.fetch(region, self._package.chunks[chunk].block)
            generation = region.generation
            genuine = yield from compute("open_chunk", region.va, *self._package.opening(chunk))
            if not genuine:
                yield from self._pool.drop(region)
                raise Refused(ServiceStatus.BAD_TAG, FIRST_WEIGHTS + chunk)
            region.ready = region.generation == generation


def _open_chunk(port: WorldPort, va: int, size: int, key: bytes, number: int, associated: bytes, tag: bytes) -> int:
    plaintext = open_chunk(key, number, associated, port.read(va, size), tag)
    if plaintext is None:
        return 0
    port.write(va, plaintext)
    return 1


LOADER_OPERATIONS: Operations = {
    # (va, size, key, number, associated data, tag): 1 if it is genuine, and then it is decrypted in place
    "open_chunk": Operation(
        _open_chunk, lambda va, size, key, number, associated, tag: costs.decrypt(size + len(associated))
    ),
}
