"""Background threads: they run to their pause, sleep, see their own aborts, and end; the tick lasts as long as they."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from emulator.gate import AccessAll, Action, Counter, Flow, Read, Reply, SetTimer, read
from emulator.world_port import PortAbort
from nworld.background import PAUSE, TICK, Background, BackgroundFlow, Completion, Sleep
from nworld.gic import Gic

ABORT = PortAbort(0x9600_0007, 0x1000)
T = TypeVar("T")


class Player:
    """Answers reads in order, and the counter with ``now``; keeps what was asked of the timer."""

    def __init__(self, *replies: Reply | PortAbort) -> None:
        self.now = 0
        self.timer: list[int | None] = []
        self._replies = list(replies)

    def play(self, flow: Flow[T]) -> T:
        try:
            action = next(flow)
            while True:
                reply = self._reply(action)
                action = flow.throw(reply) if isinstance(reply, PortAbort) else flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    def _reply(self, action: Action) -> Reply | PortAbort:
        match action:
            case Counter():
                return self.now
            case SetTimer(at):
                self.timer.append(at)
                return None
            case AccessAll(accesses):
                return tuple(0 for _, value in accesses if value is None)
            case _:
                assert isinstance(action, Read)
                return self._replies.pop(0)


def started(player: Player, *threads: BackgroundFlow[None]) -> tuple[Background, Callable[[], Flow[bool]]]:
    """And the handler of its tick."""
    gic = Gic()
    background = Background(gic)
    for thread in threads:
        player.play(background.start(thread))
    (tick,) = gic._handlers.values()
    return background, tick


def test_each_thread_has_a_turn_up_to_its_pause() -> None:
    seen: list[str] = []

    def thread(name: str) -> BackgroundFlow[None]:
        for _ in range(2):
            seen.append(name + (yield from read(0, 1)).decode())
            yield PAUSE

    player = Player(b"1", b"2", b"3", b"4")
    background, _ = started(player, thread("a"), thread("b"))
    player.play(background.turn())
    assert seen == ["a1", "b2"]
    player.play(background.turn())
    assert seen == ["a1", "b2", "a3", "b4"]
    player.play(background.turn())  # both end
    player.play(background.turn())


def test_sleeper_has_no_turn_before_its_completion_or_its_deadline() -> None:
    completion = Completion()
    woken: list[int] = []

    def thread() -> BackgroundFlow[None]:
        while True:
            yield Sleep(completion, player.now + 100)
            woken.append(player.now)

    player = Player()
    background, _ = started(player, thread())
    for now in (0, 50, 99, 100, 199):
        player.now = now
        player.play(background.turn())
    assert woken == [100]
    completion.done = True
    player.play(background.turn())
    assert woken == [100, 199]


def test_tick_is_armed_while_there_are_threads_and_no_longer() -> None:
    def thread() -> BackgroundFlow[None]:
        yield PAUSE

    player = Player()
    background, tick = started(player)
    player.play(background.turn())
    assert player.timer == []
    player.now = 7
    player.play(background.start(thread()))
    player.play(background.start(thread()))
    assert player.timer == [7 + TICK]
    player.now = 9 + TICK
    assert player.play(tick())
    assert player.timer[1:] == [9 + 2 * TICK]
    player.play(background.turn())
    player.play(background.turn())  # both end
    assert player.timer[2:] == [None]


def test_preemption_gives_a_turn_for_each_tick_and_for_nothing_else() -> None:
    turns: list[int] = []

    def thread() -> BackgroundFlow[None]:
        while True:
            turns.append(player.now)
            yield PAUSE

    player = Player()
    background, tick = started(player, thread())
    player.play(background.turn_if_due())
    assert turns == []
    player.play(tick())
    player.play(background.turn_if_due())
    player.play(background.turn_if_due())
    assert turns == [0]


def test_abort_reaches_the_thread_that_caused_it() -> None:
    aborts: list[int] = []

    def thread() -> BackgroundFlow[None]:
        try:
            yield from read(0x1000, 1)
        except PortAbort as abort:
            aborts.append(abort.address)
        yield PAUSE

    player = Player(ABORT)
    background, _ = started(player, thread())
    player.play(background.turn())
    assert aborts == [0x1000]


def test_thread_that_fails_says_so_to_whoever_gave_it_the_turn() -> None:
    def thread() -> BackgroundFlow[None]:
        yield from read(0, 1)
        raise ArithmeticError

    player = Player(b"x")
    background, _ = started(player, thread())
    with pytest.raises(ArithmeticError):
        player.play(background.turn())
