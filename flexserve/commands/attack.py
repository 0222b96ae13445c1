"""`flexserve attack`: a hostile normal world tries everything against a phone that serves a model."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from emulator.machine import MachineError
from flexserve.attack import UnknownAttack, Verdict, run, select
from flexserve.commands.parameters import as_json
from flexserve.errors import UserError
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
def attack(names: tuple[str, ...], as_json: bool, only_list: bool, controls: bool) -> int:
    """Attack the phone while it serves a model: all attacks, or those named. Exit status 1 if one gets through."""
    try:
        attacks = select(names)
    except UnknownAttack as error:
        raise UserError(str(error)) from error
    if controls:
        attacks = tuple(one for one in attacks if one.control)
    if only_list:
        _show_list(attacks, as_json=as_json)
        return 0
    verdicts = _fight(attacks, lifted=controls, quiet=as_json)
    unexpected = sum(verdict.blocked == controls for verdict in verdicts)
    if as_json:
        click.echo(json.dumps(_report(verdicts)))
    else:
        _show(verdicts, lifted=controls)
    return GOT_THROUGH if unexpected else 0


def _fight(attacks: Sequence[Attack], *, lifted: bool, quiet: bool) -> tuple[Verdict, ...]:
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("attacking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
        console=console, transient=True, disable=quiet or not console.is_terminal,
    )  # fmt: skip
    with progress:
        task = progress.add_task("", total=len(attacks))
        try:
            return run(
                attacks,
                lifted=lifted,
                done=lambda verdict: progress.update(task, advance=1, description=verdict.name),
            )
        except MachineError as error:
            raise UserError(str(error)) from error


def _report(verdicts: Sequence[Verdict]) -> dict[str, object]:
    return {
        "attacks": [{"name": verdict.name, "blocked": verdict.blocked, "by": verdict.by} for verdict in verdicts],
        "blocked": sum(verdict.blocked for verdict in verdicts),
        "total": len(verdicts),
    }


def _show(verdicts: Sequence[Verdict], *, lifted: bool) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=UNBROKEN_LINE)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("attack", no_wrap=True)
    for column in ("what it tries", "", "stopped by"):
        table.add_column(column)
    for verdict in verdicts:
        expected = verdict.blocked != lifted
        outcome = "blocked" if verdict.blocked else "got through"
        style = "green" if expected else "bold red"
        table.add_row(verdict.name, verdict.tries, f"[{style}]{outcome}[/{style}]", verdict.by)
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
