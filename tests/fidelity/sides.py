"""The two sides of the comparison: our core, and QEMU. Each runs the image and gives the records."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from emulator.image import Image
from tests.emulator.bare import bare_machine
from tests.fidelity.case import RECORDS
from tests.fidelity.record import RECORD_BYTES

QEMU = "qemu-system-aarch64"
DRAM_BYTES = 256 << 20
INSTRUCTION_LIMIT = 1_000_000_000
TIME_LIMIT_SECONDS = 20
WFI = (0xD503_207F).to_bytes(4, "little")


class SideError(Exception):
    """A side did not come to the end of the corpus; the message says which case it was in."""


def has_qemu() -> bool:
    return shutil.which(QEMU) is not None


def run_core(elf: bytes, count: int) -> bytes:
    """The records of ``count`` cases on our core, read out of its memory."""
    image = Image.parse("corpus", elf)
    machine = bare_machine(DRAM_BYTES)
    try:
        machine.load(image)
        machine.write_physical(image.symbols["finished"], WFI)  # a bare machine has no semihosting
        machine.reset(image.entry)
        stop = machine.run(INSTRUCTION_LIMIT)
        row, end = (
            int.from_bytes(machine.read_physical(image.symbols["row"] + offset, 8), "little") for offset in (0, 8)
        )
        if end != RECORDS + count * RECORD_BYTES:
            done = (end - RECORDS) // RECORD_BYTES
            raise SideError(f"our core stopped by {stop.reason.name} at {stop.pc:#x} in case {done} (row {row:#x})")
        return machine.read_physical(RECORDS, count * RECORD_BYTES)
    finally:
        machine.close()


def run_qemu(elf: bytes, count: int) -> bytes:
    """The records of ``count`` cases on QEMU, from its semihosting console."""
    with tempfile.TemporaryDirectory(prefix="flexserve-fidelity-") as name:
        path = Path(name) / "corpus.elf"
        path.write_bytes(elf)
        command = [
            QEMU,
            *("-M", "virt,secure=on,virtualization=on", "-cpu", "cortex-a72", "-m", str(DRAM_BYTES >> 20)),
            *("-display", "none", "-serial", "none", "-monitor", "none", "-nic", "none"),
            *("-semihosting", "-device", f"loader,file={path},cpu-num=0"),
        ]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SideError(f"{QEMU} did not end within {TIME_LIMIT_SECONDS} s") from error
        if done.returncode:
            raise SideError(f"{QEMU} ended with status {done.returncode}: {done.stderr.decode(errors='replace')}")
    records = done.stdout
    if len(records) != count * RECORD_BYTES:
        raise SideError(f"{QEMU} wrote {len(records)} bytes, not {count} records")
    return records
