"""A hostile normal world against a phone that serves a model: what it tried, and what stopped it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from emulator.machine import Machine
from emulator.memory_map import MIB, DramLayout
from nworld.attacks import ATTACKS, Attack, Moment
from nworld.attacks.hostile import Hostile
from nworld.attacks.kernel import HostileKernel, Playbook

from .attacked_model import attacked_medium
from .judge import Judge
from .planted_registers import RegisterPlanter
from .system import Generation, Images, Show, System

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
    begun: Callable[[Attack], None] = lambda attack: None,
    done: Callable[[Verdict], None] = lambda verdict: None,
    make_machine: Callable[[DramLayout], Machine] = Machine,
    show: Show = lambda notice: None,
) -> tuple[Verdict, ...]:
    """Play ``attacks`` on one phone, while and after it serves a model; ``begun`` and ``done`` are told of each.

    After an attack that got through the phone cannot be trusted: those that are left get a fresh one. ``lifted``: every
    target is an ordinary page, and every other protection is given what it asks for; an attack that does not get
    through then is none.
    """
    images = images or Images.load()
    order = sorted(attacks, key=lambda attack: list(Moment).index(attack.begins))
    verdicts: list[Verdict] = []

    def judged(verdict: Verdict) -> None:
        verdicts.append(verdict)
        done(verdict)

    while len(verdicts) < len(order):
        battle = Battle(images, lifted=lifted, make_machine=make_machine, show=show)
        with contextlib.closing(battle), contextlib.suppress(Breach):
            battle.fight(order[len(verdicts) :], judged, begun)
    return tuple(verdicts)


class Breach(Exception):
    """An attack got through."""


class Battle:
    """A phone with a hostile normal kernel, booted."""

    def __init__(
        self,
        images: Images,
        *,
        lifted: bool = False,
        make_machine: Callable[[DramLayout], Machine] = Machine,
        show: Show = lambda notice: None,
    ) -> None:
        stored = attacked_medium()
        self.system = System(
            DRAM_BYTES,
            images=images,
            normal_kernel=HostileKernel,
            use_npu=False,  # these attacks are about memory, and a token by the NPU is thousands of events
            make_machine=make_machine,
            show=show,
        )
        self.system.board.trusted.provision(stored.slot)
        self.system.board.storage.insert(stored.content, writable=True)
        self.system.boot()
        self.hostile = Hostile(self.system.normal, self.system.probe, stored.layout)
        planter = RegisterPlanter(self.system.machine, images.gate, self.system.machine.layout.secure_base)
        self.system.secure.gate = planter
        self.judge = Judge(self.system, self.hostile, planter, lifted=lifted)

    def close(self) -> None:
        """Give the host's memory back."""
        self.system.dispose()

    def fight(
        self,
        attacks: Sequence[Attack],
        done: Callable[[Verdict], None],
        begun: Callable[[Attack], None] = lambda attack: None,
    ) -> Generation:
        """Serve a model, under ``attacks``: what the last request gave. Raises Breach when one got through."""

        def begins(attack: Attack) -> None:
            self.judge.arm()
            begun(attack)

        def ended(attack: Attack, through: bool) -> None:
            by = self.judge.evidence.stopped_by()
            self.judge.end()
            assert through or by, f"{attack.name} did not get through, and nothing stopped it"
            done(Verdict(attack.name, attack.tries, not through, NOTHING if through else by))
            if through and not self.judge.lifted:
                raise Breach(attack.name)

        playbook = Playbook(attacks, self.hostile, self.judge, begins, ended)
        assert isinstance(self.system.normal, HostileKernel)
        self.system.normal.playbook = playbook
        self.system.open(self.hostile.medium.slot)
        generation = self.system.generate(PROMPT, TOKENS)
        while playbook.wants_a_token:
            generation = self.system.generate(PROMPT, TOKENS)
        self.system.close()
        self.system.run("attacks", partial(playbook.play, Moment.CLOSED))
        assert playbook.is_over
        return generation
