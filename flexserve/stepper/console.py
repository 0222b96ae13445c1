"""The two ways to give commands: typed at a prompt, or from a list. Both print what is answered."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from rich.console import Console

from flexserve.debug.scene import Answer, Refused

from .command import Quit
from .commands import perform
from .completion import candidates
from .session import Session

PROMPT = "(flex) "
PATIENCE = 0.7  # seconds before a command shows that it is at work
WELCOME = "Forwards: step, next KIND, continue. Backwards: back, prev KIND, reverse-continue. `help` lists everything."


class Printer:
    """Shows answers: as text, or as one JSON object a command."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)

    def answer(self, command: str, answer: Answer) -> None:
        if self._as_json:
            print(json.dumps({"command": command, "ok": True, **answer.data}), flush=True)
            return
        for line in answer.lines:
            self._console.print(line)

    def refusal(self, command: str, why: str) -> None:
        if self._as_json:
            print(json.dumps({"command": command, "ok": False, "error": why}), flush=True)
        else:
            print(why, file=sys.stderr, flush=True)

    def echo(self, command: str) -> None:
        if not self._as_json:
            self._console.print(f"{PROMPT}{command}", markup=False)


def run_commands(session: Session, commands: Iterable[str], *, as_json: bool) -> bool:
    """One after the other, up to the first that is refused; whether none was."""
    printer = Printer(as_json=as_json)
    for command in commands:
        printer.echo(command)
        try:
            with _busy():
                answer = perform(session, command)
            printer.answer(command, answer)
        except Quit:
            return True
        except Refused as refused:
            printer.refusal(command, str(refused))
            return False
        if answer.data.get("stop") == "interrupted":
            raise KeyboardInterrupt
    return True


def script_lines(text: str) -> Iterator[str]:
    """The commands of a script: a line each, ``#`` begins a comment."""
    for line in text.splitlines():
        command = line.partition("#")[0].strip()
        if command:
            yield command


def converse(session: Session) -> None:
    """Ask for commands until the user leaves. An empty line repeats the last one."""
    printer = Printer(as_json=False)
    prompt: PromptSession[str] = PromptSession(
        history=_history(), completer=_Completer(session), complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory(),
    )  # fmt: skip
    print(WELCOME)
    printer.answer("where", perform(session, "where"))
    last = ""
    while True:
        try:
            line = prompt.prompt(PROMPT).strip() or last
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        last = line
        if not line:
            continue
        try:
            with _busy():
                answer = perform(session, line)
            printer.answer(line, answer)
        except Quit:
            return
        except Refused as refused:
            printer.refusal(line, str(refused))


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    """What takes longer than a moment says so, on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status("running; Ctrl-C stops")
    timer = threading.Timer(PATIENCE, status.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


class _Completer(Completer):
    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor
        begun = "" if line.endswith(" ") else (line.split() or [""])[-1]
        for word in candidates(self._session, line):
            yield Completion(word, start_position=-len(begun))


def _history() -> History:
    """Kept where the desktop's convention has state; only in memory if that cannot be written."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "flexserve"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "step_history"
        file.touch()
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))
