"""`flexserve attack`: a hostile normal world tries everything against a phone that serves a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from emulator.gate import Notice
from emulator.machine import MachineError
from flexserve.attack import Verdict
from flexserve.attack_recipe import BEGUN, ENDED, TRIED, AttackRecipe
from flexserve.commands.parameters import as_json
from flexserve.errors import UserError
from flexserve.recipe import PlainStage
from nworld.attacks import Attack

GOT_THROUGH = 1  # exit status
UNBROKEN_LINE = 200  # columns of a table that goes to a file


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@as_json
@click.option("--list", "only_list", is_flag=True, help="Only say which attacks there are.")
@click.option(
    "--controls",
    is_flag=True,
    help="Lift what protects: each attack that allows it must get through, or its failure would mean nothing.",
)
def attack(as_json: bool, only_list: bool, **parameters: object) -> int:
    """Attack the phone while it serves a model: all attacks, or those named. Exit status 1 if one gets through."""
    recipe = AttackRecipe.from_parameters(parameters)
    attacks = recipe.attacks()
    if only_list:
        _show_list(attacks, as_json=as_json)
        return 0
    try:
        with _Screen(len(attacks), quiet=as_json) as screen:
            verdicts = recipe.drive(screen)
    except MachineError as error:
        raise UserError(str(error)) from error
    unexpected = sum(verdict.blocked == recipe.controls for verdict in verdicts)
    if as_json:
        click.echo(json.dumps(_report(verdicts)))
    else:
        _show(verdicts, lifted=recipe.controls)
    return GOT_THROUGH if unexpected else 0


class _Screen(PlainStage):
    """A progress bar on stderr."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("attacking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            console=console, transient=True, disable=quiet or not console.is_terminal,
        )  # fmt: skip
        self._attack = ""
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, notice: Notice) -> None:
        if notice.kind == BEGUN:
            self._attack = notice.data.decode()
            self._progress.update(self._task, description=self._attack)
        elif notice.kind == TRIED:
            done, of = notice.numbers
            self._progress.update(self._task, description=f"{self._attack}, {done} of {of} instructions")
        elif notice.kind == ENDED:
            self._progress.update(self._task, advance=1)


def _report(verdicts: Sequence[Verdict]) -> dict[str, object]:
    return {
        "attacks": [
            {"name": verdict.name, "blocked": verdict.blocked, "by": verdict.by, "times": verdict.times}
            for verdict in verdicts
        ],
        "blocked": sum(verdict.blocked for verdict in verdicts),
        "total": len(verdicts),
    }


def _show(verdicts: Sequence[Verdict], *, lifted: bool) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=UNBROKEN_LINE)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("attack", no_wrap=True)
    for column in ("what it tries", "", "tried", "stopped by"):
        table.add_column(column)
    for verdict in verdicts:
        expected = verdict.blocked != lifted
        outcome = "blocked" if verdict.blocked else "got through"
        times = f"{verdict.times}x" if verdict.times > 1 else ""
        style = "green" if expected else "bold red"
        table.add_row(verdict.name, verdict.tries, f"[{style}]{outcome}[/{style}]", times, verdict.by)
    console.print(table)
    blocked = sum(verdict.blocked for verdict in verdicts)
    if lifted:
        console.print(f"{len(verdicts) - blocked} of {len(verdicts)} got through what protects nothing")
    else:
        console.print(f"{blocked} of {len(verdicts)} attacks blocked")


def _show_list(attacks: Sequence[Attack], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"attacks": [{"name": one.name, "tries": one.tries} for one in attacks]}))
        return
    width = max((len(one.name) for one in attacks), default=0)
    for one in attacks:
        click.echo(f"{one.name:{width}}  {one.tries}")
