"""The formats by name: how each is made of a trace."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from emulator.gate import Notice
from emulator.instructions import ALL_LEVELS, FOR_EVER
from emulator.machine import Machine
from flexserve.debug.subject import sources_of
from flexserve.exec_recipe import ExecRecipe
from flexserve.recipe import Recipe
from flexserve.trace.file import Trace
from flexserve.trace.select import Selection

from .watched import run_again, with_events

if TYPE_CHECKING:
    from .coverage import Counting

MONITORS_LEVELS = frozenset({2, 3})


@dataclass(frozen=True)
class Job:
    """``show`` sees what the run shows as it is done again.

    Of instructions: ``levels`` (None: the monitor's, of an image of one's own all), from guest time ``first`` to before
    ``end``.
    """

    trace: Trace
    recipe: Recipe
    show: Callable[[Notice], None]
    levels: frozenset[int] | None = None
    first: int = 0
    end: int | None = None


def as_json(job: Job, file: BinaryIO) -> None:
    """What the trace itself holds; the run is not done again."""
    events = [dataclasses.asdict(event) for event in Selection().of(job.trace)]
    value = {"header": dict(job.trace.header), "events": events, "endings": list(job.trace.endings)}
    file.write((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())


def perfetto(job: Job, file: BinaryIO) -> None:
    """TrackEvent packets."""
    from .perfetto import KINDS, Converter

    events, layout = with_events(job.recipe, KINDS, job.show)
    file.write(Converter(layout).convert(events))


def tarmac(job: Job, file: BinaryIO) -> None:
    """Instructions, registers and memory."""
    from .tarmac import TarmacWriter

    text = io.TextIOWrapper(file, encoding="ascii", write_through=False)
    writer = TarmacWriter(text)
    levels = job.levels or (ALL_LEVELS if isinstance(job.recipe, ExecRecipe) else MONITORS_LEVELS)
    end = FOR_EVER if job.end is None else job.end

    def prepare(machine: Machine) -> None:
        machine.instruction_trace.record(writer.take, levels, job.first, end)

    run_again(job.recipe, job.show, prepare)
    writer.close()
    text.detach()


def drcov(job: Job, file: BinaryIO) -> None:
    """Blocks that were executed."""
    from .coverage import drcov as written

    file.write(written(_count(job).result))


def lcov(job: Job, file: BinaryIO) -> None:
    """Source lines and functions, and how often they were executed."""
    from .coverage import lcov as written

    file.write(written(_count(job).result).encode())


def _count(job: Job) -> Counting:
    from .coverage import Counting

    counting: list[Counting] = []

    def prepare(machine: Machine) -> None:
        counting.append(Counting(sources_of(job.recipe, machine.layout)))
        counting[-1].prepare(machine)

    def finish(machine: Machine) -> None:
        counting[-1].finish(machine)

    run_again(job.recipe, job.show, prepare, finish)
    return counting[-1]


FORMATS: dict[str, Callable[[Job, BinaryIO], None]] = {
    "perfetto": perfetto,
    "tarmac": tarmac,
    "drcov": drcov,
    "lcov": lcov,
    "json": as_json,
}
