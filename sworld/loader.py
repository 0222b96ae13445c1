"""Weights on demand: ciphertext from storage into promised pages, locked, mapped, then authenticated and decrypted in place.

The normal world's storage driver moves the blocks by DMA, so pages are locked only after it is done; until then, and
after any recall, their contents are nothing but a claim, and only the authentication tag counts.
"""

from __future__ import annotations

from emulator.gate import Flow, compute
from monitor.services.messages import Request, RequestStatus, ServiceStatus

from .errors import Refused
from .flexmem import Kind, Pool, Region, Rpc


def fetch(pool: Pool, rpc: Rpc, region: Region, block: int) -> Flow[None]:
    """Storage blocks from ``block`` on behind all of ``region``, locked. Raises Refused."""
    while len(region.frames) < region.pages:
        present = len(region.frames)
        extent = yield from pool.promise(region.pages - present)
        status, *_ = yield from rpc(Request.LOAD_BLOCKS, block + present, extent.base, extent.pages)
        if status != RequestStatus.DONE:
            yield from pool.decline(extent)
            raise Refused(ServiceStatus.STORAGE_FAILED, block + present)
        if len(region.frames) == present:
            yield from pool.keep(extent, region)
        else:  # a recall took the pages before it, so these blocks are not the next ones any more
            yield from pool.decline(extent)
