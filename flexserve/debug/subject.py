"""What is debugged: the timeline of a recipe's run, with the sources of the code that runs in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emulator.debug.source import SourceMap
from emulator.debug.timeline import Timeline
from emulator.machine import MachineError
from emulator.memory_map import DramLayout
from flexserve import snapshot
from flexserve.errors import UserError
from flexserve.exec_recipe import ExecRecipe
from flexserve.recipe import Recipe
from flexserve.sources import image_sources, phone_sources


@dataclass(frozen=True)
class Subject:
    """``monitored``: a phone with Flex-Monitor at EL3."""

    recipe: Recipe
    timeline: Timeline
    sources: SourceMap
    monitored: bool


def open_subject(recipe: Recipe) -> Subject:
    """The run at its first instruction. Raises UserError, StaleBuildError."""
    try:
        return _subject(recipe, Timeline(recipe.drive))
    except MachineError as error:
        raise UserError(str(error)) from error


def open_snapshot(path: Path) -> Subject:
    """The run in a file, where it stood. Raises UserError, StaleBuildError."""
    try:
        return _subject(*snapshot.load(path))
    except MachineError as error:
        raise UserError(str(error)) from error


def sources_of(recipe: Recipe, layout: DramLayout) -> SourceMap:
    """Of the code that runs in the recipe's machine. Raises StaleBuildError."""
    if isinstance(recipe, ExecRecipe):
        return image_sources(recipe.image.path)
    return phone_sources(layout)


def _subject(recipe: Recipe, timeline: Timeline) -> Subject:
    sources = sources_of(recipe, timeline.machine.layout)
    return Subject(recipe, timeline, sources, monitored=not isinstance(recipe, ExecRecipe))
