"""`flexserve bench`: how fast the emulator is on this host. Nothing measured here enters a result of the guest's."""

from __future__ import annotations

import dataclasses
import json

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from emulator.memory_map import GIB, MIB
from flexserve.commands.parameters import Size, as_json
from flexserve.errors import UserError


@click.group()
def bench() -> None:
    """Measure the emulator's speed on this host."""


@bench.command()
@as_json
def smc(as_json: bool) -> None:
    """SMC round trips a second: an empty vector, beside QEMU's; the real monitor; world switches; Python kernels."""
    from firmware.build import image_path
    from flexserve.bench_smc import bare_loop, through_the_monitor

    bare = bare_loop(image_path("smc_loop"))
    monitor = through_the_monitor()
    if bare.missing:
        click.echo(f"no figure of QEMU's: {bare.missing}", err=True)
    if as_json:
        figures = {**dataclasses.asdict(bare), **dataclasses.asdict(monitor)}
        del figures["missing"]
        click.echo(json.dumps(figures))
        return
    table = Table("what", "a second", "of QEMU's", box=None, header_style="dim", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for what, rate in (
        ("SMC to an empty EL3 vector", bare.core_smc_per_s),
        ("the same ELF on QEMU", bare.qemu_per_s),
        (f"FLEX_VERSION through the monitor, {monitor.fast_call_instructions} instructions", monitor.fast_call_per_s),
        ("world switches, one way", monitor.world_switch_per_s),
        ("SMCs by a flow of a Python kernel", monitor.python_smc_per_s),
    ):
        if rate is not None:
            table.add_row(what, f"{rate:,.0f}", f"{rate / bare.qemu_per_s:.2f}" if bare.qemu_per_s else "")
    Console(highlight=False).print(table)


@bench.command("exec")
@as_json
def exec_(as_json: bool) -> None:
    """Compute, memory and SMC loops on `flexserve exec`, beside the same images on QEMU."""
    from firmware.build import image_path
    from flexserve.bench_exec import ROUNDS, BenchError, compare, runs

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("running both", total=ROUNDS * runs())
        try:
            figures = compare(
                image_path("yardstick").read_bytes(),
                image_path("smc_loop").read_bytes(),
                lambda: progress.advance(task),
            )
        except BenchError as error:
            raise UserError(str(error)) from error
    if figures.missing:
        click.echo(f"no figure of QEMU's: {figures.missing}", err=True)
    if as_json:
        values = dataclasses.asdict(figures)
        del values["missing"]
        click.echo(json.dumps(values))
        return
    table = Table("what", "a second", "of QEMU's", box=None, header_style="dim", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    kinds = {
        name: (rate, getattr(figures.qemu, name, None)) for name, rate in dataclasses.asdict(figures.ours).items()
    }
    for what, (ours, qemu) in {**figures.kernels, **kinds}.items():
        table.add_row(what, f"{ours:,.0f}", f"{ours / qemu:.2f}" if qemu else "")
    Console(highlight=False).print(table)


@bench.command()
@click.option("--size", type=Size(), default=4 * GIB, metavar="SIZE", show_default="4G", help="Flex-Mem, 1M and up.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="S", show_default=True, help="Of the order.")
@as_json
def flexmem(size: int, seed: int, as_json: bool) -> None:
    """Lock and reclaim Flex-Mem, extent by extent in random order, from guest loops."""
    from flexserve.bench_flexmem import lock_and_reclaim

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("locking and reclaiming", total=size)
        figures = lock_and_reclaim(size, seed, lambda done: progress.advance(task, done))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(figures)))
        return
    click.echo(f"{size // MIB:,} MiB, {figures.pages:,} pages: {figures.pages_per_s:,.0f} pages/s locked and reclaimed")
    click.echo(f"longest call: {figures.max_call_instructions:,} instructions, bound {figures.call_bound:,}")
    click.echo(f"peak memory of this process: {figures.max_rss_mib:,.0f} MiB")


@bench.command()
@click.option(
    "--params", type=click.Choice(["25M", "110M"]), default="25M", show_default=True, help="The random model's size."
)
@as_json
def llm(params: str, as_json: bool) -> None:
    """Serve a random model: tokens a second in prefill and decode, beside llama-cpp-python."""
    from flexserve.bench_llm import PROMPT_TOKENS, compare

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        rates = compare(params, lambda doing: progress.update(task, description=doing))
    if rates.missing:
        click.echo(f"no figures of the peer's: {rates.missing}", err=True)
    if as_json:
        values = dataclasses.asdict(rates)
        del values["missing"]
        click.echo(json.dumps(values))
        return
    click.echo(f"{rates.parameters:,} parameters, {rates.threads} threads; tokens a second")
    table = Table("what", "ours", "llama.cpp", "ratio", box=None, header_style="dim", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for what, ours, peer in (
        (f"prefill of {PROMPT_TOKENS}", rates.prefill_tokens_per_s, rates.peer_prefill_tokens_per_s),
        ("decode", rates.decode_tokens_per_s, rates.peer_decode_tokens_per_s),
    ):
        table.add_row(what, f"{ours:,.1f}", f"{peer:,.1f}" if peer else "", f"{ours / peer:.2f}" if peer else "")
    Console(highlight=False).print(table)


@bench.command()
@as_json
def npu(as_json: bool) -> None:
    """Multiply-accumulates a second of the NPU's model, beside the same products by numpy and by llama-cpp-python."""
    from flexserve.bench_npu import COLUMNS, COUNTS, ROWS, compare

    rates = compare()
    for missing in rates.missing:
        click.echo(f"no figures of a peer's: {missing}", err=True)
    if as_json:
        values = dataclasses.asdict(rates)
        del values["missing"]
        click.echo(json.dumps(values))
        return
    click.echo(f"matrices of {ROWS} x {COLUMNS}, {rates.threads} threads; G multiply-accumulates a second")
    table = Table("rows", "NPU, int8", "numpy, float32", "ggml, Q8_0", box=None, header_style="dim", pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for count, *figures in (
        (COUNTS[0], rates.decode_macs_per_s, rates.numpy_decode_macs_per_s, rates.ggml_decode_macs_per_s),
        (COUNTS[1], rates.prefill_macs_per_s, rates.numpy_prefill_macs_per_s, rates.ggml_prefill_macs_per_s),
    ):
        table.add_row(str(count), *(f"{figure / 1e9:,.1f}" if figure else "" for figure in figures))
    Console(highlight=False).print(table)
