"""Plant each defect of tests/mutants in a copy of the tree, and see that the test or attack that it names notices."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.mutants.patches import ROOT, Mutant, PatchError, select

CAUGHT, ESCAPED = "caught", "ESCAPED"
FIRMWARE = "firmware/"
BUILD = ("-m", "firmware.build")
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=line", "-rfE")
SOME_FAILED = 1  # pytest's exit status; others say that it did not come to run them
# Fail a test though nothing has gone wrong in the machine: images that do not fit, a variable that is optimised away.
NOT_THE_MACHINE = ("StaleBuildError", "KeyError")
LIMIT_S = 900  # of one command; a test has a shorter one of its own, which counts as a failure
UNBROKEN_LINE = 220  # columns of a table that goes to a file
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")


class Failure(click.ClickException):
    """One line and exit status 2."""

    exit_code = 2


@dataclass(frozen=True)
class Outcome:
    mutant: str
    what: str
    caught_by: str
    seconds: float
    outcome: str


@click.command(context_settings={"show_default": True})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="So many at a time.")
def main(names: tuple[str, ...], as_json: bool, jobs: int) -> None:
    """Plant every defect, or those of the NAMEs or areas given. Exit status 1 if one escapes."""
    try:
        mutants = select(names)
    except PatchError as error:
        raise Failure(str(error)) from error
    with _copy() as tree:
        _expect_sound(mutants, tree)
    outcomes = _judge_all(mutants, jobs, quiet=as_json)
    if as_json:
        click.echo(json.dumps({"mutants": [asdict(one) for one in outcomes]}))
    else:
        _show(outcomes)
    sys.exit(any(one.outcome != CAUGHT for one in outcomes))


@contextmanager
def _copy() -> Iterator[Path]:
    """The tree with the native module and the images, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="flexserve-mutant-") as folder:
        yield Path(shutil.copytree(ROOT, Path(folder) / "tree", ignore=NOT_COPIED))


def _run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Python in ``tree``, whose modules come before those that are installed. Raises TimeoutExpired."""
    return subprocess.run(
        [sys.executable, *command], cwd=tree, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )


def _expect_sound(mutants: Sequence[Mutant], tree: Path) -> None:
    """What notices a defect must pass without it. Raises Failure."""
    attacks = sorted({mutant.attack for mutant in mutants if mutant.attack})
    tests = sorted({mutant.catcher for mutant in mutants if not mutant.attack})
    if tests and (ran := _run(tree, *PYTEST, *tests)).returncode:
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith(("FAILED", "ERROR"))]
        raise Failure(f"without any defect: {said[0] if said else f'pytest ends with status {ran.returncode}'}")
    if attacks and not (got_through := _got_through(tree, attacks)).isdisjoint(attacks):
        raise Failure(f"without any defect these attacks get through: {', '.join(sorted(got_through))}")


def _got_through(tree: Path, attacks: Sequence[str]) -> set[str]:
    """Raises Failure where the attacks cannot be made."""
    ran = _run(tree, "-m", "flexserve", "attack", "--json", *attacks)
    try:
        return {one["name"] for one in json.loads(ran.stdout)["attacks"] if not one["blocked"]}
    except (ValueError, KeyError) as error:
        said = ran.stderr.splitlines() or ["nothing is said"]
        raise Failure(f"flexserve attack {' '.join(attacks)}: {said[-1]}") from error


def _judge_all(mutants: Sequence[Mutant], jobs: int, *, quiet: bool) -> list[Outcome]:
    console = Console(stderr=True)
    columns = TextColumn("planting"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    bar = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    with bar as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("", total=len(mutants))
        judged = {pool.submit(_judge, mutant): mutant for mutant in mutants}
        for future in as_completed(judged):
            progress.update(task, advance=1, description=judged[future].name)
    return [future.result() for future in judged]


def _judge(mutant: Mutant) -> Outcome:
    begun = time.monotonic()
    with _copy() as tree:
        try:
            mutant.apply(tree)
            outcome = _notice(mutant, tree)
        except (PatchError, Failure) as error:
            outcome = f"{ESCAPED}: {error}"
        except subprocess.TimeoutExpired:
            outcome = f"{ESCAPED}: hung"
    return Outcome(mutant.name, mutant.what, mutant.catcher, round(time.monotonic() - begun, 1), outcome)


def _notice(mutant: Mutant, tree: Path) -> str:
    if mutant.path.startswith(FIRMWARE) and _run(tree, *BUILD).returncode:
        return f"{ESCAPED}: does not build"
    if mutant.attack:
        return CAUGHT if _got_through(tree, [mutant.attack]) else ESCAPED
    ran = _run(tree, *PYTEST, mutant.catcher)
    if ran.returncode not in (0, SOME_FAILED):
        return f"{ESCAPED}: pytest ends with status {ran.returncode}"
    other = [error for error in NOT_THE_MACHINE if mutant.path.startswith(FIRMWARE) and error in ran.stdout]
    return f"{ESCAPED}: {other[0]}" if other else CAUGHT if ran.returncode else ESCAPED


def _show(outcomes: Sequence[Outcome]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=UNBROKEN_LINE)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("mutant", "what goes wrong", "caught by", "s", ""):
        table.add_column(column, overflow="fold")
    for one in outcomes:
        style = "green" if one.outcome == CAUGHT else "bold red"
        words = (one.mutant, one.what, one.caught_by, f"{one.seconds:.1f}")
        table.add_row(*map(escape, words), f"[{style}]{escape(one.outcome)}[/{style}]")
    console.print(table)
    console.print(f"{sum(one.outcome == CAUGHT for one in outcomes)} of {len(outcomes)} planted defects caught")


if __name__ == "__main__":
    main()
