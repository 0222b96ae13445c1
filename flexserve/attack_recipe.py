"""The run of `flexserve attack`: attacks against a phone that serves a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from emulator.gate import Notice
from nworld.attacks import Attack

from .attack import UnknownAttack, Verdict, run, select
from .errors import UserError
from .recipe import Recipe, Stage

BEGUN = "attack-begun"  # the notice of an attack that begins: its name
TRIED = "attack-tried"  # the notice of one that is tried at every instruction: at how many of how many
ENDED = "attack"  # the notice of one that has ended: blocked or not, and its name


@dataclass(frozen=True)
class AttackRecipe(Recipe):
    """``names`` may be empty: all attacks. ``controls``: what protects is lifted, so they must get through."""

    kind: ClassVar[str] = "attack"

    names: tuple[str, ...]
    controls: bool

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Self:
        return cls.from_options(parameters)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        names = options["names"]
        if not isinstance(names, list | tuple):
            raise TypeError("names is a list")
        return cls(tuple(str(name) for name in names), bool(options["controls"]))

    def options(self) -> dict[str, object]:
        return {"names": list(self.names), "controls": self.controls}

    def attacks(self) -> tuple[Attack, ...]:
        """Those that are meant. Raises UserError."""
        try:
            attacks = select(self.names)
        except UnknownAttack as error:
            raise UserError(str(error)) from error
        return tuple(one for one in attacks if one.control) if self.controls else attacks

    def drive(self, stage: Stage) -> tuple[Verdict, ...]:
        def begun(attack: Attack) -> None:
            stage.show(Notice(BEGUN, (), attack.name.encode()))

        def tried(done: int, of: int) -> None:
            stage.show(Notice(TRIED, (done, of)))

        def ended(verdict: Verdict) -> None:
            stage.show(Notice(ENDED, (int(verdict.blocked),), verdict.name.encode()))

        return run(
            self.attacks(), lifted=self.controls, begun=begun, tried=tried, done=ended,
            make_machine=stage.create_machine, show=stage.show,
        )  # fmt: skip
