"""The prompt: commands as they are typed, an empty line again, and Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from flexserve.errors import INTERRUPTED
from flexserve.stepper.console import WELCOME, converse

from .run import SMALL, session

PATIENCE = 60.0  # seconds


@pytest.fixture(autouse=True)
def _own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_an_empty_line_does_the_last_command_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one = session()
    with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
        typed.send_text("next smc\n\nnonsense\nquit\n")
        converse(one)
    calls = sum(event.kind.name == "SMC" for event in one.timeline.events)
    one.timeline.close()
    out, error = capsys.readouterr()
    assert out.startswith(WELCOME)
    assert (calls, out.count("_READY(")) == (2, 2)
    assert error == "no command 'nonsense': `help` lists what there is\n"
    assert "next smc" in (tmp_path / "flexserve" / "step_history").read_text()


def test_the_end_of_input_leaves() -> None:
    one = session()
    with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
        typed.send_text("\x04")
        converse(one)
    one.timeline.close()


def test_ctrl_c_in_a_script_ends_it(tmp_path: Path) -> None:
    """A breakpoint that never holds keeps the run going for long enough."""
    script = tmp_path / "commands"
    script.write_text("where\nbreak invariant\ncontinue\nstep\n")
    command = [sys.executable, "-m", "flexserve", "step", "--tokens", "500", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while "(flex) continue" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(PATIENCE) == INTERRUPTED
    assert "(flex) step" not in rest


def test_ctrl_c_at_a_terminal_returns_to_the_prompt() -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "flexserve", "step", *SMALL, "--tokens", "500"]
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, start_new_session=True) as process:
        try:
            os.close(child)
            read_until(parent, "(flex)")
            os.write(parent, b"break invariant\r")
            read_until(parent, "breakpoint 1: broken invariant")
            os.write(parent, b"continue\r")
            read_until(parent, "running")
            process.send_signal(signal.SIGINT)
            read_until(parent, "interrupted")
            os.write(parent, b"quit\r")
            while read_some(parent):
                pass
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            os.close(parent)


def read_until(terminal: int, text: str) -> None:
    """Answers what a terminal answers when it is asked for the cursor's place, as prompt_toolkit does."""
    seen, end = "", time.monotonic() + PATIENCE
    while text not in seen:
        assert time.monotonic() < end, seen
        some = read_some(terminal)
        if "\x1b[6n" in some:
            os.write(terminal, b"\x1b[1;1R")
        seen += some


def read_some(terminal: int) -> str:
    """Empty once the other side is closed."""
    ready, _, _ = select.select([terminal], [], [], PATIENCE)
    if not ready:
        return ""
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:
        return ""
