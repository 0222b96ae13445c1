"""`flexserve gdb`: a server for gdb-multiarch, with both worlds, and time that runs backwards too."""

from __future__ import annotations

import json
from pathlib import Path

import click

from emulator.memory_map import NORMAL_IMAGE_BASE, PROBE_IMAGE_BASE
from firmware.build import image_path
from flexserve.debug.subject import Subject, open_snapshot, open_subject
from flexserve.errors import UserError
from flexserve.exec_recipe import ExecRecipe
from flexserve.recipe import parse
from flexserve.stepper.session import Session

CONTEXTS = "contexts"  # the monitor's symbol


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--port", type=click.IntRange(0, 65535), default=1234, metavar="N", show_default=True, help="0: any.")
@click.option("--once", is_flag=True, help="End when the first client is gone.")
@click.option("--snapshot", type=click.Path(path_type=Path), metavar="FILE", help="Go on from what `save` wrote.")
@click.option("--json", "as_json", is_flag=True, help="Say where the server is as one JSON object.")
@click.argument("run", nargs=-1, type=click.UNPROCESSED, metavar="[run|attack|exec] [OPTIONS OF IT]...")
def gdb(port: int, once: bool, snapshot: Path | None, as_json: bool, run: tuple[str, ...]) -> None:
    """Serve a run to GDB, from its first instruction: `flexserve gdb --tokens 4`."""
    from flexserve.gdb.contexts import Contexts
    from flexserve.gdb.files import Files
    from flexserve.gdb.server import listen, serve

    if snapshot and run:
        raise UserError(f"{snapshot} says what is run; leave {' '.join(run)!r} away")
    with listen(port) as server:
        subject = open_snapshot(snapshot) if snapshot else open_subject(parse(run))
        session = Session(subject)
        files = _files(subject)
        arguments = _arguments(subject, server.getsockname()[1])
        if as_json:
            click.echo(json.dumps({"port": server.getsockname()[1], "gdb": ["gdb-multiarch", *arguments]}))
        else:
            click.echo(f"gdb-multiarch {' '.join(_quoted(one) for one in arguments)}")
        try:
            serve(
                server, session, Contexts(_contexts(subject)), Files(files),
                lambda line: click.echo(line, err=True), once=once,
            )  # fmt: skip
        finally:
            session.close()


def _files(subject: Subject) -> list[Path]:
    if isinstance(subject.recipe, ExecRecipe):
        return [subject.recipe.image.path.resolve()]
    return [image_path(name) for name in ("monitor", "gate", "probe")]


def _contexts(subject: Subject) -> int | None:
    found = subject.sources.addresses_of_symbol(CONTEXTS) if subject.monitored else ()
    return found[0] if found else None


def _arguments(subject: Subject, port: int) -> list[str]:
    """What GDB is started with: it fetches the program's symbols itself, the gates' have to be placed."""
    arguments = ["-ex", f"target remote :{port}"]
    if subject.monitored:
        gate, probe = image_path("gate"), image_path("probe")
        layout = subject.timeline.machine.layout
        for path, base in ((gate, NORMAL_IMAGE_BASE), (gate, layout.secure_base), (probe, PROBE_IMAGE_BASE)):
            arguments += ["-ex", f"add-symbol-file {path} -o {base:#x}"]
    return arguments


def _quoted(argument: str) -> str:
    return f"'{argument}'" if " " in argument else argument
