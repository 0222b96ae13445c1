"""`flexserve step` as a command: scripts, JSON, exit statuses, and the walk-through of docs/stepping.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flexserve.cli import execute

from .run import SMALL

WALKTHROUGH = Path(__file__).resolve().parents[3] / "docs" / "stepping.md"

# What a change of the firmware moves about: positions, places in code, compiled instructions.
UNSTABLE = (
    (r"\[[\d+]+\]", "[position]"),
    (r"0x0?e00[0-9a-f]{4}", "0xcode"),
    (r"\+0x[0-9a-f]+", "+offset"),
    (r"\.([chS]):\d+", r".\1:line"),
    (r"(> {2})\w+ .*", r"\1instruction"),
    (r"(=>)? +\d+ \|", "   line |"),
)


def stable(text: str) -> str:
    for pattern, replacement in UNSTABLE:
        text = re.sub(pattern, replacement, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def shown(text: str) -> list[tuple[str, str]]:
    """Commands at the prompt, each with what follows it."""
    parts = re.split(r"^\(flex\) (.*)\n", text, flags=re.MULTILINE)[1:]
    return [(command, stable(answer.rstrip())) for command, answer in zip(parts[::2], parts[1::2], strict=True)]


def test_the_walk_through_shows_what_the_document_shows(capsys: pytest.CaptureFixture[str]) -> None:
    console = "\n".join(re.findall(r"```console\n(.*?)```", WALKTHROUGH.read_text(), flags=re.DOTALL))
    (command,) = re.findall(r"^\$ flexserve (.*)$", console, flags=re.MULTILINE)
    expected = shown(console)
    assert len(expected) > 5
    arguments = [word for line, _ in expected for word in ("-c", line)]
    assert execute([*command.split(), *arguments]) == 0
    assert shown(capsys.readouterr().out) == expected


def test_a_script_is_done_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "commands"
    script.write_text("# to the first call\nnext smc   # of all\n\nregisters x0\nquit\nstep\n")
    assert execute(["step", *SMALL, "--script", str(script)]) == 0
    out = capsys.readouterr().out
    assert [command for command, _ in shown(out)] == ["next smc", "registers x0", "quit"]
    assert "SMC DRIVER_READY(" in out


def test_a_snapshot_is_gone_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "file")
    assert execute(["step", *SMALL, "-c", "next smc 3", "-c", "registers", "-c", f"save {file}", "-c", "next smc"]) == 0
    (_, _), (_, registers), _, (_, following) = shown(capsys.readouterr().out)
    assert execute(["step", "--snapshot", file, "-c", "registers", "-c", "next smc", "-c", "prev smc 4"]) == 0
    (_, same), (_, next_call), (_, start) = shown(capsys.readouterr().out)
    assert (same, next_call) == (registers, following)
    assert start.startswith("[position] this is where the run begins")


def test_json_is_one_object_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["step", "--json", *SMALL, "-c", "next smc", "-c", "system scr", "-c", "xyzzy"]) == 2
    stopped, system, refused = map(json.loads, capsys.readouterr().out.splitlines())
    assert (stopped["command"], stopped["ok"], stopped["stop"]) == ("next smc", True, "event")
    assert system["registers"][0]["name"] == "SCR_EL3"
    assert (refused["ok"], refused["error"]) == (False, "no command 'xyzzy': `help` lists what there is")


def test_the_first_refusal_ends_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "commands"
    script.write_text("xyzzy\nstep\n")
    assert execute(["step", *SMALL, "--script", str(script)]) == 2
    out, error = capsys.readouterr()
    assert [command for command, _ in shown(out + "\n")] == ["xyzzy"]
    assert error == "no command 'xyzzy': `help` lists what there is\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--script", "missing"], "flexserve: missing: No such file or directory"),
        (["--toast"], "flexserve: No such option '--toast'"),
        (["--tokens", "many"], "flexserve: Invalid value for '--tokens'"),
        (["--model", "missing.gguf"], "flexserve: missing.gguf"),
        (["attack", "toaster"], "flexserve: "),
        (["exec", "missing.elf"], "flexserve: missing.elf"),
        (["--snapshot", "missing"], "flexserve: missing: No such file or directory"),
        (["--snapshot", "README.md"], "flexserve: README.md is no snapshot"),
        (["--snapshot", "missing", "--tokens", "3"], "flexserve: missing says what is run"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(WALKTHROUGH.parents[1])
    assert execute(["step", *arguments, "-c", "where"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(why)
    assert error.count("\n") == 1
