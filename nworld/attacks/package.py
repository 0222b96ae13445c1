"""Storage that delivers something else than what was packed: it is the normal world's to lie with."""

from __future__ import annotations

from collections.abc import Callable

from emulator.devices.storage import Command
from emulator.gate import Flow, read, write
from emulator.memory_map import PAGE_SIZE
from nworld.secure import ServiceFailed

from .hostile import Hostile, Medium
from .registry import Attack, Moment, Play
from .scene import Scene


def _flipped(hostile: Hostile, block: int, base: int, pages: int) -> Flow[None]:
    """One bit of a layer's ciphertext."""
    target = hostile.medium.layer_a
    if block <= target < block + pages:
        page = base + (target - block) * PAGE_SIZE
        content = bytearray((yield from read(page, PAGE_SIZE)))
        content[PAGE_SIZE // 2] ^= 1
        yield from write(page, bytes(content))


def _swapped(hostile: Hostile, block: int, base: int, pages: int) -> Flow[None]:
    """Each of two layers in the other's place."""
    medium = hostile.medium
    for index in range(pages):
        for here, there in ((medium.layer_a, medium.layer_b), (medium.layer_b, medium.layer_a)):
            if here <= block + index < here + medium.layer_blocks:
                source = hostile.package_block + there + block + index - here
                yield from hostile.dma(Command.READ, source, base + index * PAGE_SIZE)


Delivery = Callable[[Hostile, int, int, int], Flow[None]]


def _tampered(delivery: Delivery) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        if not scene.lifted:
            hostile.tamper = lambda block, base, pages: delivery(hostile, block, base, pages)
        through = yield from _opens(hostile, scene)
        hostile.tamper = None
        return through

    return script


def _replaced(place: Callable[[Medium], int]) -> Play:
    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        if not scene.lifted:
            hostile.package_block = place(hostile.medium)
        through = yield from _opens(hostile, scene)
        hostile.package_block = hostile.medium.package
        return through

    return script


def _opens(hostile: Hostile, scene: Scene) -> Flow[bool]:
    """Whether the secure world opens what storage delivers for the slot; it is closed again."""
    client = hostile.kernel.client
    scene.arm()
    try:
        yield from client.open(hostile.medium.slot)
    except ServiceFailed:
        return False
    yield from client.close()
    return True


ATTACKS = (
    Attack("flipped-bit", "delivers a layer with a bit of its ciphertext flipped", _tampered(_flipped), Moment.CLOSED),
    Attack("swapped-layers", "delivers two layers in each other's place", _tampered(_swapped), Moment.CLOSED),
    Attack("other-model", "delivers another model's package", _replaced(lambda medium: medium.other), Moment.CLOSED),
    Attack("older-package", "delivers an older package", _replaced(lambda medium: medium.older), Moment.CLOSED),
)
