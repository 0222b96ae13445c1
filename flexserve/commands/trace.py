"""`flexserve trace`: record canonical traces, check them, compare them, look at them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from emulator.gate import Notice
from emulator.machine import MachineError
from flexserve.commands.parameters import as_json
from flexserve.errors import UserError
from flexserve.export.formats import FORMATS, Job
from flexserve.identity import firmware_digest
from flexserve.recipe import Recipe, parse, read
from flexserve.trace.difference import difference
from flexserve.trace.file import EVENTS, Trace, load, save
from flexserve.trace.record import record as record_trace
from flexserve.trace.select import Selection
from flexserve.whole_file import whole_file

DIFFERENT = 1  # exit status
STYLES = {
    "smc": "cyan", "return": "cyan", "switch": "bold magenta", "own": "yellow", "token": "green", "denied": "bold red",
    "exception": "red", "smmu-fault": "bold red",
}  # fmt: skip

FILE = click.Path(path_type=Path, dir_okay=False)


class Levels(click.ParamType[frozenset[int]]):
    """Exception levels, as 3,2."""

    name = "levels"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[int]:
        words = str(value).split(",")
        if not all(word in {"0", "1", "2", "3"} for word in words):
            self.fail(f"{value!r} is no list of exception levels such as 3,2", param, ctx)
        return frozenset(int(word) for word in words)


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


@trace.command()
@click.argument("file", metavar="TRACE", type=FILE)
@click.option("--to", "target", type=click.Choice(list(FORMATS)), required=True, help="The format.")
@click.option("-o", "--output", type=FILE, required=True, metavar="OUT", help="The file to write.")
@click.option(
    "--levels", type=Levels(), metavar="3,2", help="tarmac: of which exception levels. [default: 3,2; of exec: all]"
)
@click.option("--from", "first", type=click.IntRange(0), default=0, metavar="N", help="tarmac: from this guest time.")
@click.option("--until", "end", type=click.IntRange(0), metavar="N", help="tarmac: to before this guest time.")
@as_json
def export(
    file: Path, target: str, output: Path, levels: frozenset[int] | None, first: int, end: int | None, as_json: bool
) -> None:
    """Write the run of TRACE in another tool's format; the run is done again where that needs more than TRACE holds."""
    recorded = load(file)
    recipe = _recipe(file, recorded)
    with whole_file(output) as out, _progress("exporting", quiet=as_json) as show:
        try:
            FORMATS[target](Job(recorded, recipe, show, levels, first, end), out)
        except MachineError as error:
            raise UserError(str(error)) from error
        size = out.tell()
    if as_json:
        click.echo(json.dumps({"output": str(output), "format": target, "bytes": size}))
    else:
        click.echo(f"{output}: {size:,} bytes of {target}")


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
    with _progress("recording", quiet=quiet) as show:
        try:
            return record_trace(recipe, show, begin)
        except MachineError as error:
            raise UserError(str(error)) from error


@contextlib.contextmanager
def _progress(what: str, *, quiet: bool) -> Iterator[Callable[[Notice], None]]:
    """On a terminal: how many notices the run has shown; nobody knows how many there will be."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn(f"{what}, {{task.completed}} steps"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda _: progress.advance(task)


def _compare(first: Trace, second: Trace, names: tuple[str, str], *, as_json: bool) -> int:
    found = difference(first, second, names)
    if as_json:
        click.echo(json.dumps({"equal": found is None, "difference": dataclasses.asdict(found) if found else None}))
    elif found is None:
        click.echo(f"{len(first.lines):,} events, all the same")
    else:
        click.echo(found.text(*names))
    return DIFFERENT if found else 0
