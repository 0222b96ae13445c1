"""An OPEN that is refused, for whatever reason and however often, costs the secure world nothing that lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from emulator.devices.trusted import fuse_key
from emulator.memory_map import PAGE_SIZE
from monitor.services.messages import Service, ServiceStatus
from sworld.package import HEADER_SIZE, Package

from .fire import judge
from .fire.model import stored
from .fire.normal import failed, nonsense, reclaim_released
from .fire.scenes import Run, make, open_model, serve_again

Spoil: TypeAlias = Callable[[Run, int], None]  # before each OPEN, by its number

METADATA_SIZES = (12, 20)  # in the header: of all metadata, and of the tokenizer in it
TURNS, REFUSED_AT_LEAST = 24, 8


def delivering(change: Callable[[bytes], bytes]) -> Spoil:
    """What storage delivers is not what was packed."""

    def spoil(run: Run, _: int) -> None:
        run.normal.medium = change(stored().medium)

    return spoil


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def metadata_flipped(content: bytes) -> bytes:
    return flipped(content, HEADER_SIZE + 40)


def last_layer_flipped(content: bytes) -> bytes:
    package = Package.parse(content[: Package.metadata_size(content[:HEADER_SIZE])], fuse_key(0))
    return flipped(content, package.chunks[-1].block * PAGE_SIZE + 100)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def claims_more(run: Run, turn: int) -> None:
    """That comes before the weights: another size each time, none of which is delivered."""
    content = bytearray(stored().medium)
    for place in METADATA_SIZES:
        claimed = int.from_bytes(content[place : place + 4], "little") + (turn * 37 + 1) * PAGE_SIZE
        content[place : place + 4] = claimed.to_bytes(4, "little")
    run.normal.medium = bytes(content)
    run.normal.lies = {len(run.normal.served) + 5 + 2 * turn % 6: failed}


def out_of_memory(run: Run, turn: int) -> None:
    run.normal.limit = turn % 13


def grants_falsely(run: Run, turn: int) -> None:
    run.normal.lies = {len(run.normal.served) + 2 * turn % 12: nonsense}


def does_not_deliver(run: Run, turn: int) -> None:
    run.normal.lies = {len(run.normal.served) + 2 * turn % 12 + 1: failed}


REASONS: dict[str, tuple[Spoil, ServiceStatus]] = {
    "blocks that are not delivered": (does_not_deliver, ServiceStatus.STORAGE_FAILED),
    "memory that is not there": (out_of_memory, ServiceStatus.OUT_OF_MEMORY),
    "false grants": (grants_falsely, ServiceStatus.BAD_GRANT),
    "a header that claims more": (claims_more, ServiceStatus.STORAGE_FAILED),
    "a header of zeros": (delivering(zeros), ServiceStatus.MALFORMED_PACKAGE),
    "a bit of the metadata": (delivering(metadata_flipped), ServiceStatus.BAD_TAG),
    "a bit of the last layer": (delivering(last_layer_flipped), ServiceStatus.BAD_TAG),
}


@pytest.mark.parametrize("use_npu", [False, True], ids=["processor", "npu"])
@pytest.mark.parametrize("reason", REASONS)
def test_open_that_is_refused_costs_nothing_that_lasts(reason: str, use_npu: bool) -> None:
    """Neither pages, nor page tables, nor addresses: neither the secure world's nor the NPU's."""
    spoil, status = REASONS[reason]
    run = make(use_npu=use_npu)
    serve_again(run)
    tables = run.phone.kernel.pool._mapping.state.next
    for turn in range(TURNS):
        spoil(run, turn)
        if open_model(run) is ServiceStatus.DONE:
            run.call(Service.CLOSE)
        reclaim_released(run.phone)
        judge.empty(run.phone)
        run.normal.medium, run.normal.limit, run.normal.lies = stored().medium, None, {}
    assert run.phone.kernel.pool._mapping.state.next == tables
    assert run.results.count(status) >= REFUSED_AT_LEAST, run.results
    serve_again(run)
