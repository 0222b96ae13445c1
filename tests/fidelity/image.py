"""Builds the corpus into one image: harness, table, and the code of every case."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.fidelity.case import HARNESS, SCR, SCR_NS, Case

FOLDER = Path(__file__).resolve().parent
COMPILER = (
    *(sys.executable, "-m", "ziglang", "cc"),
    *("-target", "aarch64-freestanding-none", "-mcpu=generic+el2vmsa+el3+crc+aes+sha2"),
    *("-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,--entry=harness_start", "-x", "assembler-with-cpp"),
)
SCRIPT = f"""ENTRY(harness_start)
PHDRS {{ text PT_LOAD FLAGS(7); }}
SECTIONS
{{
    . = {HARNESS:#x};
    .text : {{
        *(.text.harness) . = ALIGN(0x200000); *(.text.body) . = ALIGN(0x200000); *(.text.setup) *(.rodata.table)
    }} :text
    /DISCARD/ : {{ *(.comment) *(.note*) *(.eh_frame*) *(.ARM.*) }}
}}
"""
END_OF_BODY = "svc #0xffff"


def _source(cases: Sequence[Case]) -> Iterator[str]:
    rows = []
    for number, case in enumerate(cases):
        yield '.section .text.setup, "ax"'
        yield from (f"setup_{number}:", *case.setup, "ret")
        if case.cleanup:
            yield from (f"cleanup_{number}:", *case.cleanup, "ret")
        yield '.section .text.body, "ax"'
        yield from (".balign 16", f"body_{number}:", *case.body, END_OF_BODY)
        cleanup = f"cleanup_{number}" if case.cleanup else "nothing"
        scr = SCR | (SCR_NS if case.normal else 0) if case.scr is None else case.scr
        rows.append(f".quad setup_{number}, body_{number}, {cleanup}, {case.spsr:#x}, {scr:#x}")
    yield from (".section .text.setup", "nothing: ret", '.section .rodata.table, "a"', ".balign 8")
    yield from (".global case_table", "case_table:", *rows, ".quad 0", "")


def build(cases: Iterable[Case], cache: Path | None = None) -> bytes:
    """The ELF file of these cases; built once for each content if there is a folder to keep it in.

    Raises ValueError with the assembler's first messages, which name the case's lines.
    """
    source = "\n".join(_source(list(cases)))
    harness = (FOLDER / "harness.S").read_text()
    digest = hashlib.sha256(f"{source}{harness}{SCRIPT}{COMPILER}".encode()).hexdigest()
    kept = cache / f"{digest}.elf" if cache else None
    if kept and kept.is_file():
        return kept.read_bytes()
    with tempfile.TemporaryDirectory(prefix="flexserve-fidelity-") as name:
        folder = Path(name)
        (folder / "cases.S").write_text(source)
        (folder / "corpus.ld").write_text(SCRIPT)
        files = [str(FOLDER / "harness.S"), str(folder / "cases.S"), "-o", str(folder / "corpus.elf")]
        command = [*COMPILER, *files, "-T", str(folder / "corpus.ld")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(done.stderr[:3000])
        image = (folder / "corpus.elf").read_bytes()
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(image)
    return image
