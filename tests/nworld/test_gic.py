"""The normal kernel's interrupts on the whole phone: its GIC, its gate, and what it was at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from emulator.devices.gic import GicCpuInterface, GicDistributor
from emulator.gate import Flow, access_all, charge, counter, set_timer, wait
from emulator.memory_map import GIC_CPU, GIC_DISTRIBUTOR
from flexserve.system import System
from monitor.abi import INTERRUPTED_THREAD, SECURE_CALL, SECURE_RESUME, Status
from monitor.services.calls import invoke
from monitor.services.messages import Service
from nworld.background import TIMER
from tests.flexserve.phone import package, phone

SGI, LOW, HIGH, NOBODYS = 3, 50, 51, 52  # shared ones that no device has
GROUP0 = 29  # the secure timer


@dataclass
class Served:
    """What was served, and when; ``quiet``: whether the handlers say that it was theirs."""

    system: System
    interrupts: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    quiet: bool = True

    def by(self, *interrupts: int) -> None:
        for interrupt in interrupts:
            self.system.normal.gic.serve_by(interrupt, partial(self._handle, interrupt))

    def _handle(self, interrupt: int) -> Flow[bool]:
        self.interrupts.append(interrupt)
        self.times.append((yield from counter()))
        if interrupt == TIMER and self.quiet:
            yield from set_timer(None)
        return self.quiet


@pytest.fixture(name="served")
def _served() -> Iterator[Served]:
    system = phone(package(0))
    served = Served(system)
    served.by(SGI, LOW, HIGH, TIMER)
    yield served
    system.dispose()


def enable(system: System, *interrupts: int) -> Flow[None]:
    for interrupt in interrupts:
        yield from system.normal.gic.enable(interrupt)


def raise_(*interrupts: int) -> Flow[None]:
    """At the same instant."""
    registers = [0] * 9
    for interrupt in interrupts:
        registers[interrupt // 32] |= 1 << interrupt % 32
    yield from access_all(
        *((GIC_DISTRIBUTOR.base + GicDistributor.ISPENDR.at(bank), bits) for bank, bits in enumerate(registers))
    )


def register(address: int) -> Flow[int]:
    (value,) = yield from access_all((address, None))
    return value


def is_enabled(interrupt: int) -> Flow[int]:
    bits = yield from register(GIC_DISTRIBUTOR.base + GicDistributor.ISENABLER.at(interrupt // 32))
    return bits >> interrupt % 32 & 1


def test_interrupt_is_served_at_the_next_instruction_and_the_flow_goes_on(served: Served) -> None:
    def flow() -> Flow[tuple[int, ...]]:
        yield from enable(served.system, LOW)
        yield from raise_(LOW)
        begun = yield from counter()
        yield from charge(20_000)
        return begun, (yield from counter())

    begun, ended = served.system.run("flow", flow)  # type: ignore[misc]
    assert served.interrupts == [LOW]
    assert begun <= served.times[0] < begun + 100
    assert ended - begun >= 20_000
    assert served.system.normal.gic.state.spurious == 0


def test_interrupt_in_the_middle_of_a_charge_takes_nothing_from_it(served: Served) -> None:
    def flow(interrupts: int) -> Flow[int]:
        yield from enable(served.system, TIMER)
        yield from charge(2)  # with what it owed
        begun = yield from counter()
        if interrupts:
            yield from set_timer(begun + 7_000)
        yield from charge(3_000_000)
        return (yield from counter()) - begun

    undisturbed = served.system.run("flow", flow, 0)
    disturbed = served.system.run("flow", flow, 1)
    assert served.interrupts == [TIMER]
    assert isinstance(undisturbed, int) and isinstance(disturbed, int)
    assert 0 < disturbed - undisturbed < 200


def test_more_urgent_interrupt_is_served_first(served: Served) -> None:
    def flow() -> Flow[None]:
        priorities = GIC_DISTRIBUTOR.base + GicDistributor.IPRIORITYR.at(LOW // 4)
        yield from access_all((priorities, 0x1080_0000))  # of LOW: 0x80, of HIGH: 0x10
        yield from enable(served.system, LOW, HIGH)
        yield from raise_(LOW, HIGH)
        yield from charge(2)

    served.system.run("flow", flow)
    assert served.interrupts == [HIGH, LOW]


def test_interrupt_that_the_mask_keeps_away_waits_for_the_mask(served: Served) -> None:
    mask = GIC_CPU.base + GicCpuInterface.PMR.offset

    def flow() -> Flow[int]:
        yield from access_all((mask, 0))
        yield from enable(served.system, LOW)
        yield from raise_(LOW)
        yield from charge(20_000)
        before = len(served.interrupts)
        yield from access_all((mask, 0xFF))
        yield from charge(2)
        return before

    assert served.system.run("flow", flow) == 0
    assert served.interrupts == [LOW]


def test_disabled_interrupt_stays_pending_and_is_not_lost(served: Served) -> None:
    def flow() -> Flow[int]:
        yield from raise_(LOW)
        yield from charge(20_000)
        before = len(served.interrupts)
        yield from enable(served.system, LOW)
        yield from charge(2)
        return before

    assert served.system.run("flow", flow) == 0
    assert served.interrupts == [LOW]


def test_software_interrupt_is_ended_under_the_number_that_was_acknowledged(served: Served) -> None:
    def flow() -> Flow[None]:
        for _ in range(3):
            yield from access_all((GIC_DISTRIBUTOR.base + GicDistributor.SGIR.offset, 2 << 24 | 1 << 15 | SGI))
            yield from charge(2)

    served.system.run("flow", flow)
    assert served.interrupts == [SGI] * 3


def test_line_that_stays_high_comes_again_until_its_handler_disowns_it(served: Served) -> None:
    """Otherwise it would keep the core for good."""
    served.quiet = False

    def flow() -> Flow[int]:
        yield from enable(served.system, TIMER)
        yield from set_timer(0)
        yield from charge(20_000)
        once = len(served.interrupts)
        yield from enable(served.system, TIMER)  # its line is as high as before
        yield from charge(20_000)
        assert not (yield from is_enabled(TIMER))
        yield from set_timer(None)
        return once

    assert served.system.run("flow", flow) == 1
    assert served.interrupts == [TIMER] * 2
    assert served.system.normal.gic.state.unclaimed == 2


def test_interrupt_that_nobody_serves_is_disabled(served: Served) -> None:
    def flow() -> Flow[int]:
        yield from enable(served.system, NOBODYS)
        yield from raise_(NOBODYS)
        yield from charge(2)
        return (yield from is_enabled(NOBODYS))

    assert served.system.run("flow", flow) == 0
    assert served.system.normal.gic.state.unclaimed == 1


def test_interrupt_that_is_gone_when_asked_for_is_spurious(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has taken it between its signal and its handler."""
    gic = served.system.normal.gic
    serve = gic.serve

    def late() -> Flow[None]:
        yield from access_all((GIC_DISTRIBUTOR.base + GicDistributor.ICPENDR.at(LOW // 32), 1 << LOW % 32))
        yield from serve()

    def flow() -> Flow[None]:
        yield from enable(served.system, LOW)
        yield from raise_(LOW)
        yield from charge(2)

    monkeypatch.setattr(gic, "serve", late)
    served.system.run("flow", flow)
    assert (served.interrupts, gic.state.spurious, gic.state.unclaimed) == ([], 1, 0)


def test_wait_ends_by_an_interrupt_and_after_its_handler(served: Served) -> None:
    def flow(ticks: int) -> Flow[int]:
        yield from enable(served.system, TIMER)
        yield from set_timer((yield from counter()) + ticks)
        while not served.interrupts:
            yield from wait()
        return len(served.interrupts)

    for ticks in (0, 1, 2, 3, 4, 5, 1_000, 5_000_000):
        served.interrupts.clear()
        assert served.system.run("flow", flow, ticks) == 1


def test_secure_interrupts_are_out_of_reach(served: Served) -> None:
    served.by(GROUP0)

    def flow() -> Flow[int]:
        yield from enable(served.system, GROUP0)
        yield from raise_(GROUP0)
        yield from charge(20_000)
        return (yield from is_enabled(GROUP0))

    assert served.system.run("flow", flow) == 0
    assert served.interrupts == []


def test_preempted_call_is_answered_after_the_interrupt_is_served_and_goes_on(served: Served) -> None:
    def flow(ticks: int) -> Flow[tuple[int, ...]]:
        """Answers, and how many interrupts had been served by the first of them."""
        yield from enable(served.system, TIMER)
        yield from set_timer((yield from counter()) + ticks)
        answers = [(yield from invoke(SECURE_CALL, Service.POLL))[0]]
        by_then = len(served.interrupts)
        while answers[-1] == Status.PREEMPTED:
            answers.append((yield from invoke(SECURE_RESUME, INTERRUPTED_THREAD))[0])
        yield from charge(5_000)
        return (by_then, *answers)

    preempted = 0
    for ticks in range(1, 2_000, 50):
        served.interrupts.clear()
        answer = served.system.run("flow", flow, ticks)
        preempted += answer == (1, Status.PREEMPTED, Status.SUCCESS)
        assert answer in ((1, Status.PREEMPTED, Status.SUCCESS), (1, Status.SUCCESS), (0, Status.SUCCESS))
        assert served.interrupts == [TIMER]
    assert preempted > 3
