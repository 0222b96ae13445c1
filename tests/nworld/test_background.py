"""Background threads: they run to their pause, see their own aborts, and end."""

from __future__ import annotations

import pytest

from emulator.gate import Action, Flow, Read, Reply, read
from emulator.world_port import PortAbort
from nworld.background import PAUSE, Background, BackgroundFlow

ABORT = PortAbort(0x9600_0007, 0x1000)


def play(flow: Flow[None], replies: list[Reply | PortAbort]) -> list[Action]:
    """Every action of a flow, answered in order."""
    actions: list[Action] = []
    try:
        action = next(flow)
        while True:
            actions.append(action)
            reply = replies.pop(0)
            action = flow.throw(reply) if isinstance(reply, PortAbort) else flow.send(reply)
    except StopIteration:
        return actions


def test_each_thread_has_a_turn_up_to_its_pause() -> None:
    seen: list[str] = []

    def thread(name: str) -> BackgroundFlow:
        for _ in range(2):
            seen.append(name + (yield from read(0, 1)).decode())
            yield PAUSE

    background = Background()
    background.add(thread("a"))
    background.add(thread("b"))
    assert play(background.turn(), [b"1", b"2"]) == [Read(0, 1), Read(0, 1)]
    play(background.turn(), [b"3", b"4"])
    assert seen == ["a1", "b2", "a3", "b4"]
    assert play(background.turn(), []) == []  # both end
    assert play(background.turn(), []) == []


def test_abort_reaches_the_thread_that_caused_it() -> None:
    aborts: list[int] = []

    def thread() -> BackgroundFlow:
        try:
            yield from read(0x1000, 1)
        except PortAbort as abort:
            aborts.append(abort.address)
        yield PAUSE

    background = Background()
    background.add(thread())
    play(background.turn(), [ABORT])
    assert aborts == [0x1000]


def test_thread_that_fails_says_so_to_whoever_gave_it_the_turn() -> None:
    def thread() -> BackgroundFlow:
        yield from read(0, 1)
        raise ArithmeticError

    background = Background()
    background.add(thread())
    with pytest.raises(ArithmeticError):
        play(background.turn(), [b"x"])
