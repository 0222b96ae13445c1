"""`bench npu`: multiply-accumulates a second of the NPU's model, beside the same products by numpy and by ggml.

Several matrices in turn, together more than a processor's caches hold, as the layers of a model are; a job has a task
for each. M = 1 is the shape of decode, M = 128 that of prefill.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.devices.board import Board, populate
from emulator.devices.npu import NpuControl, NpuCore
from emulator.devices.npu_program import TASK_COMMANDS, Task, amount, program
from emulator.machine import Machine
from emulator.memory_map import DRAM_BASE, MIB, DramLayout
from emulator.native import ffi, lib
from flexserve.bench_llm import PEER_SECONDS, PEER_VARIABLE, PeerMissing, thread_count

COUNTS = (1, 128)  # rows of features: decode, prefill
ROWS, COLUMNS, MATRICES = 4096, 2048, 8
ROUNDS = 5
DRAM_BYTES = 256 * MIB
PROGRAM, FEATURES, SUMS, WEIGHTS = (DRAM_BASE + offset * MIB for offset in (16, 17, 32, 64))
PEER_SCRIPT = Path(__file__).with_name("ggml_peer.py")
DONE = 0x300


@dataclass(frozen=True)
class NpuRates:
    """Multiply-accumulates a second; None where ``missing`` says why."""

    threads: int
    decode_macs_per_s: float
    prefill_macs_per_s: float
    numpy_decode_macs_per_s: float | None
    numpy_prefill_macs_per_s: float | None
    ggml_decode_macs_per_s: float | None
    ggml_prefill_macs_per_s: float | None
    missing: tuple[str, ...] = ()


def compare() -> NpuRates:
    """The model's rates, and those of the peers that this host has."""
    missing: list[str] = []
    device = npu_rates()

    def of(peer: Callable[[], tuple[float, float]]) -> tuple[float, float] | tuple[None, None]:
        try:
            return peer()
        except PeerMissing as error:
            missing.append(str(error))
            return None, None

    numpy, ggml = of(numpy_rates), of(ggml_rates)
    return NpuRates(thread_count(), device[0], device[1], numpy[0], numpy[1], ggml[0], ggml[1], tuple(missing))


def npu_rates() -> tuple[float, float]:
    """Of core 0, its streams bypassing the SMMU: from start to interrupt."""
    machine = Machine(DramLayout(DRAM_BYTES))
    try:
        board = populate(machine)
        _open(machine, board)
        decode, prefill = (_rate(count, _job(machine, board, count)) for count in COUNTS)
        return decode, prefill
    finally:
        machine.close()


def _open(machine: Machine, board: Board) -> None:
    everything = ffi.new("struct tzasc_region *")
    everything.top = (1 << 64) - 1
    everything.enabled = True
    everything.normal_read = everything.normal_write = 0xFFFF
    lib.tzasc_set_region(machine.native, 0, everything)
    lib.tzasc_set_control(machine.native, True, True)
    gbpa = board.smmu.GBPA.register
    board.smmu.write(gbpa.offset, 4, gbpa.fields["update"].mask, True)
    for register in (NpuControl.POWER, NpuControl.CLOCK):
        board.npu.control.write(register.offset, 4, 1, False)
    pattern = bytes(range(256)) * (ROWS * COLUMNS // 256)
    for index in range(MATRICES):
        machine.write_physical(WEIGHTS + index * len(pattern), pattern)
    machine.write_physical(FEATURES, pattern[: COUNTS[-1] * COLUMNS])


def _job(machine: Machine, board: Board, count: int) -> Callable[[], None]:
    """One job: a task for each matrix."""
    core, control = board.npu.cores[0], board.npu.control
    places = [WEIGHTS + index * ROWS * COLUMNS for index in range(MATRICES)]
    tasks = [Task(FEATURES, place, SUMS, count, COLUMNS, ROWS) for place in places]
    machine.write_physical(PROGRAM, program(tasks, PROGRAM))

    def run() -> None:
        for register, value in (
            (NpuCore.CNA_S_POINTER, 0xE),
            (NpuCore.CORE_S_POINTER, 0xE),
            (NpuCore.PC_BASE_ADDRESS, PROGRAM),
            (NpuCore.PC_REGISTER_AMOUNTS, amount(TASK_COMMANDS)),
            (NpuCore.PC_INTERRUPT_CLEAR, 0x1FFFF),
            (NpuCore.PC_TASK_CON, MATRICES),
            (NpuCore.PC_OPERATION_ENABLE, 1),
        ):
            core.write(register.offset, 4, value, False)
        while control.read(NpuControl.STATUS.offset, 4, False):
            machine.wait_for_npu()
        if not core.read(NpuCore.PC_INTERRUPT_RAW_STATUS.offset, 4, False) & DONE:
            raise RuntimeError(f"the NPU gave up: {control.read(NpuControl.FAULT.offset, 4, False):#x}")

    return run


def _rate(count: int, work: Callable[[], object]) -> float:
    """The median of a few rounds, after one to warm up."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return MATRICES * ROWS * COLUMNS * count / statistics.median(seconds)


def numpy_rates() -> tuple[float, float]:
    """Of float32 matrices. Raises PeerMissing."""
    try:
        numpy: Any = importlib.import_module("numpy")
    except ImportError as error:
        raise PeerMissing("numpy is not installed") from error
    matrices = [numpy.full((ROWS, COLUMNS), index, numpy.float32) for index in range(MATRICES)]

    def multiply(count: int) -> float:
        features = numpy.ones((count, COLUMNS), numpy.float32)
        return _rate(count, lambda: [features @ matrix.T for matrix in matrices])

    return multiply(COUNTS[0]), multiply(COUNTS[1])


def ggml_rates() -> tuple[float, float]:
    """Of ggml's Q8_0 matrices, as llama-cpp-python brings it. Raises PeerMissing."""
    python = os.environ.get(PEER_VARIABLE, sys.executable)
    numbers = (thread_count(), ROWS, COLUMNS, MATRICES, *COUNTS)
    command = [python, str(PEER_SCRIPT), *map(str, numbers)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PEER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{PEER_VARIABLE}={python}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerMissing(
            f"llama-cpp-python does not run under {python} ({last}): install it, or name a Python that has it in "
            f"{PEER_VARIABLE}"
        )
    decode, prefill = json.loads(done.stdout)
    return decode, prefill
