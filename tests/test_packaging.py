"""The project installs with nothing but Python and pip: no compiler, any path, every ELF in the wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parent.parent
NOT_IN_A_CLONE = shutil.ignore_patterns(
    *(".git", ".venv", "venv", "build", "dist", "*.egg-info", "*.so", "*.so.new", "_native.pyi", "elf"),
    *("__pycache__", ".*_cache", ".hypothesis"),
)

offline = re.compile(r"Temporary failure in name resolution|NewConnectionError|Network is unreachable")


def environment(venv: Path, **more: str) -> dict[str, str]:
    """Nothing on PATH but the virtual environment: no cc, gcc, clang, ld or git; no site-wide Python settings."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "LDSHARED", "CFLAGS", "PYTHONPATH")}
    return {**kept, "PATH": str(venv / "bin"), "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


def run(command: Sequence[str | Path], venv: Path, cwd: Path) -> str:
    """Run a command of the environment; its output, or a failure that shows it."""
    program = venv / "bin" / command[0]
    result = subprocess.run(
        [program, *command[1:]], cwd=cwd, env=environment(venv), capture_output=True, text=True, check=False
    )
    if result.returncode and offline.search(result.stderr):
        pytest.skip("the package index cannot be reached")
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources alone, as a fresh clone has them, in a path with spaces."""
    folder = tmp_path_factory.mktemp("a path with spaces") / "flex serve"
    shutil.copytree(ROOT, folder, ignore=NOT_IN_A_CLONE)
    return folder


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh venv") / "its venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


def dynamic_tags(module: Path) -> dict[str, list[str]]:
    """The native module's needed libraries and search paths, by tag."""
    tags: dict[str, list[str]] = {}
    with module.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynamic")
        assert isinstance(section, DynamicSection)
        for tag in section.iter_tags():
            name = str(tag.entry.d_tag)
            tags.setdefault(name, []).append(getattr(tag, name.removeprefix("DT_").lower(), ""))
    return tags


def assert_no_search_path(module: Path) -> None:
    tags = dynamic_tags(module)
    assert "libunicorn.so.2" in tags["DT_NEEDED"]
    assert not {"DT_RUNPATH", "DT_RPATH"} & set(tags)


def native_module(folder: Path) -> Path:
    (module,) = (folder / "emulator" / "native").glob("_native.*.so")
    return module


def test_native_module_has_no_runpath() -> None:
    assert_no_search_path(native_module(ROOT))


def import_error(folder: Path) -> str:
    """What importing the native module of a copy of the tree says: the last line of its traceback."""
    command = [sys.executable, "-c", "import emulator.native"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The emulator alone, built."""
    shutil.copytree(ROOT / "emulator", tmp_path / "emulator", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("name", ["run.c", "machine.h", "build.py"])
def test_stale_native_module_names_the_command(copy: Path, name: str) -> None:
    source = copy / "emulator" / "native" / name
    source.write_text(source.read_text() + "\n")
    message = import_error(copy)
    assert "built from other sources" in message
    assert message.endswith("run `pip install -e .` in the checkout")


def test_missing_native_module_names_the_command(copy: Path) -> None:
    native_module(copy).unlink()
    message = import_error(copy)
    assert "is not built" in message
    assert message.endswith("run `pip install -e .` in the checkout")


def test_installed_module_needs_no_sources(copy: Path) -> None:
    for source in (*(copy / "emulator/native").glob("*.c"), *(copy / "emulator/native").glob("*.h")):
        source.unlink()
    subprocess.run([sys.executable, "-c", "import emulator.native"], cwd=copy, check=True)


@pytest.mark.packaging
@pytest.mark.timeout(600)
def test_wheel_holds_what_runs(checkout: Path, venv: Path, tmp_path: Path) -> None:
    run(["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, "."], venv, checkout)
    (wheel,) = tmp_path.glob("flexserve-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    elves = {f"firmware/elf/{path.name}" for path in (checkout / "firmware/elf").glob("*.elf")}
    assert elves
    assert elves <= names
    suffixes = {".S", ".c", ".h", ".ld"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "firmware").rglob("*") if path.suffix in suffixes}
    assert sources
    assert sources <= names
    assert {f"flexserve/models/{path.name}" for path in (ROOT / "flexserve/models").glob("*.gguf")} <= names
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if name.startswith(("tests/", "build/", "scripts/", "typings/"))]
    assert_no_search_path(native_module(tmp_path))


PACKAGES = ("emulator", "firmware", "flexserve", "monitor", "nworld", "sworld")


@pytest.fixture(scope="module")
def installed(checkout: Path, venv: Path) -> Path:
    """The checkout after README's first command, without a compiler anywhere on PATH."""
    assert not any(shutil.which(name, path=str(venv / "bin")) for name in ("cc", "gcc", "clang", "ld"))
    run(["pip", "install", "--quiet", "-e", "."], venv, checkout)
    return checkout


@pytest.mark.packaging
@pytest.mark.timeout(600)
def test_readme_command_installs_without_a_compiler(installed: Path, venv: Path) -> None:
    assert run(["flexserve", "--version"], venv, installed).startswith("flexserve, version ")
    run(["python", "-c", "from emulator.native import lib"], venv, installed)
    assert_no_search_path(native_module(installed))


@pytest.mark.packaging
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["emulator/native/run.c", "firmware/el3/smc.c"])
def test_command_refuses_what_is_stale_in_one_line(installed: Path, venv: Path, name: str) -> None:
    source = installed / name
    original = source.read_text()
    source.write_text(original + "\n")
    command = [str(venv / "bin" / "flexserve"), "bench", "smc"]
    result = subprocess.run(command, env=environment(venv), capture_output=True, text=True, check=False)
    source.write_text(original)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("flexserve: ")
    assert "run `pip install -e .` in the checkout" in result.stderr
