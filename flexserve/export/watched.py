"""Doing a run again with everything watched that an export needs."""

from __future__ import annotations

from collections.abc import Callable

from emulator.events import Event, EventKind
from emulator.gate import Notice
from emulator.machine import Machine
from emulator.memory_map import DramLayout
from flexserve.errors import UserError
from flexserve.recipe import Recipe


def nothing(_: Machine) -> None:
    """Has to be done."""


class WatchedStage:
    """``prepare`` is given each machine before it is put together, ``finish`` at its end, while it is still there.

    ``show`` sees what apps show.
    """

    def __init__(
        self, prepare: Callable[[Machine], None], finish: Callable[[Machine], None], show: Callable[[Notice], None]
    ) -> None:
        self.show = show
        self.machines = 0
        self._prepare = prepare
        self._finish = finish

    def create_machine(self, layout: DramLayout) -> Machine:
        self.machines += 1
        machine = _FinishedMachine(layout, self._finish)
        self._prepare(machine)
        return machine


class _FinishedMachine(Machine):
    def __init__(self, layout: DramLayout, finish: Callable[[Machine], None]) -> None:
        super().__init__(layout)
        self._finish = finish

    def close(self) -> None:
        self._finish(self)
        super().close()


def run_again(
    recipe: Recipe,
    show: Callable[[Notice], None],
    prepare: Callable[[Machine], None],
    finish: Callable[[Machine], None] = nothing,
) -> None:
    """To its end, whatever that is. Raises UserError if it does not even begin, MachineError."""
    stage = WatchedStage(prepare, finish, show)
    try:
        recipe.drive(stage)
    except UserError:
        if not stage.machines:
            raise


def with_events(
    recipe: Recipe, kinds: frozenset[EventKind], show: Callable[[Notice], None]
) -> tuple[list[Event], DramLayout]:
    """The events of a run, and the layout of its machine. Raises UserError, MachineError."""
    events: list[Event] = []
    layouts: list[DramLayout] = []

    def prepare(machine: Machine) -> None:
        machine.events.listen(kinds, events.append)
        layouts.append(machine.layout)

    run_again(recipe, show, prepare)
    return events, layouts[0]
