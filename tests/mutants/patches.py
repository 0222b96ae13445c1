"""Planted defects: patches that change one line each. A header says what goes wrong by it, and who notices.

    A page that was taken by force may be locked again without a scrub.
    Caught by: tests/firmware/test_flexmem.py::test_of_a_rule[parameter]
    --- a/firmware/el3/flexmem.c
    +++ b/firmware/el3/flexmem.c
    ...

Instead of a test it may name an attack: ``Caught by: flexserve attack NAME``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SUFFIX = ".patch"

CAUGHT_BY = "Caught by: "
ATTACK = "flexserve attack "
HUNK = re.compile(r"@@ -(\d+)(,\d+)? \+\d+(,\d+)? @@")


class PatchError(Exception):
    """What is wrong with a patch, in one line."""


@dataclass(frozen=True)
class Mutant:
    """``name`` is AREA/NAME. In the file at ``path``, about at ``line``, ``before`` becomes ``after``."""

    name: str
    what: str
    catcher: str
    path: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    line: int

    @property
    def area(self) -> str:
        return self.name.split("/")[0]

    @property
    def attack(self) -> str | None:
        """The attack that catches it, if no test does."""
        return self.catcher.removeprefix(ATTACK) if self.catcher.startswith(ATTACK) else None

    def apply(self, root: Path) -> None:
        """Change the tree at ``root``. Raises PatchError where the lines are not there any more."""
        path = root / self.path
        lines = path.read_text().splitlines()
        size = len(self.before)
        found = [at for at in range(len(lines)) if tuple(lines[at : at + size]) == self.before]
        if not found:
            raise PatchError(f"{self.name}: {self.path} has other lines by now: make the patch anew")
        at = min(found, key=lambda at: abs(at + 1 - self.line))
        lines[at : at + size] = self.after
        path.write_text("\n".join(lines) + "\n")


def read(path: Path) -> Mutant:
    """The patch at ``path``. Raises PatchError."""
    name = path.relative_to(FOLDER).with_suffix("").as_posix()
    lines = path.read_text().splitlines()
    begin = next((number for number, line in enumerate(lines) if line.startswith("--- a/")), len(lines))
    *what, catcher = lines[:begin] or [""]
    if not what or not catcher.startswith(CAUGHT_BY):
        raise PatchError(f"{name}: the header says what goes wrong, then in a line of its own '{CAUGHT_BY}...'")
    names, hunk, body = lines[begin : begin + 2], lines[begin + 2 : begin + 3], lines[begin + 3 :]
    target = names[0].removeprefix("--- a/") if names else ""
    place = HUNK.match(hunk[0]) if hunk else None
    if names != [f"--- a/{target}", f"+++ b/{target}"] or place is None:
        raise PatchError(f"{name}: behind the header comes a unified diff of one file")
    before, after = _sides(body)
    if sorted(line[:1] for line in body if line[:1] in "-+" and line) not in (["+"], ["-"], ["+", "-"]):
        raise PatchError(f"{name}: a planted defect changes one line")
    return Mutant(name, " ".join(what), catcher.removeprefix(CAUGHT_BY), target, before, after, int(place[1]))


def _sides(body: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What stands there without and with the defect."""
    return (
        tuple(line[1:] for line in body if not line.startswith("+")),
        tuple(line[1:] for line in body if not line.startswith("-")),
    )


def all_mutants() -> list[Mutant]:
    """Every patch of this folder, by name. Raises PatchError."""
    return [read(path) for path in sorted(FOLDER.glob(f"*/*{SUFFIX}"))]


def select(names: Sequence[str]) -> list[Mutant]:
    """Mutants by name or area, all without names. Raises PatchError for what is neither."""
    mutants = all_mutants()
    for name in names:
        if not any(name in (mutant.name, mutant.area) for mutant in mutants):
            raise PatchError(f"there is no planted defect or area {name!r}: they are the patches in tests/mutants")
    return [mutant for mutant in mutants if not names or mutant.name in names or mutant.area in names]
