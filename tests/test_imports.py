"""Who may import whom: the house has no arrow up and none across."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("emulator", "firmware", "flexserve", "monitor", "nworld", "sworld")

# The side of the emulator that a kernel lives on: its port, its gate, and the declarations that its drivers need.
WORLD_SIDE = (
    "emulator.costs",
    "emulator.devices",
    "emulator.gate",
    "emulator.memory_map",
    "emulator.product_check",
    "emulator.registers",
    "emulator.tensor",
    "emulator.world",
    "emulator.world_port",
)
KERNEL_MAY = (*WORLD_SIDE, "monitor.abi", "monitor.services")

MAY_IMPORT = {
    "emulator": ("emulator",),
    "monitor": ("monitor", "emulator"),
    "firmware": ("firmware", "monitor", "emulator"),
    "sworld": ("sworld", *KERNEL_MAY),
    "nworld": ("nworld", *KERNEL_MAY),
    "flexserve": OURS,
}


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Every dotted name that a module imports; `from a import b` counts as a.b, which may be a module."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module.split(".") if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def allowed(name: str, permitted: tuple[str, ...]) -> bool:
    if name.split(".")[0] not in OURS:
        return True
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in permitted)


def violations(path: Path) -> list[str]:
    relative = path.relative_to(ROOT).with_suffix("")
    is_package = relative.name == "__init__"
    module = ".".join(relative.parent.parts if is_package else relative.parts)
    permitted = MAY_IMPORT[relative.parts[0]]
    names = imports(path.read_text(), module, is_package=is_package)
    return [f"{module} imports {name}" for name in names if not allowed(name, permitted)]


@pytest.mark.parametrize("package", OURS)
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert [line for path in files for line in violations(path)] == []


def test_reference_models_import_nothing_of_ours() -> None:
    """The reference implementations judge ours, so they may share nothing with it but the tests' own folder."""
    for path in sorted((ROOT / "tests" / "reference").rglob("*.py")):
        if path.name.startswith("test_"):
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert [name for name in imports(path.read_text(), module) if name.split(".")[0] in OURS] == [], module


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sworld.kernel", "import nworld.kernel"),
        ("nworld.client", "from sworld import kernel"),
        ("sworld.kernel", "from emulator.machine import Machine"),
        ("sworld.kernel", "from emulator import machine"),
        ("sworld.kernel", "from monitor import spec"),
        ("sworld.kernel", "import emulator"),
        ("emulator.core", "def f():\n    from monitor import abi"),
        ("monitor.view", "if TYPE_CHECKING:\n    import sworld"),
        ("emulator.devices.uart", "from ...flexserve import cli"),
    ],
)
def test_rule_sees_each_kind_of_violation(module: str, source: str) -> None:
    assert not all(allowed(name, MAY_IMPORT[module.split(".")[0]]) for name in imports(source, module))


def test_every_test_folder_is_a_package() -> None:
    """Without __init__.py, tests/sworld would be confused with sworld."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
