"""`bench exec`: the same images on `flexserve exec` and on QEMU, in instructions or SMC round trips a second.

Each image runs as a process of its own on either side, with a small and with a large count; the difference of the two
is what counts, so that start, loading and first translation cancel. The sides take turns and the best round of
each counts, because other work on the host can only slow them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flexserve import qemu_peer

ROUNDS = 4
KERNEL_SYMBOL, COUNT_SYMBOL = "yardstick_kernel", "yardstick_count"
TIME_LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Kernel:
    """One of firmware/bench/kernels.c, by its place there, with counts for about a second's difference."""

    name: str
    number: int
    short: int
    long: int


COMPUTE = (Kernel("crc", 0, 1_000, 25_000), Kernel("sort", 1, 20, 3_020), Kernel("matrix", 2, 50, 4_050))
MEMORY = (Kernel("copy", 3, 500, 12_500), Kernel("chase", 4, 20, 620))
SMC_SHORT, SMC_LONG = 200_000, 4_200_000


class BenchError(Exception):
    """Our own side did not run an image to its end."""


@dataclass(frozen=True)
class Rates:
    """``compute`` and ``memory`` in instructions a second over all kernels of the kind, ``smc`` in round trips."""

    compute: float
    memory: float
    smc: float


@dataclass(frozen=True)
class Comparison:
    """``kernels``: instructions a second by name, ours and QEMU's. Without QEMU, ``missing`` says why."""

    ours: Rates
    qemu: Rates | None
    kernels: dict[str, tuple[float, float | None]]
    missing: str = ""


@dataclass
class _Case:
    """``work``: instructions, or round trips, between the short run and the long one; seconds of each round."""

    short: bytes
    long: bytes
    work: int
    ours: list[float]
    qemu: list[float]

    @property
    def seconds(self) -> float:
        return min(self.ours)

    @property
    def qemu_seconds(self) -> float:
        return min(self.qemu)


def compare(yardstick: bytes, smc_loop: bytes, done: Callable[[], None]) -> Comparison:
    """Time both ELF files; ``done`` is called ROUNDS times for each of the `runs`. Raises BenchError."""
    cases = {kernel.name: _kernel(yardstick, kernel) for kernel in (*COMPUTE, *MEMORY)}
    cases["smc"] = _case(smc_loop, {qemu_peer.COUNT_SYMBOL: SMC_SHORT}, {qemu_peer.COUNT_SYMBOL: SMC_LONG})
    cases["smc"].work = SMC_LONG - SMC_SHORT
    missing = "" if qemu_peer.is_available() else f"{qemu_peer.QEMU} is not installed (Debian: qemu-system-arm)"
    for _ in range(ROUNDS):
        for case in cases.values():
            case.ours.append(_seconds(_our_seconds, case))
            if not missing:
                try:
                    case.qemu.append(_seconds(qemu_peer.run_seconds, case))
                except qemu_peer.PeerError as error:
                    missing = str(error)
            done()
    ours = {name: case.work / case.seconds for name, case in cases.items()}
    qemu = {} if missing else {name: case.work / case.qemu_seconds for name, case in cases.items()}
    return Comparison(
        _rates(cases, lambda case: case.seconds),
        None if missing else _rates(cases, lambda case: case.qemu_seconds),
        {name: (rate, qemu.get(name)) for name, rate in ours.items()},
        missing,
    )


def runs() -> int:
    """How many images there are."""
    return len(COMPUTE) + len(MEMORY) + 1


def _rates(cases: dict[str, _Case], seconds: Callable[[_Case], float]) -> Rates:
    def over(kernels: Sequence[Kernel]) -> float:
        chosen = [cases[kernel.name] for kernel in kernels]
        return sum(case.work for case in chosen) / sum(seconds(case) for case in chosen)

    return Rates(over(COMPUTE), over(MEMORY), cases["smc"].work / seconds(cases["smc"]))


def _kernel(yardstick: bytes, kernel: Kernel) -> _Case:
    short, long = ({KERNEL_SYMBOL: kernel.number, COUNT_SYMBOL: count} for count in (kernel.short, kernel.long))
    return _case(yardstick, short, long)


def _case(image: bytes, short: dict[str, int], long: dict[str, int]) -> _Case:
    few, many = qemu_peer.with_words(image, short), qemu_peer.with_words(image, long)
    return _Case(few, many, run_ours(many)[1] - run_ours(few)[1], [], [])


def _seconds(run: Callable[[bytes], float], case: _Case) -> float:
    return max(run(case.long) - run(case.short), sys.float_info.epsilon)


def _our_seconds(image: bytes) -> float:
    return run_ours(image)[0]


def run_ours(image: bytes) -> tuple[float, int]:
    """Seconds of the process, and guest instructions."""
    with tempfile.TemporaryDirectory(prefix="flexserve-") as folder:
        elf = Path(folder) / "image.elf"
        elf.write_bytes(image)
        command = [sys.executable, "-m", "flexserve", "exec", str(elf), "--json"]
        start = time.perf_counter()
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT_SECONDS, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise BenchError(f"flexserve exec ended with status {done.returncode}: {done.stderr.decode(errors='replace')}")
    return seconds, int(json.loads(done.stdout)["instructions"])
