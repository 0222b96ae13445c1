"""The peer of `bench smc`: the same bare ELF of SMC round trips on qemu-system-aarch64.

The ELF says at its symbol `smc_loop_count` how many round trips it makes before it ends by semihosting SYS_EXIT. Two
runs with different counts are timed and subtracted, so that QEMU's start and first translation cancel.
"""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

QEMU = "qemu-system-aarch64"
COUNT_SYMBOL = "smc_loop_count"
SHORT_COUNT = 200_000
LONG_COUNT = 2_200_000
TIME_LIMIT_SECONDS = 120


class PeerError(Exception):
    """QEMU is there but did not run the ELF to its end; the message says what it printed."""


def is_available() -> bool:
    return shutil.which(QEMU) is not None


def smc_per_second(elf: Path) -> float:
    """SMC round trips a second of host time on QEMU.

    Raises PeerError when QEMU fails, ValueError when the ELF has no count to set.
    """
    image = elf.read_bytes()
    short, long = (run_seconds(with_words(image, {COUNT_SYMBOL: count})) for count in (SHORT_COUNT, LONG_COUNT))
    if long <= short:
        raise PeerError(f"{QEMU} took {short:.2f} s for {SHORT_COUNT} round trips and {long:.2f} s for {LONG_COUNT}")
    return (LONG_COUNT - SHORT_COUNT) / (long - short)


def with_words(image: bytes, words: Mapping[str, int]) -> bytes:
    """The ELF file with other values in the 64-bit words at some symbols. Raises ValueError for an unknown one."""
    elf = ELFFile(io.BytesIO(image))
    table = elf.get_section_by_name(".symtab")
    content = bytearray(image)
    for name, value in words.items():
        symbols = table.get_symbol_by_name(name) if isinstance(table, SymbolTableSection) else None
        if not symbols:
            raise ValueError(f"the ELF has no symbol {name}")
        struct.pack_into("<Q", content, next(elf.address_offsets(symbols[0]["st_value"], 8)), value)
    return bytes(content)


def run_seconds(image: bytes) -> float:
    """Seconds that QEMU takes to run the ELF from power-on to its SYS_EXIT."""
    with tempfile.TemporaryDirectory(prefix="flexserve-") as folder:
        elf = Path(folder) / "loop.elf"
        elf.write_bytes(image)
        command = [
            QEMU,
            *("-M", "virt,secure=on,virtualization=on", "-cpu", "cortex-a72", "-m", "256"),
            # The default network card would want its boot ROM, a package of its own.
            *("-nographic", "-semihosting", "-nic", "none"),
            # QEMU takes a comma in a file name when it is doubled.
            *("-device", f"loader,file={str(elf).replace(',', ',,')},cpu-num=0"),
        ]
        start = time.perf_counter()
        try:
            result = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"{QEMU} did not end within {TIME_LIMIT_SECONDS} s") from error
        seconds = time.perf_counter() - start
    if result.returncode:
        raise PeerError(f"{QEMU} ended with status {result.returncode}: {result.stderr.decode(errors='replace')}")
    return seconds
