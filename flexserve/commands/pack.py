"""`flexserve pack`: encrypt a model for a device."""

from __future__ import annotations

import json
from pathlib import Path

import click

from emulator.memory_map import PAGE_SIZE
from flexserve.commands.parameters import U32, as_json, device_id
from flexserve.pack import check_target, pack_gguf
from flexserve.whole_file import whole_file
from sworld.package import Package


@click.command()
@click.argument("source", metavar="IN.gguf", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT.flex", type=click.Path(path_type=Path))
@device_id
@click.option("--version", type=U32, default=1, metavar="V", show_default=True, help="Devices refuse older ones.")
@click.option("--name", "slot", metavar="SLOT", help="The slot that it is made for; without it, the file's name.")
@as_json
def pack(source: Path, target: Path, device_id: int, version: int, slot: str | None, as_json: bool) -> None:
    """Encrypt a Llama-architecture GGUF for a device."""
    check_target(source, target)
    content = pack_gguf(source, device_id=device_id, version=version, slot=slot)
    with whole_file(target) as file:
        file.write(content)
    identity = Package.identify(content)
    facts = {"slot": identity.name, "version": version, "device_id": device_id, "pages": len(content) // PAGE_SIZE}
    if as_json:
        click.echo(json.dumps(facts))
    else:
        where = click.format_filename(target)
        click.echo(f"{where}: {facts['pages']} pages for slot {identity.name!r}, version {version}, device {device_id}")
