"""What an attack is: a script of the hostile normal kernel, a name, and when it begins."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from emulator.gate import Action, Registers, Reply
from nworld.npu_sandbox import NpuSandbox

from .hostile import Hostile
from .scene import Scene

T = TypeVar("T")


class Moment(enum.Enum):
    """When the hostile kernel has the core, and what it knows then."""

    ALLOCATE = "the secure world has asked for pages"  # base, pages: ALLOCATED, and not answered yet
    LOAD = "the secure world has asked for blocks"  # block, base, pages: loaded by DMA, and not answered yet
    REQUEST = "a model is open, and nothing was asked of it yet"
    TOKEN = "the secure world has handed out a token"  # more: 0 if it was the last one
    INTERRUPTED = "an interrupt has taken the core from the secure world, wherever it was"
    JOB = "an interrupt has taken the core in the middle of a secure job of the NPU"
    DRAIN = "an interrupt has taken the core while the secure world waits for a normal job to end"
    CLOSED = "no model is open"

    @property
    def number(self) -> int:
        """Its place in the order above."""
        return list(Moment).index(self)


@dataclass(frozen=True)
class Until:
    """A script yields this to let the serving go on until one of ``moments``.

    It gets back which one, by number, and its registers.
    """

    moments: tuple[Moment, ...]


Script: TypeAlias = Generator[Action | Until, Reply, T]
Play: TypeAlias = Callable[[Hostile, Scene], "Script[bool | None]"]


def until(moment: Moment) -> Script[Registers]:
    """The moment's registers."""
    _, registers = yield from until_first(moment)
    return registers


def until_first(*moments: Moment) -> Script[tuple[Moment, Registers]]:
    """Which of ``moments`` has come, and its registers."""
    reply = yield Until(moments)
    assert isinstance(reply, tuple)
    number, *registers = reply
    return list(Moment)[number], tuple(registers)


class Carelessness(enum.Enum):
    """What the secure kernel of a lifted scene does not do, beside all that the scene does not do."""

    CHECK_SUMS = "check the NPU's sums"
    CHECK_GRANTS = "check what it is granted"
    DROP_REVOKED = "drop the pages that were taken from it"


@dataclass(frozen=True)
class Attack:
    """``script`` gives True if it got through, None if it came too late to be tried.

    ``control``: it does get through when the scene lifts what protects. ``driver``: the secure world multiplies by the
    NPU, driven by this; None: by the processor.
    """

    name: str
    tries: str
    script: Play
    begins: Moment = Moment.TOKEN
    control: bool = True
    driver: type[NpuSandbox] | None = None
    careless: Carelessness = Carelessness.CHECK_SUMS
