"""A kernel's flows at a gate whose core is a few lines of Python: sites, charges, aborts, suspension, replay."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import cast

import pytest

from emulator import costs
from emulator.gate import (
    Arrival,
    Flow,
    Gate,
    Notice,
    Operation,
    Registers,
    Runner,
    Site,
    Thread,
    access_all,
    charge,
    compute,
    counter,
    execute,
    load,
    notice,
    read,
    set_timer,
    smc,
    store,
    tlbi,
    unmask,
    wait,
    write,
)
from emulator.world import World
from emulator.world_port import PortAbort, WorldPort

BASE = 0x4000_0000
SYMBOLS = {name.value: 4 * index for index, name in enumerate([*Site, *Arrival])}
PROBE_END = 0x4010_0000
ABORT = PortAbort(0x9600_0047, 0xBAD)


class FakeRegisters(dict[int, int]):
    def first(self, count: int) -> Registers:
        return tuple(self[index] for index in range(count))

    def set_first(self, values: Registers) -> None:
        self.update(enumerate(values))


@dataclass
class FakeCore:
    pc: int = 0
    context: int = World.NORMAL
    x: FakeRegisters = field(default_factory=lambda: FakeRegisters(dict.fromkeys(range(31), 0)))

    def read_sysreg(self, name: str) -> int:
        return {"ESR_EL1": 0x9600_0047, "FAR_EL1": 0x5000}[name]


class FakePort:
    """Memory of 64 bytes; one address aborts."""

    def __init__(self) -> None:
        self.memory = bytearray(64)

    def read(self, va: int, size: int) -> bytes:
        if va == ABORT.address:
            raise ABORT
        return bytes(self.memory[va : va + size])

    def write(self, va: int, data: bytes) -> None:
        self.memory[va : va + len(data)] = data

    def load(self, va: int, width: int) -> int:
        return int.from_bytes(self.read(va, width), "little")

    def store(self, va: int, width: int, value: int) -> None:
        self.write(va, value.to_bytes(width, "little"))

    def access_all(self, accesses: tuple[tuple[int, int | None], ...]) -> tuple[int, ...]:
        loaded = []
        for va, value in accesses:
            if value is None:
                loaded.append(self.load(va, 4))
            else:
                self.store(va, 4, value)
        return tuple(loaded)


class Bench:
    """Plays the gate's code: whatever site the core is resumed at, it comes back."""

    def __init__(self) -> None:
        self.core = FakeCore()
        self.gate = Gate(self.core, World.NORMAL, SYMBOLS, BASE, PROBE_END)
        self.shown: list[Notice] = []
        self.ended: list[Thread] = []
        self.sites: list[tuple[Site, int]] = []
        operations = {"double": Operation(lambda port, n: 2 * n, lambda n: n)}
        self.runner = Runner(
            self.gate, cast(WorldPort, FakePort()), operations, lambda: 77, self.ended.append, self.shown.append
        )

    def turn(self) -> None:
        """From a site to its arrival; an SMC answers with its registers counted up."""
        site = next(site for site in Site if self.gate.address(site.value) == self.core.pc)
        long_turns, turns = self.core.x[8], self.core.x[9]  # of 256 and of 2 instructions, and what is around them
        passes = long_turns or turns or site is Site.BUSY
        self.sites.append((site, 256 * long_turns + 2 * turns + 2 if passes else 0))
        self.core.x[8] = self.core.x[9] = 0
        if site is Site.SMC:
            for index in range(8):
                self.core.x[index] += 1
        self.core.pc = self.gate.address((Arrival.IDLE if site is Site.WAIT else Arrival.RETURN).value)
        assert self.gate.arrival(self.core.pc) in (Arrival.RETURN, Arrival.IDLE)
        self.runner.returned()

    def run(self, flow: Flow[int]) -> Thread:
        self.runner.resume(self.runner.start("flow", lambda: flow))
        while not self.ended:
            self.turn()
        return self.ended[0]

    def spun(self) -> int:
        return sum(spent for _, spent in self.sites)


def test_every_action_is_performed_and_answered() -> None:
    def flow() -> Flow[int]:
        yield from write(8, b"flex")
        assert (yield from read(8, 4)) == b"flex"
        yield from store(16, 0x1234, 2)
        assert (yield from load(16, 2)) == 0x1234
        assert (yield from counter()) == 77
        assert (yield from compute("double", 21)) == 42
        yield from charge(10)
        yield from tlbi(0x55)
        yield from unmask()
        yield from set_timer(0x1234)
        yield from wait()
        yield from notice("token", 3, data=b"x")
        return (yield from smc(0xC700_0100, 1, 2))[1]

    bench = Bench()
    assert bench.run(flow()).result == 2
    assert bench.shown == [Notice("token", (3,), b"x")]
    assert [site for site, _ in bench.sites if site is not Site.BUSY] == [
        Site.TLBI, Site.UNMASK, Site.TIMER, Site.WAIT, Site.SMC
    ]  # fmt: skip


def test_what_costs_little_is_paid_with_what_follows_it() -> None:
    def flow() -> Flow[int]:
        yield from write(0, bytes(16))
        assert (yield from read(0, 16)) == bytes(16)
        yield from wait()
        yield from charge(10)
        yield from load(0)
        return 0

    bench = Bench()
    bench.run(flow())
    assert bench.sites == [(Site.WAIT, 2 * costs.copy(16)), (Site.BUSY, 10)]


def test_what_is_owed_is_paid_before_an_smc() -> None:
    """In its own site, so that what follows a computation does not happen before it is over."""

    def flow() -> Flow[int]:
        yield from write(0, bytes(64))
        yield from smc(1)
        yield from smc(2)
        return 0

    bench = Bench()
    bench.run(flow())
    assert bench.sites == [(Site.SMC, costs.copy(64)), (Site.SMC, 0)]


def test_many_accesses_are_one_action_that_costs_what_they_cost() -> None:
    def flow() -> Flow[int]:
        loaded = yield from access_all((8, 0x11), (12, 0x22), (8, None), (8, 0x33), (12, None), (8, None))
        assert loaded == (0x11, 0x22, 0x33)
        yield from charge(2)
        return 0

    bench = Bench()
    bench.run(flow())
    assert bench.spun() == 6 * costs.MMIO_ACCESS + 2


def test_abort_ends_a_list_of_accesses() -> None:
    def flow() -> Flow[int]:
        with contextlib.suppress(PortAbort):
            yield from access_all((8, 0x11), (ABORT.address, None), (8, 0x22))
        return (yield from load(8))

    assert Bench().run(flow()).result == 0x11


def test_smc_sets_all_argument_registers_and_reads_a_signed_status() -> None:
    bench = Bench()

    def flow() -> Flow[int]:
        return (yield from smc(0xFFFF_FFFF_FFFF_FFFE, 5))[0]

    bench.core.x[7] = 0xDEAD
    bench.runner.resume(bench.runner.start("flow", flow))
    assert [bench.core.x[index] for index in range(8)] == [0xFFFF_FFFF_FFFF_FFFE, 5, 0, 0, 0, 0, 0, 0]
    bench.turn()
    assert bench.ended[0].result == -1


def test_long_cost_is_paid_in_stays_of_limited_length() -> None:
    bench = Bench()
    wanted = 2 * costs.MAX_CHARGE + 10

    def flow() -> Flow[int]:
        yield from charge(wanted)
        return 0

    bench.run(flow())
    assert bench.spun() == wanted
    assert [spent for _, spent in bench.sites] == [costs.MAX_CHARGE, costs.MAX_CHARGE, 10]


def test_copy_costs_by_its_size() -> None:
    def spent(size: int) -> int:
        bench = Bench()

        def flow() -> Flow[int]:
            yield from read(0, size)
            yield from charge(2)
            return 0

        bench.run(flow())
        return bench.spun()

    assert spent(64) - spent(32) == 2


def test_abort_is_thrown_into_the_flow() -> None:
    def flow() -> Flow[int]:
        try:
            yield from read(ABORT.address, 1)
        except PortAbort as abort:
            return abort.address
        return 0

    assert Bench().run(flow()).result == ABORT.address


def test_flow_that_fails_is_over_and_the_next_one_runs() -> None:
    bench = Bench()

    def failing() -> Flow[int]:
        yield from charge(2)
        raise ArithmeticError

    def flow() -> Flow[int]:
        return (yield from counter())

    with pytest.raises(ArithmeticError):
        bench.run(failing())
    assert bench.runner.current is None
    assert bench.run(flow()).result == 77


def test_suspended_thread_goes_on_with_the_reply_it_is_given() -> None:
    bench = Bench()

    def flow() -> Flow[int]:
        return (yield from smc(1))[1]

    bench.runner.resume(bench.runner.start("flow", flow))
    waiting = bench.runner.suspend()
    assert waiting and bench.runner.current is None
    bench.runner.resume(waiting, (0, 99))
    assert waiting.result == 99


def test_timer_is_set_and_switched_off() -> None:
    def flow() -> Flow[int]:
        yield from set_timer(0x1234)
        yield from set_timer(None)
        return 0

    bench = Bench()
    bench.runner.resume(bench.runner.start("flow", flow))
    assert (bench.core.x[0], bench.core.x[1]) == (0x1234, 1)
    bench.turn()
    assert bench.core.x[1] == 0


def interrupt(bench: Bench, handler: Flow[int]) -> None:
    """The gate saves and restores its registers; what the handler leaves in them is its own."""
    pc, registers = bench.core.pc, type(bench.core.x)(bench.core.x)
    bench.core.pc = bench.gate.address(Arrival.IRQ.value)
    assert bench.gate.arrival(bench.core.pc) is Arrival.IRQ
    kept = bench.runner.set_aside()
    bench.runner.resume(bench.runner.start("interrupt", lambda: handler))
    while not bench.ended:
        bench.turn()
    bench.ended.clear()
    bench.runner.take_up(kept)
    bench.gate.end_interrupt()
    assert bench.core.pc == bench.gate.address(Site.ERET.value)
    bench.core.pc, bench.core.x = pc, registers


def served() -> Flow[int]:
    yield from store(40, 0xA5, 1)
    yield from smc(0xC700_0101, 9)
    yield from charge(50_000)
    return 0


def test_flow_that_is_interrupted_anywhere_goes_on_as_if_it_were_not() -> None:
    def flow() -> Flow[int]:
        yield from charge(2 * costs.MAX_CHARGE + 10)
        total = yield from compute("double", 20_000)
        total += (yield from smc(total))[1]
        yield from wait()
        arrival, *_, x0 = (yield from execute(0x4010_0100, 11))[:4]
        return total + arrival + x0

    def run(interrupted_at: int | None) -> tuple[int, int]:
        """The result, and how many sites it took."""
        bench, number = Bench(), 0
        bench.runner.resume(bench.runner.start("flow", flow))
        while not bench.ended:
            if number == interrupted_at:
                interrupt(bench, served())
            number += 1
            if bench.runner.executing:
                bench.runner.executed(Arrival.PROBE)
            else:
                bench.turn()
        return int(cast(int, bench.ended[0].result)), number

    expected, sites = run(None)
    assert sites == 6
    for site in range(sites):
        assert run(site) == (expected, sites)


@pytest.mark.parametrize("arrival", [Arrival.PROBE, Arrival.SYNC])
@pytest.mark.parametrize("unmasked", [False, True])
def test_guest_code_ends_at_its_end_or_in_the_vector_table(arrival: Arrival, unmasked: bool) -> None:
    """There interrupts are masked: who takes them unmasks them again."""

    def flow() -> Flow[int]:
        if unmasked:
            yield from unmask()
        ended, syndrome, address, x0, *_ = yield from execute(0x4010_0100, 11, 12)
        assert (ended, syndrome, address) == (arrival.number, 0x9600_0047, 0x5000)
        return x0

    bench = Bench()
    bench.runner.resume(bench.runner.start("flow", flow))
    if unmasked:
        bench.turn()
    assert (bench.core.pc, bench.core.x[0], bench.core.x[1]) == (0x4010_0100, 11, 12)
    assert bench.gate.arrival(PROBE_END) is Arrival.PROBE
    bench.runner.executed(arrival)
    while not bench.ended:
        bench.turn()
    assert bench.ended[0].result == 11
    assert len(bench.sites) == (1 + (arrival is Arrival.SYNC) if unmasked else 0)


def test_arrival_belongs_to_the_world_that_runs() -> None:
    bench = Bench()
    bench.core.context = World.SECURE
    assert bench.gate.arrival(BASE + SYMBOLS[Arrival.ENTRY.value]) is None


def test_smc_with_too_many_arguments_is_refused() -> None:
    with pytest.raises(ValueError, match="x1-x7 hold 7"):
        Bench().gate.smc(1, tuple(range(8)))
