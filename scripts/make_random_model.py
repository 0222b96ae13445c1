"""Write a seeded random `llama` as GGUF: a model of any size and type, where what it says does not matter."""

from pathlib import Path

import click
from gguf import GGMLQuantizationType

from flexserve.random_model import SMALLEST_VOCABULARY, RandomModel
from sworld.shape import ModelShape, ShapeError

KINDS = ("F32", "F16", "Q8_0", "Q4_0")


class Failure(click.ClickException):
    """One line and exit status 2."""

    exit_code = 2


@click.command(context_settings={"show_default": True})
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--vocabulary", type=click.IntRange(SMALLEST_VOCABULARY), default=2048)
@click.option("--width", type=int, default=512)
@click.option("--layers", type=int, default=8)
@click.option("--heads", type=int, default=8)
@click.option("--kv-heads", type=int, default=4)
@click.option("--feed-forward", type=int, default=1536)
@click.option("--context", type=int, default=512)
@click.option("--kind", type=click.Choice(KINDS), default="Q8_0", help="Type of the matrices.")
@click.option("--tied/--untied", default=True, help="Whether the embedding is the head.")
@click.option("--seed", type=int, default=0)
def main(
    output: Path, vocabulary: int, width: int, layers: int, heads: int, kv_heads: int, feed_forward: int, context: int,
    kind: str, tied: bool, seed: int,
) -> None:  # fmt: skip
    """Write a random model that `flexserve run --model OUTPUT` serves."""
    try:
        model = RandomModel(vocabulary, width, layers, heads, kv_heads, feed_forward, context,
                            GGMLQuantizationType[kind], tied=tied, seed=seed)
        ModelShape(vocabulary, width, layers, heads, kv_heads, feed_forward, context, model.rope_base,
                   model.norm_epsilon, tied)
        model.write(output)
    except (ShapeError, OSError, ValueError) as error:
        raise Failure(str(error)) from error
    click.echo(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
