"""A scene tried once with an interrupt at some instruction of it, and what the worlds do after it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from emulator.machine import StopReason
from emulator.state import MachineState
from emulator.world import World
from monitor import abi
from monitor.abi import Pending, Status

from .gic import NOTHING, acknowledge, listen, taken_at_el3
from .interrupts import AHEAD, Interrupt
from .observed import Ending, Registers, above, interrupts, memory_of, registers
from .phone import Phone
from .scenes import AT_BOOT, Scene, driver_boots

TELLINGS = 3  # more than any interrupt is worth
FIRST_UNTOUCHED = 8  # x registers that the normal world's own accesses in between leave alone


@dataclass
class Start:
    """One phone for all scenes: just switched on, and booted with the normal world listening."""

    phone: Phone
    off: MachineState
    booted: MachineState

    def before(self, scene: Scene) -> Phone:
        self.phone.machine.restore(self.off if scene.prepare in AT_BOOT else self.booted)
        return self.phone


@dataclass
class Attempt:
    """The scene's call or abort once, and what the worlds do after it."""

    phone: Phone
    scene: Scene
    interrupt: Interrupt
    served: int = field(default=0)

    def make(self, ticks: int) -> Ending | None:
        """None: the machine is off."""
        self.phone.events.clear()
        if self.interrupt.call(self.phone, self.scene, ticks) == "halted":
            return None
        if not self.scene.is_answered_at_once:
            self._settle()
        here, taken, preemptions = self._here(), taken_at_el3(self.phone), self.served
        kept = above(self.phone, self.interrupt.marks)
        secure_timer = self.phone.core.read_sysreg("CNTPS_CVAL_EL1")
        memory, interrupts_here = memory_of(self.phone.machine.save()), interrupts(self.phone)
        self._to_normal_world()
        normal = registers(self.phone, FIRST_UNTOUCHED)
        self._look_for_interrupts(ticks)
        self._to_entry()
        return Ending(
            here, kept, memory, interrupts_here, secure_timer, taken, preemptions, normal, registers(self.phone, 1),
            Pending(self.phone.registers(1)[0]), self.phone.registers(7)[6], self.served,
        )  # fmt: skip

    def _settle(self) -> None:
        """The normal world serves what it is told of, and goes on with what that has interrupted."""
        while self._answered(Status.PREEMPTED):
            self.interrupt.serve(self.phone)
            self.served += 1
            assert self.served <= TELLINGS
            self.phone.smc(abi.SECURE_RESUME.function, abi.INTERRUPTED_THREAD)

    def _answered(self, status: Status) -> bool:
        phone = self.phone
        in_normal_world = phone.core.world is World.NORMAL and not phone.in_driver
        return in_normal_world and abi.signed(phone.registers(1)[0]) == status

    def _here(self) -> Registers:
        """A deadline is so many ticks from when the call is served."""
        found = registers(self.phone)
        names = [word.name for word in self.scene.call.returns] if self.scene.call else []
        return replace(found, x=[0 if names[i : i + 1] == ["deadline"] else x for i, x in enumerate(found.x)])

    def _smc(self, call: abi.Call, *arguments: int) -> None:
        self.phone.smc(call.function, *arguments)
        self._settle()

    def _to_normal_world(self) -> None:
        gate, booting = self.phone.gate, self.scene.prepare in AT_BOOT
        if self.phone.in_driver:
            ready = abi.DRIVER_READY if self.scene.prepare is driver_boots else abi.DRIVER_RETURN
            self._smc(ready, gate("arrive_entry"))
        if self.phone.core.world is World.SECURE:
            ready = abi.SECURE_READY if booting else abi.SECURE_DONE
            self._smc(ready, gate("arrive_entry"), gate("arrive_revocation"))
        if booting:
            listen(self.phone)

    def _look_for_interrupts(self, ticks: int) -> None:
        if self.interrupt.of_normal_world and not self.served and ticks != AHEAD:
            self.interrupt.serve(self.phone)
            self.served += 1
        assert acknowledge(self.phone) == NOTHING

    def _to_entry(self) -> None:
        """Of the secure world, when no thread is interrupted any more."""
        self._smc(abi.SECURE_CALL)
        if self._answered(Status.BUSY):
            self._smc(abi.SECURE_RESUME, abi.INTERRUPTED_THREAD)
            self._to_normal_world()
            self._smc(abi.SECURE_CALL)


def length_of(phone: Phone, begin: MachineState, scene: Scene) -> int:
    """Instructions until EL2 and EL3 have been left again, or the machine is off."""
    phone.machine.restore(begin)
    scene.place(phone)
    been_above = False
    for length in range(1, abi.MAX_CALL_INSTRUCTIONS):
        stop = phone.machine.run(phone.machine.instructions + 1)
        been_above |= phone.core.level > 1
        if (been_above and phone.core.level < 2) or stop.reason is StopReason.HALTED:
            return length
    raise AssertionError("EL3 was not left")
