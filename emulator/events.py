"""The typed event stream: what the hardware did, in the order in which it did it.

The native machine and the devices write into one buffer; `EventStream` drains it and hands each event to whoever
listens. Kinds and their arguments are those of ``enum event_kind`` in native/api.h.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from emulator.native import ffi, lib

if TYPE_CHECKING:
    from emulator.native._native import Machine as NativeMachine

BATCH = 4096
_RECORD = struct.Struct("=I4x9Q")  # struct event: kind, guest time, eight arguments


class EventKind(enum.IntEnum):
    """What happened; the comment names the arguments."""

    SMC = lib.EVENT_SMC  # function, x1..x5, exception level, context
    SMC_RETURN = lib.EVENT_SMC_RETURN  # x0..x5, exception level, context
    EXCEPTION = lib.EVENT_EXCEPTION  # syndrome, FAR, return address, from level, to level, IPA, vector, context
    DENIED = lib.EVENT_DENIED  # address, NSAID, secure, write, filter, reported as an error
    DEVICE_WRITE = lib.EVENT_DEVICE_WRITE  # device, offset, size, value, secure
    UNDECLARED = lib.EVENT_UNDECLARED  # device, offset, size, value, write, secure
    SMMU_COMMAND = lib.EVENT_SMMU_COMMAND  # the command's two words
    SMMU_FAULT = lib.EVENT_SMMU_FAULT  # stream, input address, event code, write
    DMA = lib.EVENT_DMA  # stream, input address, output address, bytes, write
    TLB = lib.EVENT_TLB  # op1, CRm, op2, operand
    NOTE = lib.EVENT_NOTE  # whatever Python puts into the stream
    OWNERSHIP = lib.EVENT_OWNERSHIP  # first entry, count, old, new: a run of the watched table's bytes has changed
    TOKEN = lib.EVENT_TOKEN  # number, bytes of its text, the first 48 of them as words: an app showed a token
    NPU = lib.EVENT_NPU  # core, NpuWhat, its arguments as in native/npu_api.h


class NpuWhat(enum.IntEnum):
    """What happened to a core of the NPU."""

    STARTED = lib.NPU_STARTED
    TASK_DONE = lib.NPU_TASK_DONE
    JOB_DONE = lib.NPU_JOB_DONE
    FAULT = lib.NPU_FAULT
    ABORTED = lib.NPU_ABORTED
    IGNORED = lib.NPU_IGNORED


class Filter(enum.IntEnum):
    """Which filter denied an access."""

    TZASC = lib.FILTER_TZASC
    TZPC = lib.FILTER_TZPC
    DECODE = lib.FILTER_DECODE  # nothing decodes the address


_KINDS = {int(kind): kind for kind in EventKind}
AT_THE_END_OF_A_CALL = (EventKind.SMC_RETURN, EventKind.OWNERSHIP)


class Event(NamedTuple):
    """One event at a guest time (instructions executed)."""

    kind: EventKind
    instruction: int
    args: tuple[int, ...]


Listener: TypeAlias = Callable[[Event], None]


class EventStream:
    """Selects which kinds are recorded, and hands them on when drained.

    ``prompt``: somebody wants them whenever the machine has run.
    """

    def __init__(self, machine: NativeMachine) -> None:
        self._machine = machine
        self._listeners: list[tuple[frozenset[EventKind], Listener]] = []
        self._lazy: set[Listener] = set()
        self.prompt = False
        self._batch = ffi.new("struct event[]", BATCH)

    def listen(self, kinds: Iterable[EventKind], listener: Listener, *, lazy: bool = False) -> None:
        """From now on record ``kinds`` and call ``listener`` for each at every drain.

        A ``lazy`` one wants them when it drains, or when there is no room for more; the others also whenever the
        machine has run.
        """
        self.drain()  # what came before is not for it
        self._listeners.append((frozenset(kinds), listener))
        if lazy:
            self._lazy.add(listener)
        self._select()

    def ignore(self, listener: Listener) -> None:
        """Stop calling ``listener``; kinds that nobody listens to are no longer recorded."""
        self.drain()
        self._listeners = [entry for entry in self._listeners if entry[1] != listener]
        self._lazy.discard(listener)
        self._select()

    def emit(self, kind: EventKind, *args: int) -> None:
        """Put an event of our own into the stream, after all that the hardware has put there."""
        lib.events_emit(self._machine, kind, args, len(args))

    def device_write(self, device: int, offset: int, size: int, value: int, secure: bool) -> None:
        """A register was programmed that decides who may reach what."""
        self.emit(EventKind.DEVICE_WRITE, device, offset, size, value, secure)

    def undeclared(self, device: int, offset: int, size: int, value: int, write: bool, secure: bool) -> None:
        """An access met no declared register, or bits of it that nothing declares."""
        self.emit(EventKind.UNDECLARED, device, offset, size, value, write, secure)

    def drain(self) -> None:
        """Hand over everything recorded so far."""
        for event in self._recorded():
            self._hand_on(event)

    def _recorded(self) -> Iterator[Event]:
        while count := lib.events_drain(self._machine, self._batch, BATCH):
            records = ffi.buffer(self._batch, count * _RECORD.size)
            for kind, instruction, *args in _RECORD.iter_unpack(records):
                yield Event(_KINDS[kind], instruction, tuple(args))

    def _hand_on(self, event: Event) -> None:
        for kinds, listener in self._listeners:
            if event.kind in kinds:
                listener(event)

    def _wanted(self) -> set[EventKind]:
        return {kind for kinds, _ in self._listeners for kind in kinds}

    def _select(self) -> None:
        wanted = self._wanted()
        self.prompt = any(listener not in self._lazy for _, listener in self._listeners)
        lib.events_select(self._machine, sum(1 << kind for kind in wanted))
        lib.core_watch_calls(self._machine, not wanted.isdisjoint(AT_THE_END_OF_A_CALL))
