"""What is generated from the declared tables is up to date, and says the same as they do."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.memory_map import BLOCK_SIZE, DRAM_MAX, DRAM_MIN, DramLayout
from monitor import abi, generate

INCLUDE = generate.ROOT / "firmware" / "include"


@pytest.mark.parametrize("path", generate.GENERATED)
def test_generated_file_is_what_the_tables_say(path: str) -> None:
    assert (generate.ROOT / path).read_text() == generate.GENERATED[path](), f"run `{generate.COMMAND}`"


def test_check_names_a_stale_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    page = tmp_path / "docs" / "smc-calls.md"
    page.write_text(page.read_text() + "\n")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "stale: docs/smc-calls.md: run `python -m monitor.generate`\n"


LAYOUT = ("pages", "end", "normal_end", "driver_base", "npu_tables_base", "npu_bytes", "secure_base", "secure_end",
          "ownership_base")  # fmt: skip


class Layout(ctypes.Structure):
    """struct dram_layout of memory_map.h."""

    _fields_ = [(name, ctypes.c_uint64) for name in LAYOUT]


def test_firmware_computes_the_layout_of_every_size(tmp_path: Path) -> None:
    """The rules are in the header as C: compiled for this host, they agree with DramLayout."""
    source = tmp_path / "layout.c"
    function = "struct dram_layout layout(uint64_t pages) { return dram_layout(pages); }"
    source.write_text(f'#include "memory_map.h"\n{function}\n')
    library = tmp_path / "layout.so"
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", f"-I{INCLUDE}", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    layout = ctypes.CDLL(str(library)).layout
    layout.restype, layout.argtypes = Layout, [ctypes.c_uint64]
    for size in range(DRAM_MIN, DRAM_MAX + 1, BLOCK_SIZE):
        expected = DramLayout(size)
        found = layout(expected.pages)
        assert (found.end, found.normal_end, found.secure_base, found.ownership_base) == (
            expected.end,
            expected.normal_end,
            expected.secure_base,
            expected.ownership_base,
        ), hex(size)


def test_header_has_every_call_status_and_limit() -> None:
    header = (INCLUDE / "flex_smc.h").read_text().split()
    for name in (*(f"SMC_{call.name}" for call in abi.CALLS), *(f"FLEX_{status.name}" for status in abi.Status)):
        assert name in header
    for feature in abi.Feature:
        assert header[header.index(feature.name) + 1] == str(getattr(abi, feature.name))
