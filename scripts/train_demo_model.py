"""Train the demo model that FlexServe ships: a small `llama` on the King James Bible, written as a Q8_0 GGUF file."""

import lzma
import subprocess
from pathlib import Path

import click

try:
    import torch
    from demo_model import corpus, export, measure, training
    from demo_model.network import Network, Shape
    from demo_model.tokenizer import Tokenizer
except ImportError as missing:
    click.echo(f"Error: {missing}: pip install -e '.[train]'", err=True)
    raise SystemExit(2) from None

ROOT = Path(__file__).resolve().parent.parent
DROPOUT          = 0.1
REFINE_SHARE     = 0.27     # of the minutes, and as much of the steps on top of the first stage
TEST_TEXT_LENGTH = 32_000   # characters, at least


class Failure(click.ClickException):
    """One line and exit status 2."""

    exit_code = 2


@click.command(context_settings={"show_default": True})
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=ROOT / "flexserve/models/demo.gguf",
              help="The GGUF file, written at every tenth of the run.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=33.0, help="End after so long,")
@click.option("--steps", type=click.IntRange(min=10), default=3000, help="or after so many steps.")
@click.option("--seed", type=int, default=1, help="Of weights and batches.")
@click.option("--threads", type=click.IntRange(min=1), default=2)
@click.option("--refine-only", is_flag=True, help="Start from the output file and run the second stage alone.")
@click.option("--test-data", type=click.Path(file_okay=False, path_type=Path),
              help="Write the held-out prose and the list of training words for the tests into this folder.")
def main(output: Path, minutes: float, steps: int, seed: int, threads: int, refine_only: bool,
         test_data: Path | None) -> None:
    """Train the demo model, write it as GGUF, and measure the file."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    try:
        chapters, held_out = corpus.split(corpus.read_bible())
        if test_data:
            write_test_data(test_data, chapters, held_out)
        course = Course(output, chapters, held_out)
        if not refine_only:
            budget = training.Budget(steps, minutes * (1 - REFINE_SHARE))
            course.run(Network(course.shape, DROPOUT), training.LEARN, budget)
        budget = training.Budget(round(steps * REFINE_SHARE), minutes * REFINE_SHARE)
        course.run(export.read(output, course.shape, DROPOUT), training.REFINE, budget)
        course.show()
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise Failure(str(error)) from error


class Course:
    """The text as tokens, and the stages that a network goes through on it."""

    def __init__(self, output: Path, chapters: list[corpus.Chapter], held_out: list[corpus.Chapter]) -> None:
        self.output = output
        self.shape = Shape()
        self.words = corpus.vocabulary(chapters)
        self.tokenizer = Tokenizer.train((verse for chapter in chapters for verse in chapter.verses),
                                         self.shape.vocabulary)
        self.text = self.tokenizer.stream(chapters)
        self.held_out_ids = self.tokenizer.stream(held_out).ids
        output.parent.mkdir(parents=True, exist_ok=True)

    def run(self, network: Network, stage: training.Stage, budget: training.Budget) -> None:
        """One stage, with a file and its loss on the held-out text at every tenth."""
        parameters = sum(weight.numel() for weight in network.parameters())
        click.echo(f"{parameters:,} parameters, {len(self.text.ids):,} training tokens, {stage}")
        saved = 0.0
        for report in training.train(network, self.text, self.tokenizer.inside_word(), stage, budget):
            line = f"step {report.step}, {report.minutes:.1f} min, loss {report.loss:.3f}"
            if report.progress >= saved + 0.1 or report.progress == 1:
                saved = report.progress
                export.write(self.output, network, self.tokenizer.pieces())
                written = export.read(self.output, self.shape)
                line += f", held out {measure.loss(written, self.held_out_ids):.3f} nats a token"
            click.echo(line)

    def show(self) -> None:
        """Figures and samples of the file as written, in float and as served."""
        network = export.read(self.output, self.shape)
        for serving in (False, True):
            network.serve(serving)
            samples = [measure.greedy(network, self.tokenizer, prompt) for prompt in measure.PROMPTS]
            click.echo(f"\n{'int8 serving' if serving else 'float'}: "
                       f"held out {measure.loss(network, self.held_out_ids):.3f} nats a token, "
                       f"{measure.known_words(samples, self.words):.1%} of the words known, "
                       f"a four-word phrase at most {max(sample.repeats() for sample in samples)} times")
            for sample in samples:
                click.echo(f"  {sample.prompt} |{sample.text}")
        agreement = measure.agreement(network, self.held_out_ids)
        click.echo(f"\nsame choice in float and int8 at {agreement:.1%} of the positions")


def write_test_data(folder: Path, chapters: list[corpus.Chapter], held_out: list[corpus.Chapter]) -> None:
    """Held-out chapters, a paragraph each, in demo_text.txt; the words of the training text in kjv_words.txt.xz."""
    folder.mkdir(parents=True, exist_ok=True)
    text = ""
    for chapter in held_out:
        if len(text) < TEST_TEXT_LENGTH:
            text += chapter.prose + "\n"
    (folder / "demo_text.txt").write_text(text)
    listed = "".join(word + "\n" for word in sorted(corpus.vocabulary(chapters)))
    (folder / "kjv_words.txt.xz").write_bytes(lzma.compress(listed.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()
