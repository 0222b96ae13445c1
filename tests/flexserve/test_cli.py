"""The command line's manners: one line for what the user can mend, and the right exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest

from emulator.errors import StaleBuildError
from flexserve import cli
from flexserve.errors import UserError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> click.Group:
    """The real entry point with commands that misbehave in every way."""
    group = click.Group("flexserve")
    monkeypatch.setattr(cli, "cli", group)
    return group


def failing(error: BaseException) -> click.Command:
    def callback() -> None:
        raise error

    return click.Command("fail", callback=callback)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("model.gguf is empty:\n give a GGUF file"), "flexserve: model.gguf is empty: give a GGUF file\n"),
        (
            StaleBuildError("firmware/elf/monitor.elf is missing"),
            "flexserve: firmware/elf/monitor.elf is missing: run `pip install -e .` in the checkout\n",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    command: click.Group, capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    command.add_command(failing(error))
    assert cli.execute(["fail"]) == 2
    assert capsys.readouterr() == ("", line)


def test_interrupt_is_status_130(command: click.Group, capsys: pytest.CaptureFixture[str]) -> None:
    command.add_command(failing(KeyboardInterrupt()))
    assert cli.execute(["fail"]) == 128 + signal.SIGINT
    assert "Traceback" not in capsys.readouterr().err


def test_our_own_mistakes_are_not_hidden(command: click.Group) -> None:
    command.add_command(failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.execute(["fail"])


def test_command_chooses_its_status(command: click.Group) -> None:
    def got_through(ctx: click.Context) -> None:
        ctx.exit(1)

    command.add_command(click.Command("attack", callback=click.pass_context(got_through)))
    command.add_command(click.Command("good", callback=lambda: None))
    assert cli.execute(["attack"]) == 1
    assert cli.execute(["good"]) == 0


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["nonsense"], "'nonsense'"),
        (["--nonsense"], "'--nonsense'"),
        (["bench", "smc", "surplus"], "surplus"),
        (["bench", "nonsense"], "'nonsense'"),
    ],
)
def test_usage_error_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str], arguments: list[str], names: str
) -> None:
    assert cli.execute(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("flexserve: ")
    assert names in err
    assert err.count("\n") == 1
    assert "--help`" in err


def test_every_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["--help"]) == 0
    listing = capsys.readouterr().out
    assert all(f"\n  {name} " in listing for name in cli.COMMANDS)


def run(*arguments: str, stdout: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flexserve", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def test_process_exits_with_the_status() -> None:
    result = run("nonsense")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("flexserve: No such command 'nonsense'")


def test_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = run("--help", stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")
