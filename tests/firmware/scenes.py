"""Every call of the table from everyone who may make it, well and badly: where an interrupt is tried in the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from emulator.memory_map import DRAM_BASE, PAGE_SIZE
from emulator.world import World
from monitor import abi
from monitor.abi import Call, Caller, PsciStatus, Status

from .npu import power_on, start_job
from .phone import PAGE, Phone

IOVA = 0x10_0000
THREAD = 3
SHORT = 30  # turns of two instructions
SECURE_MEMORY = 0x0E00_0000
UNKNOWN = 0xC700_01FF
NORMAL, SECURE, DRIVER = Caller.NORMAL, Caller.SECURE, Caller.DRIVER

Prepare: TypeAlias = Callable[[Phone], None]


@dataclass(frozen=True)
class Scene:
    """``by`` calls ``function`` after ``prepare``; ``fails``: what it is told, if that is a failure.

    Arguments in words are the gate's symbols.
    """

    function: int
    by: Caller
    prepare: Prepare
    arguments: tuple[int | str, ...] = ()
    fails: Status | PsciStatus | None = None

    @property
    def call(self) -> Call | None:
        """None: a function that is not in the table."""
        return abi.find(self.function)

    @property
    def is_answered_at_once(self) -> bool:
        """2, which is PREEMPTED elsewhere, may be any number there."""
        return self.by is NORMAL and (self.call is None or self.call.is_fast)

    def place(self, phone: Phone) -> None:
        """Before its SMC."""
        phone.place(self.function, *(phone.gate(a) if isinstance(a, str) else a for a in self.arguments))

    def make(self, phone: Phone) -> str:
        """The call, and where the core stops after it."""
        self.place(phone)
        return phone.run()

    @property
    def name(self) -> str:
        end = "" if self.fails is None else f"-{self.fails.name}"
        return f"{self.call.name if self.call else 'unknown'}-{self.by.name}-{self.prepare.__name__}{end}"


def stand(phone: Phone, by: Caller) -> None:
    """Where the call is made, with something in every register; the boot's scenes stand there already."""
    if by is DRIVER and not phone.in_driver:
        phone.enter(World.SECURE)
        phone.smc(abi.DRIVER_CALL.function)
    elif by is not DRIVER:
        phone.enter(World.NORMAL if by is NORMAL else World.SECURE)
    fill_registers(phone, 0xAB00)


def fill_registers(phone: Phone, seed: int) -> None:
    for index in range(8, 31):
        phone.core.x[index] = seed + index
    for index in range(32):
        phone.core.write_vector(index, (seed << 64) + index)
    phone.core.write_sysreg("TPIDR_EL1", seed)


# --- before the call -----------------------------------------------------------------------------------------------


def nothing(phone: Phone) -> None:
    pass


def driver_boots(phone: Phone) -> None:
    """Of a phone that has just been switched on."""
    assert phone.run() == "arrive_boot" and phone.in_driver


def secure_boots(phone: Phone) -> None:
    phone.boot_driver()


def allocated(phone: Phone) -> None:
    phone.call(abi.MEM_ALLOCATE, PAGE, 2)


def locked(phone: Phone) -> None:
    phone.lock(PAGE, 2)


def mapped(phone: Phone) -> None:
    locked(phone)
    phone.call(abi.NPU_MAP, IOVA, PAGE, 2)


def released(phone: Phone) -> None:
    locked(phone)
    phone.call(abi.MEM_RELEASE, PAGE, 2)


def recalled(phone: Phone) -> None:
    locked(phone)
    phone.call(abi.MEM_RECALL, 2, abi.MINIMUM_DEADLINE)


def overdue(phone: Phone) -> None:
    recalled(phone)
    phone.enter(World.NORMAL)
    phone.wait(abi.MINIMUM_DEADLINE)


def revoked(phone: Phone) -> None:
    phone.revoke()


def asked(phone: Phone) -> None:
    """The secure world waits for an answer."""
    phone.enter(World.SECURE)
    phone.smc(abi.SECURE_RPC.function, THREAD, 1)


def interrupted(phone: Phone) -> None:
    """In the secure world, where little is left to do."""
    phone.enter(World.SECURE)
    _interrupt(phone)


def driver_interrupted(phone: Phone) -> None:
    secure_npu(phone)
    stand(phone, DRIVER)
    _interrupt(phone)


def _interrupt(phone: Phone) -> None:
    """By the timer, once: the normal world has served it."""
    ahead = phone.core.read_sysreg("CNTP_CVAL_EL0")
    phone.set_timer(phone.machine.instructions + SHORT)
    phone.core.x[8], phone.core.x[9] = 0, SHORT
    phone.core.pc = phone.gate("gate_busy")
    phone.run()
    assert phone.registers(1) == [Status.PREEMPTED]
    phone.set_timer(ahead)


def secure_npu(phone: Phone) -> None:
    mapped(phone)
    phone.call(abi.NPU_ACQUIRE)


def draining(phone: Phone) -> None:
    """A normal job is in flight."""
    power_on(phone)
    start_job(phone, PAGE)
    phone.call(abi.NPU_ACQUIRE)


def npu_recalled(phone: Phone) -> None:
    secure_npu(phone)
    phone.call(abi.NPU_RECALL, abi.MINIMUM_DEADLINE)


def npu_overdue(phone: Phone) -> None:
    npu_recalled(phone)
    phone.wait(abi.MINIMUM_DEADLINE)


SLEEPS = (abi.PSCI_CPU_SUSPEND, abi.PSCI_CPU_SUSPEND_32)  # until an interrupt: a test of its own
NEVER_DONE = (abi.PSCI_CPU_OFF, abi.PSCI_CPU_ON, abi.PSCI_CPU_ON_32)  # with one core
ENDS = (abi.PSCI_SYSTEM_OFF, abi.PSCI_SYSTEM_RESET)
AT_BOOT = (driver_boots, secure_boots)
WAITING = (interrupted, driver_interrupted)  # a thread of the secure world is interrupted
RECALLING = (recalled, overdue, npu_recalled, npu_overdue)  # or have done so
WITH_SECURE_NPU = (secure_npu, driver_interrupted, npu_recalled, npu_overdue)


def _scene(
    call: Call,
    by: Caller,
    prepare: Prepare,
    arguments: tuple[int | str, ...] = (),
    fails: Status | PsciStatus | None = None,
) -> Scene:
    return Scene(call.function, by, prepare, arguments, fails)


# fmt: off
SCENES = (
    *(_scene(call, by, nothing) for by in (NORMAL, SECURE)
      for call in (abi.SMCCC_VERSION_CALL, abi.FLEX_UID, abi.FLEX_REVISION, abi.FLEX_VERSION)),
    *(_scene(abi.SMCCC_ARCH_FEATURES, by, nothing, (0x8000_0000,)) for by in (NORMAL, SECURE)),
    _scene(abi.SMCCC_ARCH_FEATURES, NORMAL, nothing, (0x8000_0002,), Status.NOT_SUPPORTED),
    _scene(abi.PSCI_VERSION_CALL, NORMAL, nothing),
    _scene(abi.PSCI_SYSTEM_OFF, NORMAL, nothing),
    _scene(abi.PSCI_FEATURES, NORMAL, nothing, (0x8400_0008,)),
    _scene(abi.PSCI_FEATURES, NORMAL, nothing, (0x8400_000E,), PsciStatus.NOT_SUPPORTED),
    *(_scene(call, NORMAL, nothing) for call in (abi.PSCI_SYSTEM_RESET, abi.PSCI_MIGRATE_INFO_TYPE,
      abi.PSCI_MIGRATE_INFO_UP_CPU, abi.PSCI_MIGRATE_INFO_UP_CPU_32)),
    _scene(abi.PSCI_CPU_OFF, NORMAL, nothing, (), PsciStatus.DENIED),
    *(_scene(call, NORMAL, nothing, (target,), status) for call in (abi.PSCI_CPU_ON, abi.PSCI_CPU_ON_32)
      for target, status in ((0, PsciStatus.ALREADY_ON), (1, PsciStatus.INVALID_PARAMETERS))),
    *(_scene(call, NORMAL, nothing, (target,), status)
      for call in (abi.PSCI_AFFINITY_INFO, abi.PSCI_AFFINITY_INFO_32)
      for target, status in ((0, None), (1, PsciStatus.INVALID_PARAMETERS))),
    *(_scene(call, NORMAL, nothing, (1,), PsciStatus.INVALID_PARAMETERS) for call in SLEEPS),
    *(_scene(abi.FLEX_FEATURES, by, nothing, (abi.Feature.SCAN_PAGES,)) for by in (NORMAL, SECURE)),
    _scene(abi.FLEX_FEATURES, SECURE, nothing, (len(abi.Feature),), Status.INVALID_PARAMETER),
    *(Scene(UNKNOWN, by, prepare, (1, 2), Status.NOT_SUPPORTED)
      for by, prepare in ((NORMAL, nothing), (SECURE, nothing), (DRIVER, secure_npu))),
    _scene(abi.NPU_ACQUIRE, NORMAL, nothing, (), Status.NOT_SUPPORTED),  # not the caller's
    _scene(abi.MEM_ALLOCATE, SECURE, nothing, (PAGE, 1), Status.NOT_SUPPORTED),
    _scene(abi.MEM_LOCK, DRIVER, secure_npu, (PAGE, 1), Status.NOT_SUPPORTED),

    _scene(abi.MEM_ALLOCATE, NORMAL, nothing, (PAGE, 2)),
    _scene(abi.MEM_ALLOCATE, NORMAL, nothing, (SECURE_MEMORY, 1), Status.DENIED),
    _scene(abi.MEM_LOCK, SECURE, allocated, (PAGE, 2)),
    _scene(abi.MEM_LOCK, SECURE, nothing, (PAGE, 2), Status.WRONG_STATE),
    _scene(abi.MEM_RELEASE, SECURE, secure_npu, (PAGE, 2)),
    _scene(abi.MEM_RELEASE, SECURE, recalled, (PAGE, 2)),
    _scene(abi.MEM_RELEASE, SECURE, nothing, (PAGE, 1), Status.WRONG_STATE),
    _scene(abi.MEM_RELEASE, SECURE, allocated, (PAGE, 2), Status.WRONG_STATE),
    _scene(abi.MEM_DECLINE, SECURE, allocated, (PAGE, 2)),
    _scene(abi.MEM_DECLINE, SECURE, locked, (PAGE, 1), Status.WRONG_STATE),
    _scene(abi.MEM_RECLAIM, NORMAL, released, (PAGE, 2)),
    _scene(abi.MEM_RECLAIM, NORMAL, overdue, (PAGE, 2, abi.FORCE)),
    _scene(abi.MEM_RECLAIM, NORMAL, recalled, (PAGE, 1, abi.FORCE), Status.NOT_DUE),
    _scene(abi.MEM_RECLAIM, NORMAL, locked, (PAGE, 2, abi.FORCE), Status.NOT_OWED),
    _scene(abi.MEM_RECALL, NORMAL, locked, (1, abi.MINIMUM_DEADLINE)),
    _scene(abi.MEM_RECALL, NORMAL, locked, (1, 1), Status.INVALID_PARAMETER),
    _scene(abi.MEM_NEXT_RELEASED, NORMAL, released, ((PAGE - DRAM_BASE) // PAGE_SIZE,)),
    _scene(abi.MEM_NEXT_RELEASED, NORMAL, nothing, (1 << 40,), Status.INVALID_PARAMETER),
    _scene(abi.MEM_NEXT_REVOKED, SECURE, nothing, (0,)),
    _scene(abi.MEM_NEXT_REVOKED, SECURE, nothing, (1 << 40,), Status.INVALID_PARAMETER),
    _scene(abi.MEM_ACK_REVOKED, SECURE, revoked, (PAGE, 1)),
    _scene(abi.MEM_ACK_REVOKED, SECURE, nothing, (PAGE, 1), Status.WRONG_STATE),

    _scene(abi.SECURE_CALL, NORMAL, nothing, (7, 8)),
    _scene(abi.SECURE_CALL, NORMAL, interrupted, (7, 8), Status.BUSY),
    _scene(abi.SECURE_RESUME, NORMAL, asked, (THREAD, 8)),
    _scene(abi.SECURE_RESUME, NORMAL, interrupted, (abi.INTERRUPTED_THREAD,)),
    _scene(abi.SECURE_RESUME, NORMAL, driver_interrupted, (abi.INTERRUPTED_THREAD,)),
    _scene(abi.SECURE_RESUME, NORMAL, interrupted, (THREAD,), Status.BUSY),
    _scene(abi.SECURE_RESUME, NORMAL, nothing, (abi.INTERRUPTED_THREAD,), Status.WRONG_STATE),
    _scene(abi.SECURE_DONE, SECURE, nothing, (9, 10)),
    _scene(abi.SECURE_DONE, SECURE, secure_boots, (9, 10), Status.WRONG_STATE),
    _scene(abi.SECURE_RPC, SECURE, nothing, (THREAD, 1)),
    _scene(abi.SECURE_RPC, SECURE, secure_boots, (THREAD, 1), Status.WRONG_STATE),
    _scene(abi.SECURE_READY, SECURE, secure_boots, ("arrive_entry", "arrive_revocation")),
    _scene(abi.SECURE_READY, SECURE, secure_boots, (2, 0), Status.INVALID_PARAMETER),
    _scene(abi.SECURE_READY, SECURE, nothing, (0, 0), Status.WRONG_STATE),

    _scene(abi.NPU_MAP, SECURE, locked, (IOVA, PAGE, 2)),
    _scene(abi.NPU_MAP, SECURE, nothing, (IOVA, SECURE_MEMORY, 2), Status.DENIED),
    _scene(abi.NPU_UNMAP, SECURE, secure_npu, (IOVA, 2)),
    _scene(abi.NPU_UNMAP, SECURE, secure_npu, (IOVA, 0), Status.INVALID_PARAMETER),
    _scene(abi.NPU_ACQUIRE, SECURE, mapped),
    _scene(abi.NPU_ACQUIRE, SECURE, secure_npu, (), Status.WRONG_STATE),
    _scene(abi.NPU_ACQUIRE, SECURE, draining, (), Status.BUSY),
    _scene(abi.NPU_RELEASE, SECURE, secure_npu),
    _scene(abi.NPU_RELEASE, SECURE, draining),
    _scene(abi.NPU_RELEASE, SECURE, nothing, (), Status.WRONG_STATE),
    _scene(abi.NPU_RECALL, NORMAL, secure_npu, (abi.MINIMUM_DEADLINE,)),
    _scene(abi.NPU_RECALL, NORMAL, secure_npu, (1,), Status.INVALID_PARAMETER),
    _scene(abi.NPU_RECLAIM, NORMAL, npu_overdue),
    _scene(abi.NPU_RECLAIM, NORMAL, npu_recalled, (), Status.NOT_DUE),
    _scene(abi.NPU_RECLAIM, NORMAL, nothing, (), Status.NOT_OWED),

    _scene(abi.DRIVER_CALL, SECURE, secure_npu, (1, 2, 3)),
    _scene(abi.DRIVER_CALL, SECURE, nothing, (1, 2, 3), Status.WRONG_STATE),
    _scene(abi.DRIVER_RETURN, DRIVER, secure_npu, (4, 5, 6)),
    _scene(abi.DRIVER_RETURN, DRIVER, driver_boots, (4, 5, 6), Status.WRONG_STATE),
    _scene(abi.DRIVER_READY, DRIVER, driver_boots, ("arrive_entry",)),
    _scene(abi.DRIVER_READY, DRIVER, driver_boots, (2,), Status.INVALID_PARAMETER),
    _scene(abi.DRIVER_READY, DRIVER, secure_npu, (0,), Status.WRONG_STATE),
)
# fmt: on
