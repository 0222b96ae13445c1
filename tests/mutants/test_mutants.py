"""Planted defects are what they say: one line, in the tree as it is, noticed by a test or an attack that exists.

That they are noticed is scripts/mutants.py's to see, which takes some minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nworld.attacks import ATTACKS
from scripts import mutants as command

from .patches import FOLDER, ROOT, SUFFIX, Mutant, PatchError, all_mutants, read, select

MUTANTS = all_mutants()
ENOUGH = 66
LONGEST_LINE = 120
CODE = [
    *(path for image in ("el3", "el2", "gate") for path in (ROOT / "firmware" / image).glob("*.[cS]")),
    ROOT / "sworld/flexmem.py", ROOT / "sworld/kernel.py",
]  # fmt: skip


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= ENOUGH


def test_all_are_different() -> None:
    changes = {(mutant.path, mutant.before, mutant.after) for mutant in MUTANTS}
    assert len(changes) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_applies_and_changes_one_line(mutant: Mutant, tmp_path: Path) -> None:
    target = tmp_path / mutant.path
    target.parent.mkdir(parents=True)
    shutil.copyfile(ROOT / mutant.path, target)
    mutant.apply(tmp_path)
    before, after = ((root / mutant.path).read_text().splitlines() for root in (ROOT, tmp_path))
    assert abs(len(before) - len(after)) <= 1
    begin = next(at for at, (old, new) in enumerate(zip(before, [*after, None], strict=False)) if old != new)
    assert before[begin + 1 :] in (after[begin + 1 :], after[begin:]) or before[begin:] == after[begin + 1 :]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_header_says_what_goes_wrong(mutant: Mutant) -> None:
    assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", mutant.name)
    assert mutant.what[0].isupper() and mutant.what.endswith(".")
    text = (FOLDER / mutant.name).with_suffix(SUFFIX).read_text().partition("--- a/")[0]
    assert all(len(line) <= LONGEST_LINE for line in text.splitlines()[:-1])


def test_every_attack_that_is_named_exists() -> None:
    assert {mutant.attack for mutant in MUTANTS if mutant.attack} <= {attack.name for attack in ATTACKS}


def test_every_test_that_is_named_exists() -> None:
    tests = sorted({mutant.catcher for mutant in MUTANTS if not mutant.attack})
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", *tests]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert collected.returncode == 0, collected.stdout + collected.stderr


def test_every_file_of_code_has_a_defect() -> None:
    assert {path.relative_to(ROOT).as_posix() for path in CODE} <= {mutant.path for mutant in MUTANTS}


DIFF = "--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
HEADER = "Something goes wrong.\nCaught by: flexserve attack allocate-twice\n"


@pytest.mark.parametrize(
    "text",
    ["", DIFF, HEADER, "Something.\n" + DIFF, "Caught by: a test\n" + DIFF, HEADER + DIFF.replace("-two", " two")[:-7],
     HEADER + DIFF + "-four\n", HEADER + DIFF.replace("b/x.c", "b/y.c"), HEADER + DIFF.replace("@@", "@")],
)  # fmt: skip
def test_other_patches_are_refused(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.mutants.patches.FOLDER", tmp_path)
    path = tmp_path / "bad.patch"
    path.write_text(text)
    with pytest.raises(PatchError, match=r"^bad: "):
        read(path)


def test_patch_finds_its_line_further_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.mutants.patches.FOLDER", tmp_path)
    path = tmp_path / "good.patch"
    path.write_text(HEADER + DIFF)
    source = tmp_path / "x.c"
    source.write_text("zero\none\ntwo\n")
    read(path).apply(tmp_path)
    assert source.read_text() == "zero\none\nthree\n"
    with pytest.raises(PatchError, match=r"x\.c has other lines by now"):
        read(path).apply(tmp_path)


def test_selection_is_by_name_or_area() -> None:
    first = MUTANTS[0]
    assert select([first.name]) == [first]
    assert select([first.area]) == [mutant for mutant in MUTANTS if mutant.area == first.area]
    with pytest.raises(PatchError, match="no planted defect or area 'nothing'"):
        select(["nothing"])


def test_command_refuses_what_is_no_defect_in_one_line() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts/mutants.py", "nothing"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].startswith("Error: there is no planted defect or area 'nothing'")


IN_FIRMWARE = Mutant("area/name", "What.", "tests/x.py::test_y", "firmware/x.c", (), (), 1)
IN_SWORLD = replace(IN_FIRMWARE, path="sworld/x.py")
BY_ATTACK = replace(IN_SWORLD, catcher="flexserve attack allocate-twice")
ONE_ATTACK = '{"attacks": [{"name": "allocate-twice", "blocked": %s}]}'


@pytest.mark.parametrize(
    ("mutant", "runs", "outcome"),
    [
        (IN_FIRMWARE, [(0, ""), (1, "AssertionError")], "caught"),
        (IN_FIRMWARE, [(0, ""), (0, "")], "ESCAPED"),
        (IN_FIRMWARE, [(1, "")], "ESCAPED: does not build"),
        (IN_FIRMWARE, [(0, ""), (1, "StaleBuildError: of other sources")], "ESCAPED: StaleBuildError"),
        (IN_FIRMWARE, [(0, ""), (1, "KeyError: 'a variable'")], "ESCAPED: KeyError"),
        (IN_SWORLD, [(1, "KeyError: 3")], "caught"),
        *((IN_SWORLD, [(status, "")], f"ESCAPED: pytest ends with status {status}") for status in (2, 3, 4, 5)),
        (BY_ATTACK, [(1, ONE_ATTACK % "false")], "caught"),
        (BY_ATTACK, [(0, ONE_ATTACK % "true")], "ESCAPED"),
    ],
)
def test_command_takes_for_caught_what_the_machine_has_shown(
    mutant: Mutant, runs: list[tuple[int, str]], outcome: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left = iter(runs)

    def run(*_: object) -> subprocess.CompletedProcess[str]:
        status, said = next(left)
        return subprocess.CompletedProcess((), status, said, "")

    monkeypatch.setattr(command, "_run", run)
    assert command._notice(mutant, tmp_path) == outcome
    assert list(left) == []
