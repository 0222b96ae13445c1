"""The two sides of the comparison: `flexserve exec` and QEMU. Each runs the image and writes the records to its
semihosting console."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fidelity.record import RECORD_BYTES

QEMU = "qemu-system-aarch64"
DRAM_MIB = 256
INSTRUCTION_LIMIT = 1_000_000_000
TIME_LIMIT_SECONDS = 60


class SideError(Exception):
    """A side did not come to the end of the corpus; the message says what it said."""


def has_qemu() -> bool:
    return shutil.which(QEMU) is not None


def run_exec(elf: bytes, count: int) -> bytes:
    """The records of ``count`` cases from our board. Raises SideError."""
    command = (sys.executable, "-m", "flexserve", "exec")
    options = ("--uart", "none", "--dram", f"{DRAM_MIB}M", "--max-instructions", str(INSTRUCTION_LIMIT))
    return _run(elf, count, lambda image: [*command, str(image), *options])


def run_qemu(elf: bytes, count: int) -> bytes:
    """The records of ``count`` cases from QEMU. Raises SideError."""
    machine = ("-M", "virt,secure=on,virtualization=on", "-cpu", "cortex-a72", "-m", str(DRAM_MIB))
    nothing = ("-display", "none", "-serial", "none", "-monitor", "none", "-nic", "none")
    return _run(
        elf,
        count,
        lambda image: [QEMU, *machine, *nothing, "-semihosting", "-device", f"loader,file={image},cpu-num=0"],
    )


def _run(elf: bytes, count: int, command: Callable[[Path], Sequence[str]]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="flexserve-fidelity-") as name:
        path = Path(name) / "corpus.elf"
        path.write_bytes(elf)
        words = command(path)
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SideError(f"{words[0]} did not end within {TIME_LIMIT_SECONDS} s") from error
    if done.returncode:
        raise SideError(f"{words[0]} ended with status {done.returncode}: {done.stderr.decode(errors='replace')}")
    if len(done.stdout) != count * RECORD_BYTES:
        raise SideError(f"{words[0]} wrote {len(done.stdout)} bytes, not {count} records of {RECORD_BYTES}")
    return done.stdout
