"""`flexserve trace`: record canonical traces, check them, compare them, look at them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from emulator.gate import Notice
from emulator.machine import MachineError
from flexserve.commands.parameters import as_json
from flexserve.errors import UserError
from flexserve.identity import firmware_digest
from flexserve.recipe import Recipe, parse, read
from flexserve.trace.difference import difference
from flexserve.trace.file import EVENTS, Trace, load, save
from flexserve.trace.record import record as record_trace
from flexserve.trace.select import Selection

DIFFERENT = 1  # exit status
STYLES = {
    "smc": "cyan", "return": "cyan", "switch": "bold magenta", "own": "yellow", "token": "green", "denied": "bold red",
    "exception": "red", "smmu-fault": "bold red",
}  # fmt: skip

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def trace() -> None:
    """Canonical traces: one event a line, the same on every host."""


@trace.command(context_settings={"ignore_unknown_options": True})
@click.argument("out", type=FILE)
@click.argument("run", nargs=-1, type=click.UNPROCESSED, metavar="-- run|attack|exec [OPTION]...")
@as_json
def record(out: Path, run: Sequence[str], as_json: bool) -> None:
    """Do a run and write its trace to OUT."""
    recorded = _record(parse(run), quiet=as_json)
    save(out, recorded)
    if as_json:
        click.echo(json.dumps({"trace": str(out), "events": len(recorded.lines)}))
    else:
        click.echo(f"{out}: {len(recorded.lines):,} events")


@trace.command()
@click.argument("file", type=FILE)
@as_json
def check(file: Path, as_json: bool) -> int:
    """Do the run of FILE again and compare. Exit status 1 if anything is different."""
    expected = load(file)
    begin = expected.header.get("begin")
    recorded = _record(_recipe(file, expected), begin if isinstance(begin, str) else None, quiet=as_json)
    return _compare(expected, recorded, (file.name, "now"), as_json=as_json)


@trace.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@as_json
def diff(a: Path, b: Path, as_json: bool) -> int:
    """Where A and B part, event by event, and what came of it. Exit status 1 if they do."""
    names = (a.name, b.name) if a.name != b.name else (str(a), str(b))
    return _compare(load(a), load(b), names, as_json=as_json)


@trace.command()
@click.argument("file", type=FILE)
@click.option("--kind", type=click.Choice(EVENTS), multiple=True, help="Only events of this kind. May be repeated.")
@click.option("--world", type=click.Choice(["normal", "secure"]), help="Only what this world did or met.")
@click.option("--call", metavar="NAME", help="Only this SMC, its return, and what happened in between.")
@click.option("--page", type=click.IntRange(0), metavar="N", help="Only what concerns this page of DRAM.")
@click.option("--device", metavar="NAME", help="Only what this device did or met.")
@as_json
def show(
    file: Path, kind: tuple[str, ...], world: str | None, call: str | None, page: int | None, device: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Print the events of FILE that all of the options want."""
    chosen = Selection(frozenset(kind), world, call, page, device).of(load(file))
    if as_json:
        click.echo(json.dumps({"events": [dataclasses.asdict(event) for event in chosen]}))
        return
    console = Console(highlight=False, soft_wrap=True)
    for event in chosen:
        console.print(Text(f"{event.number:>7}  ", "dim") + Text(event.line, STYLES.get(event.kind, "")))


def _recipe(file: Path, trace: Trace) -> Recipe:
    if "recipe" not in trace.header:
        raise UserError(f"{file} was recorded by a test: run that test to check it")
    if trace.header.get("firmware", firmware_digest()) != firmware_digest():
        click.echo(f"{file} was recorded with other firmware than this", err=True)
    try:
        return read(trace.header["recipe"])
    except ValueError as error:
        raise UserError(f"{file} cannot be run again: {error}") from error


def _record(recipe: Recipe, begin: str | None = None, *, quiet: bool) -> Trace:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("recording, {task.completed} steps"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def watch(_: Notice) -> None:
            progress.advance(task)

        try:
            return record_trace(recipe, watch, begin)
        except MachineError as error:
            raise UserError(str(error)) from error


def _compare(first: Trace, second: Trace, names: tuple[str, str], *, as_json: bool) -> int:
    found = difference(first, second, names)
    if as_json:
        click.echo(json.dumps({"equal": found is None, "difference": dataclasses.asdict(found) if found else None}))
    elif found is None:
        click.echo(f"{len(first.lines):,} events, all the same")
    else:
        click.echo(found.text(*names))
    return DIFFERENT if found else 0
