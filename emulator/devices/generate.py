"""Writes the C headers and docs/registers.md from the declared registers: `python -m emulator.devices.generate`.

With --check it writes nothing and exits with status 1 if a file is stale.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import documentation

ROOT = Path(__file__).resolve().parents[2]


def outputs(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file and what belongs into it."""
    return {
        root / "firmware" / "include" / "registers.h": documentation.firmware_header(),
        root / "emulator" / "native" / "smmu_registers.h": documentation.native_header(),
        root / "emulator" / "native" / "npu_registers.h": documentation.npu_header(),
        root / "docs" / "registers.md": documentation.document(),
    }


def stale(root: Path = ROOT) -> list[Path]:
    """Generated files that are missing or differ from what their declarations say."""
    return [path for path, text in outputs(root).items() if not path.exists() or path.read_text() != text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say what is stale")
    check = parser.parse_args().check
    behind = stale()
    for path in behind:
        if not check:
            path.write_text(outputs()[path])
        sys.stderr.write(f"{path.relative_to(ROOT)}: {'is stale' if check else 'written'}\n")
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main())
