"""`flexserve bench`: how fast the emulator is on this host. Nothing measured here enters a result of the guest's."""

from __future__ import annotations

import dataclasses
import json

import click

from flexserve.commands.parameters import as_json


@click.group()
def bench() -> None:
    """Measure the emulator's speed on this host."""


@bench.command()
@as_json
def smc(as_json: bool) -> None:
    """SMC round trips a second, beside QEMU's."""
    from firmware.build import image_path
    from flexserve.bench_smc import bare_loop

    rates = bare_loop(image_path("smc_loop"))
    if rates.missing:
        click.echo(f"no figure of QEMU's: {rates.missing}", err=True)
    if as_json:
        figures = dataclasses.asdict(rates)
        del figures["missing"]
        click.echo(json.dumps(figures))
        return
    click.echo(f"SMC to an empty vector, our core  {rates.core_smc_per_s:>12,.0f} /s")
    if rates.qemu_per_s:
        click.echo(f"the same on QEMU                  {rates.qemu_per_s:>12,.0f} /s")
        click.echo(f"ratio                             {rates.core_smc_per_s / rates.qemu_per_s:>12.2f}")
