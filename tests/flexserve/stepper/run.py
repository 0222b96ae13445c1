"""A small run to step through: two tokens of the demo model."""

from __future__ import annotations

from collections.abc import Sequence

from flexserve.debug.scene import Answer
from flexserve.debug.subject import open_subject
from flexserve.recipe import parse
from flexserve.stepper.commands import perform
from flexserve.stepper.session import Session

SMALL = ("--tokens", "2", "--dram", "128M")


def session(arguments: Sequence[str] = SMALL) -> Session:
    return Session(open_subject(parse(arguments)))


def do(session: Session, *commands: str) -> Answer:
    """The answer to the last of them."""
    answers = [perform(session, command) for command in commands]
    return answers[-1]
