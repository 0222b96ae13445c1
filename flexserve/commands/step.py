"""`flexserve step`: walk through a run, forwards and backwards, by calls and by instructions."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from flexserve.debug.subject import open_snapshot, open_subject
from flexserve.errors import UserError
from flexserve.recipe import parse
from flexserve.stepper.console import converse, run_commands, script_lines
from flexserve.stepper.session import Session

REFUSED = 2  # exit status


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--script", type=click.Path(path_type=Path), metavar="FILE", help="Commands to do, one a line; - is stdin."
)
@click.option("-c", "--command", "commands", multiple=True, metavar="CMD", help="A command to do. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object a command.")
@click.option("--snapshot", type=click.Path(path_type=Path), metavar="FILE", help="Go on from what `save` wrote.")
@click.argument("run", nargs=-1, type=click.UNPROCESSED, metavar="[run|attack|exec] [OPTIONS OF IT]...")
def step(
    script: Path | None, commands: tuple[str, ...], as_json: bool, snapshot: Path | None, run: tuple[str, ...]
) -> int:
    """Step through a run, forwards and backwards: `flexserve step --tokens 4`.

    What `flexserve run` takes can be given here; `attack NAME` and `exec IMAGE` are stepped through as well. Without
    --script, -c or a terminal, commands are read from stdin.
    """
    given = [*(_read(script) if script else ()), *commands]
    interactive = not given and sys.stdin.isatty() and not as_json
    if snapshot and run:
        raise UserError(f"{snapshot} says what is run; leave {' '.join(run)!r} away")
    session = Session(open_snapshot(snapshot) if snapshot else open_subject(parse(run)))
    try:
        if interactive:
            converse(session)
            return 0
        done = run_commands(session, given or script_lines(sys.stdin.read()), as_json=as_json)
        return 0 if done else REFUSED
    finally:
        session.close()


def _read(script: Path) -> list[str]:
    """Raises UserError."""
    try:
        text = sys.stdin.read() if str(script) == "-" else script.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{script}: {getattr(error, 'strerror', None) or 'is no text'}") from error
    return list(script_lines(text))
