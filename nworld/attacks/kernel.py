"""The hostile normal kernel: serves the secure world's requests as it should, and plays its attacks in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emulator.gate import Flow, Gate, Notice, Operation, Operations, Registers, Reply
from emulator.world_port import PortAbort, WorldPort
from monitor.services.messages import RequestStatus
from nworld.flexmem import extent
from nworld.kernel import NormalKernel

from .engine import LongJob, take_npu
from .hostile import Hostile
from .registry import Attack, Moment, Script, Until
from .scene import Scene

PASSING = (Moment.JOB, Moment.DRAIN)  # over by the time that an attack is: one at a time


class Playbook:
    """Plays ``attacks`` in turn, one at a time. ``begun`` and ``ended`` (with: did it get through) frame each."""

    def __init__(
        self,
        attacks: Sequence[Attack],
        hostile: Hostile,
        scene: Scene,
        begun: Callable[[Attack], None],
        ended: Callable[[Attack, bool | None], None],
    ) -> None:
        self.hostile = hostile
        self.scene = scene
        self.attacks = len(attacks)
        self._due = list(attacks)
        self._begun = begun
        self._ended = ended
        self.under_way: Attack | None = None
        self._script: Script[bool | None] | None = None
        self._awaits: tuple[Moment, ...] = ()

    @property
    def is_over(self) -> bool:
        return not self._due and self._script is None

    @property
    def wants_a_token(self) -> bool:
        """Whether an attack is left that needs a model to be served."""
        return not self.is_over and not self.has_business_at(Moment.CLOSED)

    def has_business_at(self, moment: Moment) -> bool:
        """Whether an attack goes on or begins at ``moment``."""
        if self._script:
            return moment in self._awaits
        return bool(self._due) and self._due[0].begins is moment

    @property
    def wants_an_interrupt(self) -> bool:
        """Whether an attack goes on or begins when an interrupt takes the core from the secure world."""
        return any(self.has_business_at(moment) for moment in PASSING)

    def play(self, moment: Moment, registers: Registers = ()) -> Flow[None]:
        """Everything that ``moment`` brings: the attack that waits for it, then those that begin with it."""
        while self.has_business_at(moment):
            if self._script:
                yield from self._go_on((moment.number, *registers))
            else:
                self.under_way = self._due.pop(0)
                self._begun(self.under_way)
                self._script = self.under_way.script(self.hostile, self.scene)
                yield from self._go_on(None)
            if self._waits or moment in PASSING:
                return  # for the next moment, even if that is one of the same kind

    @property
    def _waits(self) -> bool:
        return bool(self._awaits)

    def _go_on(self, reply: Reply | PortAbort) -> Flow[None]:
        """Run the script up to its next Until, or to its end."""
        assert self._script and self.under_way
        self._awaits = ()
        while True:
            try:
                step = self._script.throw(reply) if isinstance(reply, PortAbort) else self._script.send(reply)
            except StopIteration as end:
                ended, self._script, self.under_way = self.under_way, None, None
                self._ended(ended, end.value)
                return
            if isinstance(step, Until):
                self._awaits = step.moments
                return
            try:
                reply = yield step
            except PortAbort as abort:
                reply = abort


INTERRUPT_TICKS = 6_000  # between two looks at what the secure world is at; a job of the classifier is longer

# Left-over bytes are the very thing that this kernel is after: it does not complain about them.
CARELESS = Operation(lambda port, va, size: 1, lambda va, size: 1)


class HostileKernel(NormalKernel):
    """A normal kernel with a ``playbook``, once it has been given one."""

    playbook: Playbook | None = None

    def __init__(
        self,
        gate: Gate,
        port: WorldPort,
        operations: Operations,
        clock: Callable[[], int],
        show: Callable[[Notice], None],
    ) -> None:
        super().__init__(gate, port, {**operations, "holds_only_zeros": CARELESS}, clock, show)

    def _allocate_pages(self, pages: int, _: int, __: int) -> Flow[Registers]:
        if not self.playbook:
            return (yield from super()._allocate_pages(pages, 0, 0))
        hostile = self.playbook.hostile
        reply = yield from super()._allocate_pages(min(pages, hostile.grant_limit or pages), 0, 0)
        if reply[0] == RequestStatus.DONE:
            _, base, count = reply
            yield from hostile.warm(base, count)
            yield from self.playbook.play(Moment.ALLOCATE, (base, count))
            if hostile.deceive:
                return (yield from hostile.deceive(reply))
        return reply

    def _load_blocks(self, block: int, base: int, pages: int) -> Flow[Registers]:
        if not self.playbook:
            return (yield from super()._load_blocks(block, base, pages))
        hostile = self.playbook.hostile
        reply = yield from super()._load_blocks(block + hostile.package_block, base, pages)
        hostile.loaded.update(extent(base, pages))
        if hostile.tamper:
            yield from hostile.tamper(block, base, pages)
        yield from self.playbook.play(Moment.LOAD, (block, base, pages))
        return reply

    def _token(self, token: int, size: int, more: int) -> Flow[Registers]:
        reply = yield from super()._token(token, size, more)
        if self.playbook:
            yield from self.playbook.play(Moment.TOKEN, (more,))
            yield from self._job_of_our_own()
            yield from self._interrupt_soon()
        return reply

    def _take_interrupts(self) -> Flow[None]:
        """Never: scripts serve by hand what they have made come."""
        yield from ()

    def _interrupted(self) -> Flow[None]:
        if not self.playbook:
            return
        yield from self.playbook.hostile.end_interrupt()
        self.playbook.hostile.look()
        yield from self.playbook.play(Moment.INTERRUPTED)
        if self.playbook.scene.npu.secure_job_under_way():
            yield from self.playbook.play(Moment.JOB)
        elif self.playbook.scene.npu.drains():
            yield from self.playbook.play(Moment.DRAIN)
        yield from self._interrupt_soon()

    def _interrupt_soon(self) -> Flow[None]:
        assert self.playbook
        if self.playbook.wants_an_interrupt:
            yield from self.playbook.hostile.interrupt_after(INTERRUPT_TICKS)

    def _job_of_our_own(self) -> Flow[None]:
        """What is tried in the middle of a secure job is tried in one of ours where nothing is to protect it."""
        assert self.playbook
        hostile = self.playbook.hostile
        while self.playbook.scene.lifted and self.playbook.has_business_at(Moment.JOB):
            yield from take_npu(hostile)
            job = LongJob(hostile)
            yield from job.start()
            yield from self.playbook.play(Moment.JOB)
            yield from job.stop()
            job.free()


__all__ = ["HostileKernel", "Playbook"]
