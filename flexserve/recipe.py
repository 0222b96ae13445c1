"""What a run is, as data: enough to do the same run again on any host, under any observer.

A recipe is read from a command line (`parse`) or from what `as_json` once gave (`read`). ``drive`` does the run on a
`Stage`: the plain one here, or one that a debugger or a recorder provides. A run that is watched is the same run.
"""

from __future__ import annotations

import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import click

from emulator.gate import Notice
from emulator.machine import Machine
from emulator.memory_map import DramLayout

from .cli import COMMANDS
from .errors import UserError

# The command that a kind of run has, and the module and class that do it.
KINDS = {
    "run": ("flexserve.run_recipe", "RunRecipe"),
    "attack": ("flexserve.attack_recipe", "AttackRecipe"),
    "exec": ("flexserve.exec_recipe", "ExecRecipe"),
}
DEFAULT_KIND = "run"


class Stage(Protocol):
    """Where a run takes place."""

    def create_machine(self, layout: DramLayout) -> Machine:
        """A machine, new and empty. Raises MachineError."""

    def show(self, notice: Notice) -> None:
        """What an app shows its user, as it comes."""


class PlainStage:
    """A stage that nobody watches."""

    def create_machine(self, layout: DramLayout) -> Machine:
        return Machine(layout)

    def show(self, notice: Notice) -> None:
        """Nobody looks."""


@dataclass(frozen=True)
class FileReference:
    """A file that a run uses; ``sha256`` (hexadecimal) is what it must hold, None before anybody has asked."""

    path: Path
    sha256: str | None = None

    def measured(self) -> FileReference:
        """With the digest of what the file holds now. Raises UserError."""
        try:
            with self.path.open("rb") as file:
                return FileReference(self.path, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from error

    def check(self) -> None:
        """Raises UserError if the file holds something else than it did."""
        if self.sha256 is not None and self.measured().sha256 != self.sha256:
            raise UserError(f"{self.path} is not the file that the run was recorded with (SHA-256 {self.sha256[:16]}…)")

    def as_json(self) -> dict[str, object]:
        measured = self if self.sha256 else self.measured()
        return {"name": str(measured.path), "sha256": measured.sha256}

    @classmethod
    def read(cls, data: object) -> Self:
        """Raises KeyError, TypeError."""
        if not isinstance(data, Mapping):
            raise TypeError("a file is an object with name and sha256")
        return cls(Path(data["name"]), str(data["sha256"]))


class Recipe(ABC):
    """One run. Subclasses are frozen dataclasses of its options."""

    kind: ClassVar[str]

    @abstractmethod
    def drive(self, stage: Stage) -> object:
        """Do the run from power-on to its end: what came of it. Raises UserError, and what the run itself raises."""

    @abstractmethod
    def options(self) -> dict[str, object]:
        """As JSON values, files by name and digest. Raises UserError."""

    @classmethod
    @abstractmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Self:
        """From the values of the command's click parameters."""

    @classmethod
    @abstractmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """From what `options` gave. Raises KeyError, TypeError, ValueError."""

    def as_json(self) -> dict[str, object]:
        """Canonical, but for the order of keys. Raises UserError."""
        return {"kind": self.kind, "options": self.options()}


def parse(arguments: Sequence[str]) -> Recipe:
    """The recipe of a command line, its first word left out if it is ``run``. Raises click.UsageError."""
    words = list(arguments)
    kind = words.pop(0) if words and words[0] in KINDS else DEFAULT_KIND
    module = importlib.import_module(COMMANDS[kind])
    command: click.Command = getattr(module, kind)
    with command.make_context(kind, words) as context:
        return _class(kind).from_parameters(context.params)


def read(data: object) -> Recipe:
    """The recipe that `Recipe.as_json` described. Raises ValueError."""
    if not isinstance(data, Mapping) or not isinstance(data.get("options"), Mapping) or data.get("kind") not in KINDS:
        raise ValueError("this describes no run: it has no known kind, or no options")
    try:
        return _class(data["kind"]).from_options(data["options"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this describes no {data['kind']}: {error!r}") from error


def _class(kind: str) -> type[Recipe]:
    module, name = KINDS[kind]
    found: type[Recipe] = getattr(importlib.import_module(module), name)
    return found
