"""Performs the actions of one kernel's flows at its gate, and makes each cost what it costs.

An action through the port is performed at once; then the gate spins for its cost, in stays of at most ``MAX_CHARGE``
instructions, and only then does the flow go on. So guest time, deadlines and interrupts see Python work. What costs
less than ``MIN_STAY`` is paid together with what follows it, before the next SMC or WFI at the latest: a stay of its
own costs the host more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emulator import costs
from emulator.world_port import PortAbort, WorldPort

from .actions import (
    AccessAll,
    Argument,
    Charge,
    Compute,
    Counter,
    Execute,
    Load,
    Notice,
    Read,
    Reply,
    SetTimer,
    Smc,
    Store,
    Tlbi,
    Unmask,
    Wait,
    Write,
)
from .operations import Operations
from .site import Arrival, Gate
from .thread import FlowFactory, Thread


@dataclass(frozen=True)
class Interrupted:
    """What a runner was doing when its gate was interrupted."""

    thread: Thread | None
    debt: int
    reply: Reply | PortAbort
    reply_in_registers: bool
    executing: bool


class Runner:
    """Runs one thread at a time; ``finished`` is called when the current one ends and must say what comes next.

    ``clock`` is CNTPCT_EL0 in ticks; ``show`` takes the notices of apps.
    """

    def __init__(
        self,
        gate: Gate,
        port: WorldPort,
        operations: Operations,
        clock: Callable[[], int],
        finished: Callable[[Thread], None],
        show: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self.gate = gate
        self.current: Thread | None = None
        self._port = port
        self._operations = operations
        self._clock = clock
        self._finished = finished
        self._show = show
        self._threads = 0
        self._debt = 0
        self._carried = 0
        self._reply: Reply | PortAbort = None
        self._reply_in_registers = False
        self.executing = False
        self._takes_interrupts = False
        self._leaving: dict[type, Callable[..., None]] = {
            Smc: self._smc, Wait: self._wait, Tlbi: self._tlbi, Execute: self._execute,
            SetTimer: self._set_timer, Unmask: self._unmask,
        }  # fmt: skip
        self._performing: dict[type, Callable[..., int]] = {
            Read: self._read, Write: self._write, Load: self._load, Store: self._store, AccessAll: self._access_all,
            Counter: self._counter, Charge: self._charge, Compute: self._compute, Notice: self._notice,
        }  # fmt: skip

    def start(self, name: str, flow: FlowFactory, arguments: tuple[Argument, ...] = ()) -> Thread:
        """Make a thread; ``resume`` runs it."""
        self._threads += 1
        return Thread(self._threads, name, flow, arguments)

    def resume(self, thread: Thread, value: Reply | PortAbort = None) -> None:
        """Send ``value`` into ``thread`` and do what it asks; leaves the core at a site, or the thread finished."""
        self.current = thread
        self._advance(value)

    def suspend(self) -> Thread | None:
        """Leave the current thread waiting for its last action (the SMC by which it left this world)."""
        thread, self.current = self.current, None
        return thread

    def set_aside(self) -> Interrupted:
        """The kernel is entered anew, or serves an interrupt, in the middle of its work: keep that for `take_up`."""
        kept = Interrupted(self.current, self._debt, self._reply, self._reply_in_registers, self.executing)
        self.current, self._debt, self._reply = None, 0, None
        self._reply_in_registers = self.executing = False
        return kept

    def take_up(self, kept: Interrupted) -> None:
        """The core stands again where it was interrupted."""
        self.current, self._debt, self._reply = kept.thread, kept.debt, kept.reply
        self._reply_in_registers, self.executing = kept.reply_in_registers, kept.executing

    def abandon(self) -> None:
        """Forget the current thread, if any: it will never go on."""
        if self.current:
            self._debt = 0
            self._forget()

    def returned(self) -> None:
        """The core came back from a site: pay what is still owed, then go on with the flow."""
        if self._debt:
            self._pay()
        else:
            self._advance(self.gate.registers() if self._reply_in_registers else self._reply)

    def executed(self, arrival: Arrival) -> None:
        """Guest code that the current flow had executed has ended, by itself or by an exception."""
        self.executing = False
        outcome = self.gate.outcome(arrival)
        if arrival is not Arrival.PROBE and self._takes_interrupts:
            self._reply = outcome
            self.gate.unmask()  # the exception has masked them
        else:
            self._advance(outcome)

    def _advance(self, value: Reply | PortAbort) -> None:
        thread = self.current
        assert thread is not None, f"the {self.gate.world.name.lower()} gate returned to no thread"
        while True:
            try:
                action = thread.step(value)
            except Exception:
                self._forget()
                raise
            if action is None:
                self._forget()
                self._finished(thread)
                return
            kind = type(action)
            self._reply, self._reply_in_registers = None, kind is Smc
            if leave := self._leaving.get(kind):
                leave(action)
                return
            try:
                self._carried += self._performing[kind](action)
            except PortAbort as abort:
                self._reply = abort
                self._carried += costs.PORT_ACCESS
            if self._carried >= costs.MIN_STAY or kind is Charge:
                self._debt, self._carried = self._carried, 0
                self._pay()
                return
            value = self._reply

    # Actions that leave the gate. An SMC and a WFI are preceded by the time that is owed.

    def _smc(self, action: Smc) -> None:
        self.gate.smc(action.function, action.arguments, self._settled())

    def _wait(self, _: Wait) -> None:
        self.gate.wait(self._settled())

    def _tlbi(self, action: Tlbi) -> None:
        self.gate.tlbi(action.operand)

    def _set_timer(self, action: SetTimer) -> None:
        self.gate.set_timer(action.at)

    def _unmask(self, _: Unmask) -> None:
        self._takes_interrupts = True
        self.gate.unmask()

    def _execute(self, action: Execute) -> None:
        self.executing = True
        self.gate.execute(action.address, action.arguments)

    def _settled(self) -> int:
        carried, self._carried = self._carried, 0
        return carried

    # Actions that are performed at once: each keeps its result for the flow and returns its cost in instructions

    def _read(self, action: Read) -> int:
        self._reply = self._port.read(action.va, action.size)
        return costs.copy(action.size)

    def _write(self, action: Write) -> int:
        self._port.write(action.va, action.data)
        return costs.copy(len(action.data))

    def _load(self, action: Load) -> int:
        self._reply = self._port.load(action.va, action.width)
        return costs.MMIO_ACCESS

    def _store(self, action: Store) -> int:
        self._port.store(action.va, action.width, action.value)
        return costs.MMIO_ACCESS

    def _access_all(self, action: AccessAll) -> int:
        self._reply = self._port.access_all(action.accesses)
        return costs.MMIO_ACCESS * len(action.accesses)

    def _counter(self, _: Counter) -> int:
        self._reply = self._clock()
        return costs.COUNTER_READ

    def _charge(self, action: Charge) -> int:
        return action.instructions

    def _compute(self, action: Compute) -> int:
        operation = self._operations[action.name]
        self._reply = operation.run(self._port, *action.arguments)
        return operation.cost(*action.arguments)

    def _notice(self, action: Notice) -> int:
        self._show(action)
        return 0

    def _pay(self) -> None:
        stay = min(self._debt, costs.MAX_CHARGE)
        self._debt -= stay
        self.gate.spin(stay)

    def _forget(self) -> None:
        """The current thread is over."""
        self.current = None
