"""The interrupts that are tried in the middle of every call: how each is raised, and what tells that it was served."""

from __future__ import annotations

from emulator.events import EventKind
from emulator.memory_map import GIC_CPU, MIB, NPU0, PAGE_SIZE
from monitor import abi
from monitor.abi import Pending, Status

from .aborts import Abort
from .gic import CONSOLE, NPU_LINE, SECURE_TIMER, UART_DATA, VIRTUAL_TIMER, acknowledge, is_over
from .npu import BASE_ADDRESS, CLOCK, OPERATION_ENABLE, POWER, REGISTER_AMOUNTS, TASK_CON
from .observed import Ending
from .phone import PAGE, Phone
from .scenes import AT_BOOT, RECALLING, WAITING, WITH_SECURE_NPU, Scene, draining, driver_boots, stand
from .test_driver_context import STR, execute
from .test_preemption import FOREVER, GICC_EOIR, TIMER, load, store

AHEAD = 1 << 40  # ticks: not in these tests
LATER = 6_000  # instructions that an undisturbed call and all that follows it take at most
OTHER = PAGE + MIB  # a page that no scene uses
PROGRAM, PROGRAM_IOVA, PROGRAM_PAGES = PAGE + 2 * MIB, 0x80_0000, 64
PAIRS = PROGRAM_PAGES * PAGE_SIZE // 16 - 8  # of words, all zero, and no end: the job fails when it has read them
INTERRUPT_MASK, INTERRUPT_CLEAR = NPU0.base + 0x20, NPU0.base + 0x24
ALL = 0xFFFF_FFFF
LONGEST_JOB = 100_000  # ticks
ABORT_REGISTERS = ("ELR_EL1", "SPSR_EL1", "ESR_EL1", "FAR_EL1")
SETTLED = 600  # instructions: the flags are those of the loop in which time is spent


class Interrupt:
    """One source of interrupts: when it is raised, and how to know that it was served, once."""

    name: str
    of_normal_world = False  # the normal world finds it when it looks
    excused: tuple[str, ...] = ()  # rules that its raising breaks on purpose
    marks: tuple[str, ...] = ()  # variables of the monitor that say it has come

    def applies(self, scene: Scene) -> bool:
        return scene.prepare not in AT_BOOT

    def prepare(self, phone: Phone, scene: Scene) -> None:
        """The core stands where the call is made, and the interrupt is `LATER` away or not set yet."""
        scene.prepare(phone)
        stand(phone, scene.by)

    def call(self, phone: Phone, scene: Scene, ticks: int) -> str:
        """The scene's call, and the interrupt so many ticks after its SMC (`AHEAD`: none): where the core stops."""
        raise NotImplementedError

    def serve(self, phone: Phone) -> None:
        """The normal world was told PREEMPTED; or it has come to a point at which it looks for interrupts."""
        raise NotImplementedError

    def check(self, phone: Phone, scene: Scene, undisturbed: Ending, found: Ending) -> None:
        """The core stands at an entry into the secure world."""
        raise NotImplementedError


class NormalInterrupt(Interrupt):
    """Seen by the normal world: PREEMPTED where the call went to another context, and the number at the GIC, once."""

    number: int
    of_normal_world = True

    def quiet(self, phone: Phone) -> None:
        """The device's line falls."""
        raise NotImplementedError

    def serve(self, phone: Phone) -> None:
        assert acknowledge(phone) == self.number
        self.quiet(phone)
        store(phone, GIC_CPU.base + GICC_EOIR, self.number)

    def check(self, phone: Phone, scene: Scene, undisturbed: Ending, found: Ending) -> None:
        assert (found.preemptions, found.served) == (found.is_elsewhere and scene.prepare not in AT_BOOT, 1)
        assert found.taken == 0
        assert is_over(phone, self.number)


class NormalTimer(NormalInterrupt):
    """What the normal world does while it has the core: it aborts, and makes calls that are refused."""

    name, number = "normal-timer", TIMER

    def applies(self, scene: Scene) -> bool:
        return True  # at boot nobody listens yet: it waits until the normal world does

    def call(self, phone: Phone, scene: Scene, ticks: int) -> str:
        phone.set_timer(phone.machine.instructions + ticks)
        return scene.make(phone)

    def quiet(self, phone: Phone) -> None:
        phone.set_timer(None)

    def serve(self, phone: Phone) -> None:
        super().serve(phone)
        own, link = [(name, phone.core.read_sysreg(name)) for name in ABORT_REGISTERS], phone.core.x[30]
        for routine in ("probe_read", "probe_write", "probe_exec"):
            assert phone.probe(routine, phone.layout.secure_base) == "arrive_sync"
        for call in (abi.MEM_ALLOCATE, abi.MEM_RECLAIM):
            assert phone.smc(call.function, phone.layout.secure_base, 1) == "arrive_return"
            assert abi.signed(phone.registers(1)[0]) == Status.DENIED
        phone.core.x[30] = link
        for name, value in own:
            phone.core.write_sysreg(name, value)


class VirtualTimer(NormalInterrupt):
    """Linux's tick. Where the normal world alone runs, it waits as the other one does."""

    name, number = "virtual-timer", VIRTUAL_TIMER

    def applies(self, scene: Scene) -> bool:
        return super().applies(scene) and not scene.is_answered_at_once

    def call(self, phone: Phone, scene: Scene, ticks: int) -> str:
        phone.set_timer(phone.machine.instructions + ticks, "cntv")
        return scene.make(phone)

    def quiet(self, phone: Phone) -> None:
        phone.set_timer(None, "cntv")


class Console(NormalInterrupt):
    """A byte comes from outside."""

    name, number = "device", CONSOLE

    def call(self, phone: Phone, scene: Scene, ticks: int) -> str:
        if ticks == AHEAD:
            return scene.make(phone)
        scene.place(phone)
        phone.machine.run(phone.machine.instructions + ticks)
        phone.board.uart0.receive(b"!")
        return phone.run()

    def quiet(self, phone: Phone) -> None:
        assert load(phone, UART_DATA) == ord("!")


class LeftOverTimer(Interrupt):
    """The secure timer, set for what means nothing any more: EL3 takes it once, unless the call sets it anew."""

    name = "secure-timer"
    excused = ("secure_timer_is_armed_for_the_earliest",)

    def applies(self, scene: Scene) -> bool:
        return scene.prepare is not driver_boots  # when it has never been set

    def call(self, phone: Phone, scene: Scene, ticks: int) -> str:
        phone.core.write_sysreg("CNTPS_CVAL_EL1", phone.machine.instructions + ticks)
        phone.core.write_sysreg("CNTPS_CTL_EL1", 1)
        return scene.make(phone)

    def check(self, phone: Phone, scene: Scene, undisturbed: Ending, found: Ending) -> None:
        set_anew = not AHEAD <= undisturbed.secure_timer < 2 * AHEAD
        before_el3 = isinstance(scene, Abort) and found.taken
        assert (found.served, found.taken) == (0, 0 if set_anew and not before_el3 else 1)
        assert not set_anew or found.secure_timer == undisturbed.secure_timer
        assert is_over(phone, SECURE_TIMER)


class Awaited(Interrupt):
    """One that was set going before and comes at a time that is known."""

    due: int

    def call(self, phone: Phone, scene: Scene, ticks: int) -> str:
        if ticks != AHEAD:
            spend_time(phone, self.due - ticks)
        return scene.make(phone)


def spend_time(phone: Phone, until: int) -> None:
    """In the busy loop; its registers hold afterwards what they held before."""
    kept = phone.core.x[8], phone.core.x[9]
    phone.core.x[8], phone.core.x[9] = FOREVER, 0
    phone.core.pc = phone.gate("gate_busy")
    phone.machine.run(until)
    assert phone.machine.instructions == until
    phone.core.x[8], phone.core.x[9] = kept


class RecallDeadline(Awaited):
    """The secure world is told by PREEMPTED to the normal world, once, as soon as it runs and owes pages."""

    name, marks = "recall-deadline", ("owed_told",)

    def applies(self, scene: Scene) -> bool:
        recalls = scene.prepare in RECALLING or scene.call is abi.MEM_RECALL  # and may put the deadline off
        return super().applies(scene) and not recalls and scene.prepare is not draining

    def prepare(self, phone: Phone, scene: Scene) -> None:
        phone.lock(OTHER)
        scene.prepare(phone)
        self.due = phone.call(abi.MEM_RECALL, 1, abi.MINIMUM_DEADLINE)["deadline"]
        stand(phone, scene.by)
        spend_time(phone, self.due - LATER)

    def serve(self, phone: Phone) -> None:
        pass

    def check(self, phone: Phone, scene: Scene, undisturbed: Ending, found: Ending) -> None:
        owes = undisturbed.owed > 0
        assert (found.preemptions, found.served) == (owes and found.is_elsewhere, owes)
        assert is_over(phone, SECURE_TIMER)


class DriverDeadline(Awaited):
    """A driver that returns in the instant in which its time is up has returned: one answer, not two."""

    name = "driver-deadline"

    def applies(self, scene: Scene) -> bool:
        return super().applies(scene) and scene.call is abi.DRIVER_RETURN

    def prepare(self, phone: Phone, scene: Scene) -> None:
        super().prepare(phone, scene)
        self.due = phone.core.read_sysreg("CNTPS_CVAL_EL1")
        spend_time(phone, self.due - LATER)

    def check(self, phone: Phone, scene: Scene, undisturbed: Ending, found: Ending) -> None:
        assert (found.served, found.taken) == (0, 0)
        assert is_over(phone, SECURE_TIMER)


class NpuInterrupt(Awaited):
    """A secure job ends: EL3 takes the FIQ once, and every entry says FIQ until the driver has cleared it.

    A call that gives the NPU back ends the job as well.
    """

    name, marks = "secure-npu", ("noted",)

    def applies(self, scene: Scene) -> bool:
        about_the_npu = scene.call is not None and scene.call.name.startswith(("NPU_", "DRIVER_"))
        return super().applies(scene) and (scene.prepare in WITH_SECURE_NPU or not about_the_npu)

    def prepare(self, phone: Phone, scene: Scene) -> None:
        phone.lock(PROGRAM, PROGRAM_PAGES)
        phone.call(abi.NPU_MAP, PROGRAM_IOVA, PROGRAM, PROGRAM_PAGES)
        if scene.prepare in WAITING:
            self.start(phone)
            scene.prepare(phone)
        else:
            scene.prepare(phone)
            self.start(phone)
        stand(phone, scene.by)
        spend_time(phone, phone.machine.instructions + SETTLED)
        self.due = time_of_fiq(phone)

    def start(self, phone: Phone) -> None:
        phone.call(abi.NPU_ACQUIRE)
        phone.smc(abi.DRIVER_CALL.function)
        for register, value in (
            (POWER, 7), (CLOCK, 7), (BASE_ADDRESS + NPU0.base, PROGRAM_IOVA), (REGISTER_AMOUNTS + NPU0.base, PAIRS),
            (INTERRUPT_MASK, ALL), (TASK_CON + NPU0.base, 1), (OPERATION_ENABLE + NPU0.base, 1),
        ):  # fmt: skip
            assert execute(phone, STR, register, value) == "arrive_return"
            assert phone.in_driver
        phone.smc(abi.DRIVER_RETURN.function)

    def check(self, phone: Phone, scene: Scene, undisturbed: Ending, found: Ending) -> None:
        assert found.served == 0
        assert found.taken == undisturbed.npu_is_secure
        assert bool(found.pending & Pending.FIQ) == undisturbed.npu_is_secure
        if undisturbed.npu_is_secure:
            phone.smc(abi.DRIVER_CALL.function)
            assert execute(phone, STR, INTERRUPT_CLEAR, ALL) == "arrive_return"
            phone.smc(abi.DRIVER_RETURN.function)
            phone.smc(abi.SECURE_DONE.function)
            phone.smc(abi.SECURE_CALL.function)
            assert not phone.registers(1)[0] & Pending.FIQ
        assert is_over(phone, NPU_LINE)


def time_of_fiq(phone: Phone) -> int:
    """When the next one will be taken by EL3."""
    state = phone.machine.save()
    phone.events.clear()
    phone.core.x[8], phone.core.x[9] = FOREVER, 0
    phone.core.pc = phone.gate("gate_busy")
    phone.machine.run(phone.machine.instructions + LONGEST_JOB)
    due = next(event.instruction for event in phone.events if event.kind is EventKind.EXCEPTION)
    phone.machine.restore(state)
    return due


INTERRUPTS = (
    NormalTimer(), VirtualTimer(), Console(), LeftOverTimer(), RecallDeadline(), DriverDeadline(), NpuInterrupt(),
)  # fmt: skip
