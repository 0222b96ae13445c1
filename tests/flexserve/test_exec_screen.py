"""What is typed arrives, whole and once, from files, pipes and terminals."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from flexserve.exec_run import Left
from flexserve.exec_screen import FileInput, PipeInput, TerminalInput
from tests.flexserve.test_exec import assemble
from tests.flexserve.test_exec_timeline import ECHO


def test_a_file_comes_line_by_line_when_it_is_wanted() -> None:
    lines = FileInput(b"one\ntwo")
    assert [lines.read(taken, wanted=True, idle_seconds=0) for taken in (0, 4, 7)] == [b"one\n", b"two", None]
    source = FileInput(b"typed")
    assert source.read(0, wanted=False, idle_seconds=0) == b""
    assert source.read(0, wanted=True, idle_seconds=0) == b"typed"
    assert source.read(2, wanted=True, idle_seconds=0) == b"ped"
    assert source.read(5, wanted=True, idle_seconds=0) is None


def test_a_pipes_parts_do_not_matter() -> None:
    reader, writer = os.pipe()
    source = PipeInput(reader)
    command = "import os, time; os.write(1, b'one '); time.sleep(0.2); os.write(1, b'two\\nthree')"
    with subprocess.Popen([sys.executable, "-c", command], stdout=writer):
        os.close(writer)
        assert source.read(0, wanted=False, idle_seconds=0) == b""
        assert source.read(0, wanted=True, idle_seconds=0) == b"one two\n"
        assert source.read(8, wanted=True, idle_seconds=0) == b"three"
        assert source.read(13, wanted=True, idle_seconds=0) is None
    os.close(reader)


def test_a_pipe_whose_writer_is_slow_comes_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flexserve.exec_screen.PIPE_PATIENCE_SECONDS", 0.01)
    reader, writer = os.pipe()
    source = PipeInput(reader)
    assert source.read(0, wanted=True, idle_seconds=0) == b""
    os.write(writer, b"late\nlater")
    assert source.read(0, wanted=False, idle_seconds=0) == b"late\nlater"
    os.close(writer)
    assert source.read(10, wanted=True, idle_seconds=0) is None
    os.close(reader)


def test_control_a_x_leaves_and_control_a_twice_is_one() -> None:
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    source = TerminalInput(slave)
    assert source.read(0, wanted=True, idle_seconds=0) == b""
    os.write(master, b"a\x01\x01b\x01")
    assert source.read(0, wanted=False, idle_seconds=1) == b"a\x01b"
    os.write(master, b"x")
    with pytest.raises(Left):
        source.read(3, wanted=False, idle_seconds=1)


COMMAND = [sys.executable, "-m", "flexserve", "exec"]


def test_typing_at_a_terminal_reaches_the_guest(tmp_path: Path) -> None:
    image = assemble(tmp_path, ECHO)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(COMMAND[0], [*COMMAND, str(image)])  # noqa: S606  # there is no other way onto a terminal of our own
    output = b""
    os.write(terminal, b"hi")
    while b"HI" not in output:
        output += os.read(terminal, 100)
    time.sleep(0.1)
    os.write(terminal, b" you.")
    _, status = os.waitpid(pid, 0)
    output += os.read(terminal, 100)
    assert b"YOU" in output
    assert os.waitstatus_to_exitcode(status) == 0x85


def test_a_piped_run_is_the_same_every_time(tmp_path: Path) -> None:
    image = assemble(tmp_path, ECHO)
    runs = [
        subprocess.run([*COMMAND, "--json", str(image)], input=b"piped.", capture_output=True, check=False, timeout=60)
        for _ in range(2)
    ]
    assert runs[0].returncode == 0x85
    assert b'"uart0": "PIPED\\n"' in runs[0].stdout
    assert runs[0].stdout == runs[1].stdout
