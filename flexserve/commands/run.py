"""`flexserve run`: boot the phone, load a model into Flex-Mem, and stream text from the secure world."""

from __future__ import annotations

import codecs
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Self

import click
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from emulator.gate import Notice
from emulator.machine import MachineError
from flexserve.commands.parameters import U64, FiniteRange, Recall, Text, as_json, device_id, dram
from flexserve.errors import UserError
from flexserve.recipe import PlainStage
from flexserve.run_recipe import DEVICES, RunRecipe
from flexserve.system import Generation, Usage

DEFAULT_PROMPT = "In the beginning"
DEFAULT_TOKENS = 64


@click.command()
@click.option("--prompt", type=Text(), default=DEFAULT_PROMPT, metavar="T", show_default=True, help="Text to continue.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .gguf (Llama architecture) or a .flex package; without it, the demo model.",
)
@click.option(
    "--tokens", type=click.IntRange(1, (1 << 31) - 1), default=DEFAULT_TOKENS, metavar="N", show_default=True,
    help="Tokens to generate at most.",
)  # fmt: skip
@click.option("--seed", type=U64, default=0, metavar="S", show_default=True, help="Of the TRNG and of sampling.")
@click.option(
    "--temperature", type=FiniteRange(0, 100), default=0.0, metavar="X", show_default=True,
    help="0 takes the likeliest token every time.",
)  # fmt: skip
@click.option(
    "--top-p", type=FiniteRange(0, 1, min_open=True), default=1.0, metavar="P", show_default=True,
    help="Sample from the likeliest tokens that make up this much of the probability.",
)  # fmt: skip
@click.option(
    "--recall",
    "recalls",
    type=Recall(),
    multiple=True,
    metavar="PAGES@TOKEN",
    help="The normal world takes pages back before this generated token is computed. May be repeated.",
)
@click.option(
    "--device", type=click.Choice(DEVICES), default="npu", show_default=True,
    help="What computes the matrix products.",
)  # fmt: skip
@click.option("--npu-app", is_flag=True, help="An app of the normal world uses the NPU at the same time.")
@dram
@device_id
@as_json
def run(**parameters: object) -> None:
    """Serve one prompt from Flex-Mem, through the monitor."""
    recipe = RunRecipe.from_parameters(parameters)
    with _Screen(quiet=bool(parameters["as_json"])) as screen:
        try:
            served = recipe.drive(screen)
        except MachineError as error:
            raise UserError(str(error)) from error
        seconds = screen.finished()
    done, usage = served.generation, served.usage
    if parameters["as_json"]:
        click.echo(json.dumps(_report(done, usage)))
        return
    for token, pages in recipe.recalls:
        if token > max(len(done.tokens), 1):
            click.echo(f"token {token} was never computed, so {pages} pages were not recalled", err=True)
    _summarise(done, usage, seconds)


def _report(done: Generation, usage: Usage) -> dict[str, object]:
    return {
        "text": done.text,
        "tokens": list(done.tokens),
        "prompt_tokens": done.prompt_tokens,
        "stop": done.stop,
        "flexmem": dataclasses.asdict(usage.flexmem),
        "npu": dataclasses.asdict(usage.npu),
        "smc": usage.smc,
        "world_switches": usage.world_switches,
        "guest_instructions": usage.guest_instructions,
    }


class _Screen(PlainStage):
    """What the run shows while it goes on: a progress bar on stderr, the text on stdout."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._quiet = quiet
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._progress = Progress(
            TextColumn("loading the model into Flex-Mem"), BarColumn(), MofNCompleteColumn(), TextColumn("pages"),
            TimeRemainingColumn(), console=console, transient=True, disable=quiet or not console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._loaded_at = time.perf_counter()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, notice: Notice) -> None:
        match notice.kind:
            case "progress":
                done, total = notice.numbers
                if self._task is None:
                    self._task = self._progress.add_task("load", total=total)
                self._progress.update(self._task, completed=done)
                if done == total:  # from now on the terminal is the text's
                    self._progress.stop()
                    self._loaded_at = time.perf_counter()
            case "token":
                self._text(self._decoder.decode(notice.data))
            case "short":
                came, wanted = notice.numbers
                if not self._quiet:
                    sys.stdout.flush()
                click.echo(f"\nrecall: {came} of {wanted} pages came back; the secure world had no more", err=True)

    def finished(self) -> float:
        """Seconds since the model was loaded."""
        seconds = time.perf_counter() - self._loaded_at
        self._text(self._decoder.decode(b"", final=True))
        if not self._quiet:
            click.echo()
        return seconds

    def _text(self, text: str) -> None:
        if not self._quiet and text:
            click.echo(text, nl=False)
            sys.stdout.flush()


def _summarise(done: Generation, usage: Usage, seconds: float) -> None:
    """For a person: what it took."""
    why = "the asked length" if done.stop == "length" else "the model ended the text"
    pages = dataclasses.asdict(usage.flexmem)
    facts = {
        "prompt": f"{done.prompt_tokens} tokens",
        "generated": f"{len(done.tokens)} tokens, until {why}",
        "world switches": f"{usage.world_switches:,}",
        "guest instructions": f"{usage.guest_instructions:,}",
        "on this host": f"{len(done.tokens) / seconds:,.1f} tokens/s",
    }
    npu = dataclasses.asdict(usage.npu)
    tables = Table.grid(padding=(0, 3))
    tables.add_row(
        _table("Flex-Mem pages", {_MEANING[name]: f"{count:,}" for name, count in pages.items()}, justify="right"),
        _table("NPU", {_NPU_MEANING[name]: f"{count:,}" for name, count in npu.items()}, justify="right"),
        _table("SMCs", {name: f"{count:,}" for name, count in usage.smc.items()}, justify="right"),
    )
    console = Console(highlight=False)
    console.print()
    console.print(_table("This run", facts))
    console.print()
    console.print(tables)


_MEANING = {
    "allocated": "promised",
    "locked": "locked",
    "requested": "asked back",
    "recalled": "recalled",
    "reclaimed": "reclaimed, scrubbed",
    "forced": "of them by force",
}

_NPU_MEANING = {
    "jobs": "secure jobs",
    "switches": "switches",
    "normal_jobs": "normal jobs",
    "recalls": "asked back",
    "macs": "secure MACs",
}


def _table(title: str, rows: dict[str, str], justify: JustifyMethod = "left") -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify=justify, no_wrap=True)
    for name, value in rows.items():
        table.add_row(name, value)
    return table
