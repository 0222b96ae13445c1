"""A hostile normal world against a phone that serves a model: what it tried, whether it got through, what stopped it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emulator.memory_map import MIB
from nworld.attacks import ATTACKS, Attack, Moment
from nworld.attacks.hostile import Hostile
from nworld.attacks.kernel import HostileKernel, Playbook

from .attacked_model import attacked_medium
from .judge import Judge
from .planted_registers import RegisterPlanter
from .system import Images, System

DRAM_BYTES = 64 * MIB
PROMPT = "a"
TOKENS = 8
NOTHING = "nothing"


@dataclass(frozen=True)
class Verdict:
    """``by``: what refused, as the event stream has it."""

    name: str
    tries: str
    blocked: bool
    by: str


class UnknownAttack(ValueError):
    """No attack has this name."""


def select(names: Sequence[str]) -> tuple[Attack, ...]:
    """Attacks by name, in the order of the list of all; all of them without names. Raises UnknownAttack."""
    known = {attack.name for attack in ATTACKS}
    for name in names:
        if name not in known:
            raise UnknownAttack(f"there is no attack {name!r}: `flexserve attack --list` names them all")
    return tuple(attack for attack in ATTACKS if not names or attack.name in names)


def run(
    attacks: Sequence[Attack],
    *,
    images: Images | None = None,
    lifted: bool = False,
    done: Callable[[Verdict], None] = lambda verdict: None,
) -> tuple[Verdict, ...]:
    """Play ``attacks`` on one phone, while and after it serves a model; ``done`` is told of each as it ends.

    ``lifted``: every target is an ordinary page, and every other protection is given what it asks for; an attack that
    does not get through then is none.
    """
    images = images or Images.load()
    stored = attacked_medium()
    system = System(DRAM_BYTES, images=images, normal_kernel=HostileKernel)
    try:
        system.board.trusted.provision(stored.slot)
        system.board.storage.insert(stored.content, writable=True)
        system.boot()
        battle = _Battle(system, images, Hostile(system.normal, system.probe, stored.layout), lifted, done)
        return battle.fight(sorted(attacks, key=lambda attack: list(Moment).index(attack.begins)))
    finally:
        system.dispose()


class _Battle:
    def __init__(
        self, system: System, images: Images, hostile: Hostile, lifted: bool, done: Callable[[Verdict], None]
    ) -> None:
        self._system = system
        self._hostile = hostile
        planter = RegisterPlanter(system.machine, images.gate, system.machine.layout.secure_base)
        system.secure.gate = planter
        self._judge = Judge(system, hostile, planter, lifted=lifted)
        self._done = done
        self._verdicts: list[Verdict] = []

    def fight(self, attacks: Sequence[Attack]) -> tuple[Verdict, ...]:
        assert isinstance(self._system.normal, HostileKernel)
        playbook = Playbook(attacks, self._hostile, self._judge, self._begun, self._ended)
        self._system.normal.playbook = playbook
        self._system.open(self._hostile.medium.slot)
        while not playbook.is_over and not playbook.has_business_at(Moment.CLOSED):
            self._system.generate(PROMPT, TOKENS)
        self._system.close()
        self._system.run("attacks", playbook.play, Moment.CLOSED)
        assert playbook.is_over
        return tuple(self._verdicts)

    def _begun(self, _: Attack) -> None:
        self._judge.arm()

    def _ended(self, attack: Attack, through: bool) -> None:
        by = self._judge.evidence.stopped_by()
        self._judge.end()
        verdict = Verdict(attack.name, attack.tries, not through, NOTHING if through else by or NOTHING)
        self._verdicts.append(verdict)
        self._done(verdict)
