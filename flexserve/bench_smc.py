"""`bench smc`: SMC round trips a second of host time, on our core and beside it on QEMU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from emulator import gate
from emulator.gate import Flow
from emulator.image import Image
from emulator.machine import Machine, StopReason
from emulator.memory_map import MIB, DramLayout
from emulator.native import ffi, lib
from flexserve import qemu_peer
from flexserve.loop_phone import LoopPhone
from flexserve.system import System
from monitor.abi import FLEX_VERSION

DRAM_BYTES = 256 * MIB  # as QEMU is given
WARM_UP = 100_000
ROUND_TRIPS = 4_000_000
ROUND_TRIP_INSTRUCTIONS = 5
ROUNDS = 3
FAST_CALLS = 400_000
SECURE_CALLS = 40_000
PYTHON_CALLS = 10_000


@dataclass(frozen=True)
class MonitorRates:
    """Through the real monitor. A switch is one way; ``python_smc_per_s`` is a kernel's flow that makes calls."""

    fast_call_per_s: float
    fast_call_instructions: int
    world_switch_per_s: float
    python_smc_per_s: float


def through_the_monitor() -> MonitorRates:
    """Time FLEX_VERSION and SECURE_CALL from guest loops, and FLEX_VERSION from a flow of the normal kernel."""
    with closing(LoopPhone(DRAM_BYTES)) as phone:
        fast = _rate(FAST_CALLS, lambda: phone.loop("version_loop", FAST_CALLS))
        switches = _rate(2 * SECURE_CALLS, lambda: phone.loop("switch_loop", SECURE_CALLS))
        phone.watch_calls()
        phone.loop("version_loop", 1)
        instructions = phone.longest_call()
    system = System(DRAM_BYTES)
    try:
        system.boot()
        python = _rate(PYTHON_CALLS, lambda: system.run("versions", _versions, PYTHON_CALLS))
    finally:
        system.dispose()
    return MonitorRates(fast, instructions, switches, python)


def _versions(count: int) -> Flow[None]:
    for _ in range(count):
        yield from gate.smc(FLEX_VERSION.function)


def _rate(count: int, work: Callable[[], object]) -> float:
    """``count`` a second: the median of a few rounds, after one to warm up."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return count / statistics.median(seconds)


@dataclass(frozen=True)
class BareLoop:
    """The bare ELF on both: medians of runs in turn, so that a busy host slows both alike."""

    core_smc_per_s: float
    qemu_per_s: float | None
    missing: str = ""  # why there is no figure of QEMU's


def bare_loop(elf: Path) -> BareLoop:
    """Time the SMC loop on an empty EL3 vector, here and on QEMU in turn."""
    core: list[float] = []
    qemu: list[float] = []
    missing = "" if qemu_peer.is_available() else f"{qemu_peer.QEMU} is not installed (Debian: qemu-system-arm)"
    for _ in range(ROUNDS):
        core.append(core_smc_per_second(elf))
        if not missing:
            try:
                qemu.append(qemu_peer.smc_per_second(elf))
            except qemu_peer.PeerError as error:
                missing = str(error)
    return BareLoop(statistics.median(core), None if missing else statistics.median(qemu), missing)


def core_smc_per_second(elf: Path) -> float:
    """SMC round trips a second on our core, started up and warm, as QEMU's are counted."""
    machine = Machine(DramLayout(DRAM_BYTES))
    try:
        _open_dram(machine)
        _run_loop(machine, elf, WARM_UP)
        start = time.perf_counter()
        _run_loop(machine, elf, ROUND_TRIPS)
        return ROUND_TRIPS / (time.perf_counter() - start)
    finally:
        machine.close()


def _run_loop(machine: Machine, elf: Path, count: int) -> None:
    image = Image.parse(elf.stem, qemu_peer.with_words(elf.read_bytes(), {qemu_peer.COUNT_SYMBOL: count}))
    machine.load(image)
    machine.reset(image.entry)
    begun = machine.instructions
    stop = machine.run()
    ended = (stop.reason, stop.pc) == (StopReason.WFI, image.symbols["smc_loop_done"])
    if not ended or machine.instructions - begun < count * ROUND_TRIP_INSTRUCTIONS:
        raise RuntimeError(f"{elf.name} stopped by {stop.reason.name} at {stop.pc:#x}, not at the end of its loop")


def _open_dram(machine: Machine) -> None:
    """The bare ELF programs no TZC-400; QEMU's machine has none."""
    everything = ffi.new("struct tzasc_region *")
    everything.top = (1 << 64) - 1
    everything.enabled = everything.secure_read = everything.secure_write = True
    everything.normal_read = everything.normal_write = 0xFFFF
    lib.tzasc_set_region(machine.native, 0, everything)
    lib.tzasc_set_control(machine.native, True, True)
