"""The SMC table: the only place where a call's number, caller, arguments, results and failures are written down.

The C header, the documentation, trace names and decoding, attacks and fuzzing all come from here. Conventions: SMCCC
1.5 (Arm DEN 0028), PSCI 1.1 (Arm DEN 0022).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.world import World

VERSION_MAJOR = 2
VERSION_MINOR = 0
SMCCC_VERSION = 0x1_0005  # 1.5
PSCI_VERSION = 0x1_0001  # 1.1
UID = (0xA2C5_1E5F, 0x4B1D_D34E, 0x9D27_7AB8, 0x64E0_93F1)  # of the vendor-specific EL3 service; no word reads as -1

HINT = 1 << 16  # "SVE not live": no part of the function's identity
FAST = 1 << 31
SMC64 = 1 << 30

PAGES_PER_CALL = 64  # a call clips its range to this many pages
MINIMUM_DEADLINE = 1_000_000  # ticks that a recall leaves the secure world at least
MAX_CALL_INSTRUCTIONS = 16_384  # bound of what EL3 executes for a fast call; RECLAIM of a whole window comes closest
SCAN_PAGES = 4096  # pages that one MEM_NEXT_* call looks at
NPU_DRAIN_TICKS = 10_000_000  # how long a normal job may go on after the first NPU_ACQUIRE; then it is aborted
DRIVER_TICKS = 100_000_000  # how long the driver context may run in one DRIVER_CALL
MAX_SWITCH_INSTRUCTIONS = 2_048  # bound of what EL3 executes for NPU_RELEASE and the NPU_ACQUIRE that follows


class Status(enum.IntEnum):
    """x0 of a call: SMCCC's own codes where they fit, the monitor's own from -16 on."""

    SUCCESS = 0
    RPC = 1  # yielding calls: the secure world asks for something, SECURE_RESUME answers it
    PREEMPTED = 2  # yielding calls: an interrupt came; SECURE_RESUME of INTERRUPTED_THREAD goes on
    NOT_SUPPORTED = -1  # SMCCC
    INVALID_PARAMETER = -3  # SMCCC
    DENIED = -16  # the page is never Flex-Mem
    WRONG_STATE = -17  # the page is Flex-Mem but not in the state that the call wants
    BUSY = -18  # revoked pages are not acknowledged yet; what is asked for is in use
    NOT_DUE = -19  # FORCE before the recall's deadline
    NOT_OWED = -20  # FORCE of more pages than are owed, of an NPU that nobody asked back
    FAULT = -21  # the driver context did what it may not, and was started afresh
    TIMEOUT = -22  # the driver context did not return in time, and was started afresh


class PsciStatus(enum.IntEnum):
    """x0 of a PSCI call (Arm DEN 0022, 5.2.2), whose codes are not SMCCC's."""

    SUCCESS = 0
    NOT_SUPPORTED = -1
    INVALID_PARAMETERS = -2
    DENIED = -3
    ALREADY_ON = -4


class PageState(enum.IntEnum):
    """Bits 2:0 of an ownership entry."""

    NORMAL = 0  # the normal world's
    ALLOCATED = 1  # promised: the normal world still reaches it, the secure world may lock it
    LOCKED = 2  # the secure world's: no normal master reaches it
    RELEASED = 3  # given back: nobody's until it is reclaimed, which scrubs it
    RESERVED = 7  # never Flex-Mem


REVOKED = 1 << 3  # of an ownership entry: taken by FORCE, the secure world has not acknowledged it
REGION_SHIFT = 4  # of an ownership entry


class Region(enum.IntEnum):
    """Bits 7:4 of an ownership entry."""

    NORMAL_DRAM = 0
    MONITOR_CARVE_OUT = 1
    SECURE_DRAM = 2


class Pending(enum.IntFlag):
    """x0 of an entry into S-EL1, served in this order."""

    REVOKED = 1
    RECALL = 2
    FIQ = 4
    RPC_REPLY = 8
    NEW_CALL = 16
    NPU_RECALL = 32  # the normal world asked for the NPU back
    NPU_REVOKED = 64  # it took the NPU by force; the next NPU_ACQUIRE acknowledges that
    PREEMPTED = 128  # a thread of the secure world is interrupted, and goes on when this entry has left


class Feature(enum.IntEnum):
    """x1 of FLEX_FEATURES; the value is the limit of the same name."""

    PAGES_PER_CALL = 0
    MINIMUM_DEADLINE = 1
    MAX_CALL_INSTRUCTIONS = 2
    SCAN_PAGES = 3
    NPU_DRAIN_TICKS = 4
    DRIVER_TICKS = 5
    MAX_SWITCH_INSTRUCTIONS = 6


INTERRUPTED_THREAD = 0  # x1 of SECURE_RESUME
FORCE = 1  # x3 of MEM_RECLAIM
NPU_WRITE = 1  # x4 of NPU_MAP


DRIVER_CONTEXT = 2  # number of the monitor's third context; the first two are numbered as World


class Vmid(enum.IntEnum):
    """Virtual machine identifiers: whose stage-2 table a translation comes from, in the core's TLB or in the SMMU's."""

    NORMAL = 0  # the core in the normal world
    STORAGE = 2  # every DMA master of the normal world: storage, and the NPU in normal mode
    NPU = 3  # the NPU in secure mode
    DRIVER = 4  # the core in the driver context


class Caller(enum.IntFlag):
    """Contexts that may make a call; bit number = World = SCR_EL3.NS, but DRIVER_CONTEXT, whose NS is 1 as well."""

    SECURE = 1 << World.SECURE
    NORMAL = 1 << World.NORMAL
    BOTH = SECURE | NORMAL
    DRIVER = 1 << DRIVER_CONTEXT


class Kind(enum.Enum):
    """How a word reads in a trace."""

    STATUS = "status"
    PSCI_STATUS = "PSCI status"
    ADDRESS = "address"
    NUMBER = "number"
    MASK = "mask"


STATUSES: Mapping[Kind, type[Status | PsciStatus]] = {Kind.STATUS: Status, Kind.PSCI_STATUS: PsciStatus}


@dataclass(frozen=True)
class Word:
    """One argument or result register."""

    name: str
    kind: Kind
    what: str


@dataclass(frozen=True)
class Call:
    """One row: ``args`` are x1 and on, ``returns`` x0 and on; every other register is preserved."""

    function: int
    name: str
    by: Caller
    args: tuple[Word, ...]
    returns: tuple[Word, ...]
    fails: tuple[Status, ...] | tuple[PsciStatus, ...]
    what: str

    @property
    def statuses(self) -> type[Status | PsciStatus]:
        """What its x0 means, if that is a status."""
        return PsciStatus if self.returns[:1] == (_psci_status,) else Status

    @property
    def is_fast(self) -> bool:
        return bool(self.function & FAST)

    @property
    def is_smc64(self) -> bool:
        return bool(self.function & SMC64)

    def permits(self, world: World) -> bool:
        return bool(self.by & 1 << world)

    def arguments(self, registers: Sequence[int]) -> dict[str, int]:
        """Arguments by name from x1.., truncated to 32 bits in an SMC32 call as the monitor does."""
        mask = 0xFFFF_FFFF_FFFF_FFFF if self.is_smc64 else 0xFFFF_FFFF
        return {word.name: value & mask for word, value in zip(self.args, registers, strict=False)}

    def results(self, registers: Sequence[int]) -> dict[str, int]:
        """Results by name from x0.., statuses signed; after a failure the status alone."""
        values = {
            word.name: signed(value) if word.kind in STATUSES else value
            for word, value in zip(self.returns, registers, strict=False)
        }
        status = values.get("status", Status.SUCCESS)
        return values if status >= 0 else {"status": status}


def signed(value: int) -> int:
    """A 64-bit register read as a signed number."""
    return value - (value >> 63 << 64)


_status = Word("status", Kind.STATUS, "status code")
_psci_status = Word("status", Kind.PSCI_STATUS, "PSCI status code")
_target = Word("target", Kind.MASK, "affinity fields of a core's MPIDR_EL1")
_entry = Word("entry", Kind.ADDRESS, "where it is to go on")
_entry_32 = Word("entry", Kind.MASK, "where it is to go on")
_context = Word("context", Kind.MASK, "for x0 there")
_power_state = Word("power_state", Kind.MASK, "0: standby; there is no other")
_affinity_level = Word("level", Kind.NUMBER, "0: a core; there is no other")
_base = Word("base", Kind.ADDRESS, "physical address of the first page, 4 KiB aligned")
_pages = Word("pages", Kind.NUMBER, "count of 4 KiB pages, at least 1")
_done = Word("done", Kind.NUMBER, "pages done, at most PAGES_PER_CALL; fewer than asked: call again for the rest")
_cursor = Word("cursor", Kind.NUMBER, "0 to begin, then what the last call returned")
_found = (
    _status,
    Word("base", Kind.ADDRESS, "physical address of the first page found"),
    Word("pages", Kind.NUMBER, "pages found in a row; 0: none among the SCAN_PAGES looked at"),
    Word("cursor", Kind.NUMBER, "where to go on; 0: nothing is left"),
)
_function = Word("function", Kind.MASK, "function identifier")
_number = Word("number", Kind.NUMBER, "feature: " + ", ".join(f"{feature} {feature.name}" for feature in Feature))
_value = Word("value", Kind.NUMBER, "the limit")
_thread = Word("thread", Kind.NUMBER, "secure thread, as SECURE_RPC named it; 0: the one that was interrupted")
_message = tuple(Word(f"message{index}", Kind.NUMBER, "passed on unchanged") for index in range(1, 6))
_yielded = (
    Word("status", Kind.STATUS, "SUCCESS: done; RPC: the secure world asks for something; PREEMPTED: interrupted"),
    *_message,
)
_iova = Word("iova", Kind.ADDRESS, "address of the first page as the NPU's DMA has it, 4 KiB aligned, 32 bits")
_answer = (Word("status", Kind.STATUS, "SUCCESS: the driver has returned"), *_message)

_EXTENT_FAILS = (Status.INVALID_PARAMETER, Status.DENIED, Status.WRONG_STATE)


def _version(what: str) -> tuple[Word, ...]:
    return (Word("version", Kind.MASK, what),)


# fmt: off
SMCCC_VERSION_CALL = Call(0x8000_0000, "SMCCC_VERSION", Caller.BOTH, (), _version("major << 16 | minor"), (),
    "Version of the SMC calling convention.")
SMCCC_ARCH_FEATURES = Call(0x8000_0001, "SMCCC_ARCH_FEATURES", Caller.BOTH, (_function,), (_status,),
    (Status.NOT_SUPPORTED,), "Whether an architecture call is implemented.")
PSCI_VERSION_CALL = Call(0x8400_0000, "PSCI_VERSION", Caller.NORMAL, (), _version("major << 16 | minor"), (),
    "Version of the power interface.")
PSCI_CPU_SUSPEND_32 = Call(0x8400_0001, "PSCI_CPU_SUSPEND_32", Caller.NORMAL, (_power_state, _entry_32, _context),
    (_psci_status,), (PsciStatus.INVALID_PARAMETERS,), "As PSCI_CPU_SUSPEND.")
PSCI_CPU_OFF = Call(0x8400_0002, "PSCI_CPU_OFF", Caller.NORMAL, (), (_psci_status,), (PsciStatus.DENIED,),
    "Refused: the secure world is resident on the only core.")
PSCI_CPU_ON_32 = Call(0x8400_0003, "PSCI_CPU_ON_32", Caller.NORMAL, (_target, _entry_32, _context), (_psci_status,),
    (PsciStatus.INVALID_PARAMETERS, PsciStatus.ALREADY_ON), "As PSCI_CPU_ON.")
PSCI_AFFINITY_INFO_32 = Call(0x8400_0004, "PSCI_AFFINITY_INFO_32", Caller.NORMAL, (_target, _affinity_level),
    (_psci_status,), (PsciStatus.INVALID_PARAMETERS,), "As PSCI_AFFINITY_INFO.")
PSCI_MIGRATE_INFO_TYPE = Call(0x8400_0006, "PSCI_MIGRATE_INFO_TYPE", Caller.NORMAL, (),
    (Word("type", Kind.NUMBER, "1: a uniprocessor trusted OS that does not migrate"),), (),
    "What the secure world is to CPU_OFF.")
PSCI_MIGRATE_INFO_UP_CPU_32 = Call(0x8400_0007, "PSCI_MIGRATE_INFO_UP_CPU_32", Caller.NORMAL, (), (_target,), (),
    "As PSCI_MIGRATE_INFO_UP_CPU.")
PSCI_CPU_SUSPEND = Call(0xC400_0001, "PSCI_CPU_SUSPEND", Caller.NORMAL, (_power_state, _entry, _context),
    (_psci_status,), (PsciStatus.INVALID_PARAMETERS,),
    "Sleeps until an interrupt. There is but one power state, standby, from which a core returns as from any call.")
PSCI_CPU_ON = Call(0xC400_0003, "PSCI_CPU_ON", Caller.NORMAL, (_target, _entry, _context), (_psci_status,),
    (PsciStatus.INVALID_PARAMETERS, PsciStatus.ALREADY_ON), "Refused: there is one core, and it is on.")
PSCI_AFFINITY_INFO = Call(0xC400_0004, "PSCI_AFFINITY_INFO", Caller.NORMAL, (_target, _affinity_level),
    (_psci_status,), (PsciStatus.INVALID_PARAMETERS,), "SUCCESS says ON: of the one core there is.")
PSCI_MIGRATE_INFO_UP_CPU = Call(0xC400_0007, "PSCI_MIGRATE_INFO_UP_CPU", Caller.NORMAL, (), (_target,), (),
    "The core on which the secure world is resident.")
PSCI_SYSTEM_RESET = Call(0x8400_0009, "PSCI_SYSTEM_RESET", Caller.NORMAL, (), (), (),
    "Switches the machine off and on again; does not return.")
PSCI_SYSTEM_OFF = Call(0x8400_0008, "PSCI_SYSTEM_OFF", Caller.NORMAL, (), (), (),
    "Switches the machine off; does not return.")
PSCI_FEATURES = Call(0x8400_000A, "PSCI_FEATURES", Caller.NORMAL, (_function,), (_psci_status,),
    (PsciStatus.NOT_SUPPORTED,),
    "Whether a PSCI call, or SMCCC_VERSION, is implemented.")
FLEX_UID = Call(0x8700_FF01, "FLEX_UID", Caller.BOTH, (),
    tuple(Word(f"word{index}", Kind.MASK, f"word {index}") for index in range(4)), (),
    "Identity of the vendor-specific EL3 service.")
FLEX_REVISION = Call(0x8700_FF03, "FLEX_REVISION", Caller.BOTH, (),
    (Word("major", Kind.NUMBER, "breaking changes"), Word("minor", Kind.NUMBER, "additions")), (),
    "Revision of the vendor-specific EL3 service.")
FLEX_VERSION = Call(0xC700_0100, "FLEX_VERSION", Caller.BOTH, (), _version("major << 16 | minor"), (),
    "Version of the Flex calls.")
FLEX_FEATURES = Call(0xC700_0101, "FLEX_FEATURES", Caller.BOTH, (_number,), (_status, _value),
    (Status.INVALID_PARAMETER,), "One limit of this monitor.")
MEM_ALLOCATE = Call(0xC700_0110, "MEM_ALLOCATE", Caller.NORMAL, (_base, _pages), (_status, _done), _EXTENT_FAILS,
    "NORMAL to ALLOCATED: promised to the secure world; still mapped, its contents untrusted. Not while revoked.")
MEM_LOCK = Call(0xC700_0111, "MEM_LOCK", Caller.SECURE, (_base, _pages), (_status, _done), _EXTENT_FAILS,
    "ALLOCATED to LOCKED: gone from the normal world's stage 2, SMMU and TLBs, DMA in flight drained.")
MEM_RECALL = Call(0xC700_0112, "MEM_RECALL", Caller.NORMAL,
    (_pages, Word("ticks", Kind.NUMBER, "ticks from now, at least MINIMUM_DEADLINE")),
    (_status, Word("owed", Kind.NUMBER, "pages owed, at most those LOCKED or ALLOCATED"),
     Word("deadline", Kind.NUMBER, "CNTPCT_EL0 from which FORCE is allowed; 0 when nothing is owed")),
    (Status.INVALID_PARAMETER,),
    "Asks for pages back; the secure world chooses which. Adds to what is owed, for which there is one deadline: the"
    " earlier of two, but MINIMUM_DEADLINE from now at the earliest.")
MEM_RELEASE = Call(0xC700_0113, "MEM_RELEASE", Caller.SECURE, (_base, _pages), (_status, _done), _EXTENT_FAILS,
    "LOCKED to RELEASED. Each page lowers what is owed.")
MEM_RECLAIM = Call(0xC700_0114, "MEM_RECLAIM", Caller.NORMAL,
    (_base, _pages, Word("flags", Kind.MASK, "bit 0 FORCE, the others zero")), (_status, _done),
    (*_EXTENT_FAILS, Status.NOT_DUE, Status.NOT_OWED),
    "RELEASED to NORMAL, scrubbed, then mapped; ALLOCATED to NORMAL at any time. FORCE: LOCKED to NORMAL, scrubbed and"
    " revoked, after the deadline and at most what is owed.")
MEM_DECLINE = Call(0xC700_0118, "MEM_DECLINE", Caller.SECURE, (_base, _pages), (_status, _done), _EXTENT_FAILS,
    "ALLOCATED to NORMAL: the secure world does not want what it was promised. Each page lowers what is owed.")
MEM_NEXT_RELEASED = Call(0xC700_0115, "MEM_NEXT_RELEASED", Caller.NORMAL, (_cursor,), _found,
    (Status.INVALID_PARAMETER,), "Finds RELEASED pages.")
MEM_NEXT_REVOKED = Call(0xC700_0116, "MEM_NEXT_REVOKED", Caller.SECURE, (_cursor,), _found,
    (Status.INVALID_PARAMETER,), "Finds pages that FORCE took and the secure world has not acknowledged.")
MEM_ACK_REVOKED = Call(0xC700_0117, "MEM_ACK_REVOKED", Caller.SECURE, (_base, _pages), (_status, _done), _EXTENT_FAILS,
    "The secure world has dropped its mappings of these revoked pages.")
SECURE_CALL = Call(0x7200_0000, "SECURE_CALL", Caller.NORMAL,
    (Word("service", Kind.NUMBER, "what the normal world asks for"), *_message[1:]), _yielded,
    (Status.BUSY,),
    "Enters the secure world with a new call; let in even while revoked pages are unacknowledged. BUSY: an interrupted"
    " thread waits, and no page was revoked since.")
SECURE_RESUME = Call(0x7200_0001, "SECURE_RESUME", Caller.NORMAL, (_thread, *_message[1:]), _yielded,
    (Status.BUSY, Status.WRONG_STATE),
    "Answers a SECURE_RPC, or goes on with what was interrupted; refused while revoked pages are unacknowledged, and to"
    " another thread while an interrupted one waits. WRONG_STATE: nothing is interrupted.")
SECURE_DONE = Call(0xF200_0000, "SECURE_DONE", Caller.SECURE, _message, (_status,), (Status.WRONG_STATE,),
    "Returns to the normal world: its call is done. Comes back as the next entry.")
SECURE_RPC = Call(0xF200_0001, "SECURE_RPC", Caller.SECURE,
    (_thread, Word("operation", Kind.NUMBER, "what the secure world asks for"), *_message[2:]), (_status,),
    (Status.WRONG_STATE,), "Returns to the normal world with a request. Comes back as the next entry.")
SECURE_READY = Call(0xF200_0002, "SECURE_READY", Caller.SECURE,
    (Word("entry", Kind.ADDRESS, "where S-EL1 is entered, 4-byte aligned"),
     Word("revocation_entry", Kind.ADDRESS, "where it is entered while revoked pages are unacknowledged")),
    (_status,), (Status.INVALID_PARAMETER, Status.WRONG_STATE),
    "Ends the secure world's boot, once. Comes back as the next entry.")
NPU_MAP = Call(0xC700_0120, "NPU_MAP", Caller.SECURE,
    (_iova, _base, _pages, Word("flags", Kind.MASK, "bit 0 WRITE: the NPU may write to them; the others zero")),
    (_status, _done), _EXTENT_FAILS,
    "Maps LOCKED pages for the NPU's DMA in secure mode, each at one IOVA only; those addresses must be free. Below the"
    " size of DRAM, 4 GiB at most. A page that is released or taken by force is unmapped by that.")
NPU_UNMAP = Call(0xC700_0121, "NPU_UNMAP", Caller.SECURE, (_iova, _pages), (_status, _done),
    (Status.INVALID_PARAMETER,), "Unmaps what is mapped at these IOVAs; DMA in flight drained.")
NPU_ACQUIRE = Call(0xC700_0122, "NPU_ACQUIRE", Caller.SECURE, (), (_status,), (Status.WRONG_STATE, Status.BUSY),
    "Takes the NPU from the normal world: its registers at once, then streams and interrupts once no job is in flight."
    " BUSY: a normal job still is, call again; after NPU_DRAIN_TICKS it is aborted. WRONG_STATE: it is secure already."
    " Acknowledges NPU_REVOKED.")
NPU_RELEASE = Call(0xC700_0123, "NPU_RELEASE", Caller.SECURE, (), (_status,), (Status.WRONG_STATE,),
    "Gives the NPU back, scrubbed; a secure job in flight is aborted. Ends an NPU_ACQUIRE that was BUSY.")
NPU_RECALL = Call(0xC700_0124, "NPU_RECALL", Caller.NORMAL,
    (Word("ticks", Kind.NUMBER, "ticks from now, at least MINIMUM_DEADLINE"),),
    (_status, Word("deadline", Kind.NUMBER, "CNTPCT_EL0 from which NPU_RECLAIM is allowed; 0: it is the caller's")),
    (Status.INVALID_PARAMETER,), "Asks for the NPU back. A second one keeps the earlier deadline.")
NPU_RECLAIM = Call(0xC700_0125, "NPU_RECLAIM", Caller.NORMAL, (), (_status,), (Status.NOT_OWED, Status.NOT_DUE),
    "Takes a recalled NPU back by force after the deadline, scrubbed; a secure job in flight is aborted.")
DRIVER_CALL = Call(0x7200_0010, "DRIVER_CALL", Caller.SECURE,
    (Word("operation", Kind.NUMBER, "what the driver is asked for"), *_message[1:]), _answer,
    (Status.WRONG_STATE, Status.BUSY, Status.FAULT, Status.TIMEOUT),
    "Enters the driver context. WRONG_STATE: the NPU is not secure. BUSY: the driver has an interrupted call.")
DRIVER_RETURN = Call(0xF200_0010, "DRIVER_RETURN", Caller.DRIVER, _message, (_status,), (Status.WRONG_STATE,),
    "Returns from DRIVER_CALL. Comes back as the next entry.")
DRIVER_READY = Call(0xF200_0011, "DRIVER_READY", Caller.DRIVER,
    (Word("entry", Kind.ADDRESS, "where the driver context is entered, 4-byte aligned"),),
    (_status,), (Status.INVALID_PARAMETER, Status.WRONG_STATE),
    "Ends the driver context's boot, once; the secure world boots next. Comes back as the next entry.")
# fmt: on

CALLS = (
    SMCCC_VERSION_CALL,
    SMCCC_ARCH_FEATURES,
    PSCI_VERSION_CALL,
    PSCI_CPU_SUSPEND_32,
    PSCI_CPU_OFF,
    PSCI_CPU_ON_32,
    PSCI_AFFINITY_INFO_32,
    PSCI_MIGRATE_INFO_TYPE,
    PSCI_MIGRATE_INFO_UP_CPU_32,
    PSCI_CPU_SUSPEND,
    PSCI_CPU_ON,
    PSCI_AFFINITY_INFO,
    PSCI_MIGRATE_INFO_UP_CPU,
    PSCI_SYSTEM_RESET,
    PSCI_SYSTEM_OFF,
    PSCI_FEATURES,
    FLEX_UID,
    FLEX_REVISION,
    FLEX_VERSION,
    FLEX_FEATURES,
    MEM_ALLOCATE,
    MEM_LOCK,
    MEM_RECALL,
    MEM_RELEASE,
    MEM_DECLINE,
    MEM_RECLAIM,
    MEM_NEXT_RELEASED,
    MEM_NEXT_REVOKED,
    MEM_ACK_REVOKED,
    SECURE_CALL,
    SECURE_RESUME,
    SECURE_DONE,
    SECURE_RPC,
    SECURE_READY,
    NPU_MAP,
    NPU_UNMAP,
    NPU_ACQUIRE,
    NPU_RELEASE,
    NPU_RECALL,
    NPU_RECLAIM,
    DRIVER_CALL,
    DRIVER_RETURN,
    DRIVER_READY,
)

_BY_FUNCTION = {call.function: call for call in CALLS}

NAMES: Mapping[int, str] = {call.function: call.name for call in CALLS}


def find(function: int) -> Call | None:
    """The call that x0 = ``function`` names (its low 32 bits, hint bit ignored); None: unknown."""
    return _BY_FUNCTION.get(function & 0xFFFF_FFFF & ~HINT)
