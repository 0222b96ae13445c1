"""Builds the firmware images with zig, the only compiler that the project asks for.

The build is reproducible: same sources, same bytes, whatever the checkout is called. Each image carries the hash of its
sources, so that a stale one is recognised. As a command: `python -m firmware.build`. Standard library only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import StaleBuildError

FOLDER = Path(__file__).resolve().parent
ELF_FOLDER = FOLDER / "elf"
MARK = b"flexserve sources "

# EL3's registers and instructions, and no code that would touch the worlds' vector registers.
TARGET = ("-target", "aarch64-freestanding-none", "-mcpu=generic+el2vmsa+el3-neon-fp_armv8")
CODE_FLAGS = (
    "-std=gnu11", "-O2", "-g", "-ffreestanding", "-fno-builtin", "-fno-pic", "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-mstrict-align",
)  # fmt: skip
WARNING_FLAGS = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Wmissing-prototypes", "-Wundef", "-Wshadow", "-Werror")
LINK_FLAGS = (
    "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,-z,noexecstack",
    "-Wl,-z,max-page-size=4096",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image: its sources and linker script, relative to this folder; a folder stands for the code in it."""

    name: str
    sources: tuple[str, ...]
    script: str
    entry: str


IMAGES = (
    Image("monitor", ("el3", "el2"), "el3/monitor.ld", "monitor_start"),
    Image("gate", ("gate", "probe/registers.S"), "gate/gate.ld", "gate_start"),
    Image("proxy", ("gate", "bench/proxy.S"), "gate/gate.ld", "gate_start"),
    Image("probe", ("probe", "bench/loops.S"), "probe/probe.ld", "probe_start"),
    Image("yardstick", ("bench/yardstick.S", "bench/kernels.c"), "bench/bare.ld", "yardstick_start"),
    Image("smc_loop", ("bench/smc_loop.S",), "bench/bare.ld", "smc_loop_start"),
)
ALL_NAMES = tuple(image.name for image in IMAGES)


@dataclass(frozen=True)
class Mutation:
    """A change of one line, for tests that show what the line is there for, indentation aside.

    ``line`` occurs once; with ``behind`` it is the first one behind that line, which occurs once.
    """

    path: str
    line: str
    replacement: str
    behind: str | None = None

    def apply(self, folder: Path) -> None:
        """Change the copy of the sources in ``folder``. Raises BuildError unless the line is there exactly once."""
        path = folder / self.path
        lines = path.read_text().splitlines()
        texts = [text.strip() for text in lines]
        unique = self.behind or self.line
        if (found := texts.count(unique)) != 1:
            raise BuildError(f"{self.path} has {found} lines {unique!r}: a mutation names one that is unique")
        lines[texts.index(self.line, texts.index(unique))] = self.replacement
        path.write_text("\n".join(lines) + "\n")


class BuildError(Exception):
    """What is missing or failed, in one line; the compiler has already printed its own messages."""


def build_all() -> None:
    """Build every image into firmware/elf."""
    build(ELF_FOLDER)


def build(output: Path, names: Iterable[str] = ALL_NAMES, mutation: Mutation | None = None) -> None:
    """Build the images called ``names`` into ``output``. Raises BuildError."""
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("the compiler is missing: pip install ziglang==0.17.1")
    images = [image for image in IMAGES if image.name in set(names)]
    with tempfile.TemporaryDirectory(prefix="flexserve-firmware-") as temporary:
        sources, objects = FOLDER, Path(temporary) / "objects"
        objects.mkdir()
        if mutation:
            sources = Path(temporary) / "firmware"
            shutil.copytree(FOLDER, sources, ignore=shutil.ignore_patterns("elf", "__pycache__"))
            mutation.apply(sources)
        built = [_build_image(image, sources, objects) for image in images]
        output.mkdir(parents=True, exist_ok=True)
        for path in built:
            # Moved into place whole: no reader ever meets half an image.
            side = output / f"{path.name}.new"
            shutil.copyfile(path, side)
            side.replace(output / path.name)


def _build_image(image: Image, folder: Path, objects: Path) -> Path:
    compiler = (sys.executable, "-m", "ziglang", "cc", *TARGET, *_prefix_maps(folder))
    units = [*_units(image, folder), "include/sources.S"]

    def compile_unit(unit: str) -> str:
        target = objects / f"{image.name}-{unit.replace('/', '-')}.o"
        command = [*compiler, *CODE_FLAGS, *WARNING_FLAGS, "-Iinclude"]
        if unit == "include/sources.S":
            command.append(f'-DSOURCES="{MARK.decode()}{source_hash(folder)}"')
        _run([*command, "-c", unit, "-o", str(target)], folder)
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        linked = list(pool.map(compile_unit, units))
    output = objects / f"{image.name}.elf"
    placement = (f"-Wl,-T,{image.script}", f"-Wl,--entry={image.entry}")
    _run([*compiler, *LINK_FLAGS, *placement, *linked, "-o", str(output)], folder)
    return output


def _units(image: Image, folder: Path) -> list[str]:
    units: list[Path] = []
    for source in image.sources:
        path = folder / source
        units += [path] if path.is_file() else sorted([*path.glob("*.c"), *path.glob("*.S")])
    return [path.relative_to(folder).as_posix() for path in units]


def _prefix_maps(folder: Path) -> list[str]:
    """Debug information names sources from firmware/ on and the compiler's own headers from ziglang/ on."""
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None and spec.origin is not None
    return [f"-ffile-prefix-map={folder}=firmware", f"-ffile-prefix-map={Path(spec.origin).parent}=ziglang"]


def _run(command: Sequence[str], folder: Path) -> None:
    if subprocess.run(command, check=False, cwd=folder).returncode:
        raise BuildError(f"failed in {folder}: {shlex.join(command)}")


def source_hash(folder: Path = FOLDER) -> str:
    """SHA-256 over names and contents of everything that goes into the images, and of this file."""
    digest = hashlib.sha256()
    suffixes = {".c", ".h", ".S", ".ld"}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in suffixes or path == folder / "build.py")
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def stale(folder: Path = ELF_FOLDER) -> str | None:
    """One line that says which image does not fit the sources beside it, and what to run; None if all do.

    An installation without sources has images only, and nothing to compare them with.
    """
    error = _staleness(folder)
    return str(error) if error else None


def image_path(name: str, folder: Path = ELF_FOLDER) -> Path:
    """The ELF file of the image called ``name``. Raises StaleBuildError if any image is missing or stale."""
    if error := _staleness(folder):
        raise error
    return folder / f"{name}.elf"


def _staleness(folder: Path) -> StaleBuildError | None:
    present = source_hash() if (FOLDER / "el3").is_dir() else None
    for image in IMAGES:
        path = folder / f"{image.name}.elf"
        if not path.is_file():
            return StaleBuildError(f"firmware/elf/{path.name} is missing")
        found = re.search(MARK + rb"([0-9a-f]{64})", path.read_bytes())
        if present and (found is None or found[1].decode() != present):
            return StaleBuildError(f"firmware/elf/{path.name} was built from other sources than the present ones")
    return None


if __name__ == "__main__":
    try:
        build_all()
    except BuildError as error:
        sys.exit(f"firmware/build.py: {error}")
