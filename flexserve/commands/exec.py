"""`flexserve exec`: any image from EL3, on the board that QEMU's virt has too."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from emulator.machine import Lost, MachineError
from emulator.memory_map import VIRT_COUNTER_HZ
from flexserve.commands.parameters import as_json, dram
from flexserve.errors import UserError
from flexserve.exec_recipe import ExecRecipe
from flexserve.exec_run import Outcome
from flexserve.exec_screen import FileInput, FileScreen, PipeInput, TerminalInput, raw_terminal, standard_input
from flexserve.recipe import PlainStage, Stage
from flexserve.trace.file import save
from flexserve.trace.record import RecordingStage, assemble

STDIO, NOWHERE = "stdio", "none"
UARTS = 2
MAX_ADDRESS = (1 << 44) - 1
DEFAULT_TIME = "2024-01-01T00:00:00"


class Address(click.ParamType[int]):
    """A physical address, decimal or 0x hexadecimal."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            address = int(str(value), 0)
        except ValueError:
            self.fail(f"{value!r} is not an address: write it as 0x48000000", param, ctx)
        if not 0 <= address <= MAX_ADDRESS:
            self.fail(f"{value} is not an address of 44 bits", param, ctx)
        return address


class Placed(click.ParamType[tuple[int, Path]]):
    """ADDR=FILE."""

    name = "addr=file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, Path]:
        if isinstance(value, tuple):
            return value
        address, equals, name = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not ADDR=FILE, such as 0x48000000=kernel.bin", param, ctx)
        return Address().convert(address, param, ctx), Path(name)


class Moment(click.ParamType[int]):
    """A time in UTC, as seconds since 1970 or as in ISO 8601."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text.isdecimal() and int(text) < 1 << 32:
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{value!r} is no time: write it as {DEFAULT_TIME}, or as seconds since 1970", param, ctx)
        seconds = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
        if not 0 <= seconds < 1 << 32:
            self.fail(f"{value} is outside what the clock counts (1970 to 2106)", param, ctx)
        return seconds


FILE = click.Path(path_type=Path)


@click.command()
@click.argument("image", type=FILE)
@click.option(
    "--load", "loads", type=Placed(), multiple=True, metavar="ADDR=FILE",
    help="Put a flat file into memory as well. May be repeated.",
)  # fmt: skip
@click.option(
    "--entry", type=Address(), metavar="ADDR",
    help="Where the core starts, and where a flat IMAGE lies. [default: an ELF file's entry; a flat one's is 0, flash]",
)  # fmt: skip
@click.option(
    "--uart", "uarts", multiple=True, metavar="stdio|none|FILE",
    help="Where UART0 goes; given again, UART1. [default: stdio, none]",
)  # fmt: skip
@click.option(
    "--input", "typed", type=FILE, metavar="FILE",
    help="What is typed at UART0. [default: standard input, where --uart stdio is]",
)  # fmt: skip
@dram
@click.option("--dtb", type=FILE, metavar="FILE", help="A device tree in place of the board's own.")
@click.option(
    "--rtc", type=Moment(), default=DEFAULT_TIME, metavar="TIME", show_default=True,
    help="What the real-time clock shows at first, in UTC.",
)  # fmt: skip
@click.option(
    "--max-instructions", type=click.IntRange(1, (1 << 63) - 1), metavar="N",
    help="Stop after N instructions, with exit status 124.",
)  # fmt: skip
@click.option(
    "--trace", "trace_file", type=FILE, metavar="FILE",
    help="Write the run's trace, as `flexserve trace record` does; input then comes from --input only.",
)  # fmt: skip
@as_json
def exec(as_json: bool, uarts: tuple[str, ...], trace_file: Path | None, **parameters: object) -> int:  # noqa: A001 - the command's name
    """Run IMAGE, an ELF file or a flat binary, from EL3 on the board of QEMU's virt,secure=on.

    Its exit status is what the image exits with (semihosting), 0 after a power-off or a reset, 124 if it did not end.
    On a terminal, Ctrl-A x leaves.
    """
    if len(uarts) > UARTS:
        raise click.UsageError(f"--uart was given {len(uarts)} times, and the board has {UARTS} UARTs")
    recipe = ExecRecipe.from_parameters(parameters)
    places = dict(enumerate((*uarts, *(STDIO, NOWHERE)[len(uarts) :])))
    stage = RecordingStage() if trace_file else PlainStage()
    outcome = (_report if as_json else _show)(recipe, places, stage, traced=trace_file is not None)
    if trace_file and isinstance(stage, RecordingStage):
        save(trace_file, assemble({"recipe": recipe.as_json()}, stage.recordings, outcome))
    return outcome.status


def _show(recipe: ExecRecipe, places: Mapping[int, str], stage: Stage, *, traced: bool) -> Outcome:
    with _files(places) as files:
        source = _input(recipe, places, traced=traced)
        screen = FileScreen(source, files, (sys.stdout.buffer, sys.stderr.buffer))
        with raw_terminal() if isinstance(source, TerminalInput) else contextlib.nullcontext():
            outcome = _run(recipe, stage, screen)
    if not outcome.by_itself:
        click.echo(f"flexserve: {outcome.why}, at {outcome.pc:#x}; status {outcome.status}", err=True)
    return outcome


def _run(recipe: ExecRecipe, stage: Stage, screen: FileScreen) -> Outcome:
    try:
        return recipe.run(stage, screen)
    except (MachineError, Lost) as error:
        raise UserError(str(error)) from error
    finally:
        screen.flush()


def _report(recipe: ExecRecipe, places: Mapping[int, str], stage: Stage, *, traced: bool) -> Outcome:
    """What goes to stdio or nowhere is part of the JSON object."""
    uarts = {uart: io.BytesIO() for uart in range(UARTS)}
    prints = io.BytesIO(), io.BytesIO()
    with _files({uart: place for uart, place in places.items() if place not in {STDIO, NOWHERE}}) as files:
        outcome = _run(recipe, stage, FileScreen(_input(recipe, places, traced=traced), {**uarts, **files}, prints))
    report = {
        "ended": outcome.why,
        "status": outcome.status,
        "pc": outcome.pc,
        "instructions": outcome.instructions,
        "guest_seconds": outcome.instructions / VIRT_COUNTER_HZ,
        "uart0": _text(uarts[0]),
        "uart1": _text(uarts[1]),
        "semihosting": _text(prints[0]),
        "semihosting_errors": _text(prints[1]),
    }
    click.echo(json.dumps(report))
    return outcome


def _text(gathered: io.BytesIO) -> str:
    return gathered.getvalue().decode(errors="replace")


def _input(recipe: ExecRecipe, places: Mapping[int, str], *, traced: bool) -> FileInput | PipeInput | TerminalInput:
    if recipe.typed:
        try:
            return FileInput(recipe.typed.path.read_bytes())
        except OSError as error:
            raise UserError(f"{recipe.typed.path}: {error.strerror}") from error
    return standard_input() if places[0] == STDIO and not traced else FileInput(b"")


@contextlib.contextmanager
def _files(places: Mapping[int, str]) -> Iterator[dict[int, BinaryIO]]:
    """The UARTs' files, closed afterwards. Raises UserError."""
    with contextlib.ExitStack() as opened:
        files: dict[int, BinaryIO] = {}
        for line, place in places.items():
            if place == STDIO:
                files[line] = sys.stdout.buffer
            elif place != NOWHERE:
                try:
                    files[line] = opened.enter_context(Path(place).open("wb"))
                except OSError as error:
                    raise UserError(f"{place}: {error.strerror}") from error
        yield files
