"""A hostile normal world against a phone that serves a model: what it tried, and what stopped it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emulator.gate import GateFault
from emulator.machine import Lost, Machine
from emulator.memory_map import MIB, DramLayout
from emulator.world_port import PortAbort
from monitor.checker import Checker
from monitor.services.calls import CallFailed
from nworld.attacks import ATTACKS, Attack, Carelessness, Moment
from nworld.attacks.drivers import BadDriver
from nworld.attacks.hostile import Hostile
from nworld.attacks.kernel import HostileKernel, Playbook
from nworld.npu_sandbox import NpuSandbox
from nworld.secure import ServiceFailed
from sworld.shape import ModelShape

from .attacked_model import NPU_SHAPE, SHAPE, attacked_medium
from .judge import Judge
from .judged_kernel import CARELESS, JudgedKernel
from .planted_registers import RegisterPlanter
from .sweep import Progress, Sweep
from .system import Generation, Images, Show, System

DRAM_BYTES = 64 * MIB
PROMPT = "a"
TOKENS = 8
NPU_TOKENS = 2  # by the NPU: a request is over soon, and what it does is in every golden trace
REQUESTS_PER_ATTACK = 4  # within which each must have had its moments
NOTHING = "nothing"
BROKEN = (CallFailed, GateFault, Lost, PortAbort, ServiceFailed)  # a kernel or the monitor has not survived


@dataclass(frozen=True)
class Verdict:
    """``by``: what refused, as the event stream has it; ``times``: it was tried at so many instructions."""

    name: str
    tries: str
    blocked: bool
    by: str
    times: int = 1


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
    tried: Progress = lambda done, of: None,
    make_machine: Callable[[DramLayout], Machine] = Machine,
    show: Show = lambda notice: None,
) -> tuple[Verdict, ...]:
    """Play ``attacks`` on phones, while and after they serve a model; ``begun`` and ``done`` are told of each.

    ``tried`` hears at how many instructions of how many an attack was tried that is tried at each.

    There is a phone for each driver of the NPU, and one whose secure world multiplies by the processor. After an attack
    that got through a phone cannot be trusted: those that are left get a fresh one. ``lifted``: every target is an
    ordinary page, every other protection is given what it asks for, and the secure kernel does what `Attack` says; an
    attack that does not get through then is none.
    """
    images = images or Images.load()
    verdicts: list[Verdict] = []

    def judged(verdict: Verdict) -> None:
        verdicts.append(verdict)
        done(verdict)

    phones = {one: (one.driver, CARELESS[one.careless] if lifted else JudgedKernel) for one in attacks}
    for driver, kernel in dict.fromkeys(phones.values()):
        left = sorted((one for one in attacks if phones[one] == (driver, kernel)), key=lambda one: one.begins.number)
        while left:
            before = len(verdicts)
            battle = Battle(
                images, driver, kernel, lifted=lifted, tried=tried, make_machine=make_machine, show=show
            )
            with contextlib.closing(battle), contextlib.suppress(Breach):
                battle.fight(left, judged, begun)
            left = left[len(verdicts) - before :]
    return tuple(verdicts)


@functools.cache
def peaceful_tokens(tokens: int, shape: ModelShape) -> tuple[int, ...]:
    """What a phone serves that nobody attacks, by its processor."""
    stored = attacked_medium(shape)
    system = System(DRAM_BYTES, use_npu=False)
    system.board.trusted.provision(stored.slot)
    system.board.storage.insert(stored.content)
    system.boot()
    system.open(stored.layout.slot)
    generation = system.generate(PROMPT, tokens)
    system.dispose()
    return generation.tokens


class Breach(Exception):
    """An attack got through."""


class Battle:
    """A phone with a hostile normal kernel, booted; ``driver``, ``lifted`` and ``tried`` as in `Attack` and `run`."""

    def __init__(
        self,
        images: Images,
        driver: type[NpuSandbox] | None = None,
        kernel: type[JudgedKernel] = JudgedKernel,
        *,
        lifted: bool = False,
        tried: Progress = lambda done, of: None,
        make_machine: Callable[[DramLayout], Machine] = Machine,
        show: Show = lambda notice: None,
    ) -> None:
        shape, self._tokens = (NPU_SHAPE, NPU_TOKENS) if driver else (SHAPE, TOKENS)
        stored = attacked_medium(shape)
        self._playbook: Playbook | None = None
        self.system = System(
            DRAM_BYTES,
            images=images,
            secure_kernel=kernel,
            normal_kernel=HostileKernel,
            driver_context=driver or NpuSandbox,
            use_npu=driver is not None,
            make_machine=make_machine,
            stopped=lambda: self.judge.look() if self._playbook and self._playbook.under_way else None,
            show=lambda notice: None if self._sweep.is_copy else show(notice),
        )
        self._sweep = Sweep(self.system.machine, tried)
        if isinstance(self.system.driver, BadDriver):
            self.system.driver.choose = self._sweep.choose
        self.system.board.trusted.provision(stored.slot)
        self.system.board.storage.insert(stored.content, writable=True)
        self.system.boot()
        self.hostile = Hostile(self.system.normal, self.system.probe, stored.layout, self._sweep.choose)
        planter = RegisterPlanter(self.system.machine, images.gate, self.system.machine.layout.secure_base)
        self.system.secure.gate = planter
        checker = Checker(self.system.machine, images.monitor)
        tokens = functools.partial(peaceful_tokens, self._tokens, shape)
        self.judge = Judge(self.system, self.hostile, planter, checker, tokens, lifted=lifted)

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
            self._sweep.begin()
            self.judge.begin()
            begun(attack)

        def ended(attack: Attack, through: bool | None) -> None:
            by = self.judge.evidence.stopped_by()
            self.judge.end()
            rule = self.judge.broken_rule()
            through = True if rule else through
            self._sweep.ended(through)
            assert through or by, f"{attack.name} did not get through, and nothing stopped it"
            broken = f"{NOTHING}, and {rule} was broken" if rule else NOTHING
            done(Verdict(attack.name, attack.tries, not through, broken if through else by, self._sweep.times))
            if through and not (self.judge.lifted and attack.careless is Carelessness.CHECK_SUMS):
                raise Breach(attack.name)

        self._playbook = playbook = Playbook(attacks, self.hostile, self.judge, begins, ended)
        assert isinstance(self.system.normal, HostileKernel)
        self.system.normal.playbook = playbook
        try:
            with self._sweep.telling():
                return self._serve(playbook)
        except BROKEN as error:
            attack = playbook.under_way
            if attack is None:
                raise
            done(Verdict(attack.name, attack.tries, False, f"{NOTHING}, and then: {error}", self._sweep.times))
            raise Breach(attack.name) from error

    def _serve(self, playbook: Playbook) -> Generation:
        self.system.open(self.hostile.medium.slot)
        generation = self._generate(playbook)
        for _ in range(REQUESTS_PER_ATTACK * playbook.attacks):
            if playbook.wants_a_token:
                generation = self._generate(playbook)
        self.system.close()
        self.system.run("attacks", functools.partial(playbook.play, Moment.CLOSED))
        assert playbook.is_over
        return generation

    def _generate(self, playbook: Playbook) -> Generation:
        self.system.run("attacks", functools.partial(playbook.play, Moment.REQUEST))
        return self.system.generate(PROMPT, self._tokens)
