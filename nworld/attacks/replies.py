"""False answers to a request for pages: promises of what is not the normal world's to promise.

The secure kernel may take no such promise, and what it declines must not be its own. The attacker looks at every
instruction behind its answer whether the secure world has lost a page that it takes for its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from emulator.gate import Flow, Registers
from monitor.abi import MEM_RECLAIM
from monitor.services.calls import succeed
from monitor.services.messages import RequestStatus
from nworld.npu_sandbox import NpuSandbox
from nworld.secure import ServiceFailed

from .hostile import Hostile, nothing
from .registry import Attack, Carelessness, Moment, Play
from .scene import Scene

Lie: TypeAlias = Callable[[Scene, int], int]  # by the page that is truly granted: the one that is promised
LAYER = "layer 0"


def _promised(lie: Lie) -> Play:
    """The answer to the first request behind the first layer's; what is truly granted is taken back before it."""

    def script(hostile: Hostile, scene: Scene) -> Flow[bool]:
        lost = False
        promised = 0

        def look() -> None:
            nonlocal lost
            lost = lost or scene.believes_in(promised)

        def deceive(reply: Registers) -> Flow[Registers]:
            nonlocal promised
            if not scene.is_backed(LAYER):
                return reply
            hostile.deceive = None
            _, base, pages = reply
            promised = lie(scene, base)
            yield from succeed(MEM_RECLAIM, base, pages, 0)
            yield from hostile.forget_granted(base, pages)
            scene.arm()
            yield from hostile.interrupt_at(hostile.choose(1))
            return (RequestStatus.DONE, promised, 1)

        hostile.deceive, hostile.look = deceive, look
        try:
            yield from hostile.kernel.client.open(hostile.medium.slot)
        except ServiceFailed:
            look()
        hostile.deceive, hostile.look = None, nothing
        return lost

    return script


def _own(scene: Scene, _: int) -> int:
    return scene.page_of(LAYER)


def _reply(name: str, tries: str, lie: Lie, driver: type[NpuSandbox] | None = None) -> Attack:
    return Attack(name, tries, _promised(lie), Moment.CLOSED, False, driver, Carelessness.CHECK_GRANTS)


ATTACKS = (
    _reply("reply-own-page", "promises the secure world a page that it has locked already", _own),
    _reply("reply-own-page-npu", "promises it a page that the NPU reads", _own, NpuSandbox),
    _reply("reply-taken-back", "promises it a page that was taken back before the answer", lambda _, granted: granted),
)
