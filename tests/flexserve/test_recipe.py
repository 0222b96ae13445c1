"""Recipes: what a run is survives the way into a file and back."""

import json
from pathlib import Path

import click
import pytest

from flexserve.attack_recipe import AttackRecipe
from flexserve.errors import UserError
from flexserve.recipe import FileReference, PlainStage, parse, read
from flexserve.run_recipe import RunRecipe, Served

RUNS = (
    ["--tokens", "3", "--recall", "20@2", "--recall", "5@3", "--temperature", "0.5"],
    ["run", "--dram", "256M", "--prompt", "Grüße"],
    ["attack", "write-tzasc"],
    ["attack", "--controls"],
)


@pytest.mark.parametrize("arguments", RUNS)
def test_recipe_survives_a_file(arguments: list[str]) -> None:
    recipe = parse(arguments)
    assert read(json.loads(json.dumps(recipe.as_json()))) == recipe


def test_first_word_run_may_be_left_out() -> None:
    assert parse(["run", "--tokens", "3"]) == parse(["--tokens", "3"])


def test_command_line_is_checked_as_the_command_does() -> None:
    with pytest.raises(click.UsageError, match="not in the range"):
        parse(["run", "--tokens", "0"])


@pytest.mark.parametrize(
    "data",
    [None, 7, {}, {"kind": "run"}, {"kind": "dance", "options": {}}, {"kind": "run", "options": {"tokens": 3}}],
    ids=repr,
)
def test_what_describes_no_run_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="describes no"):
        read(data)


def test_recipe_knows_its_file_by_content(tmp_path: Path) -> None:
    model = tmp_path / "model.flex"
    model.write_bytes(b"one")
    recipe = read(json.loads(json.dumps(parse(["--model", str(model)]).as_json())))
    assert isinstance(recipe, RunRecipe)
    assert recipe.model == FileReference(model).measured()
    model.write_bytes(b"another")
    with pytest.raises(UserError, match="not the file"):
        recipe.drive(PlainStage())


def test_run_does_what_it_says() -> None:
    served = parse(["--tokens", "2"]).drive(PlainStage())
    assert isinstance(served, Served)
    assert len(served.generation.tokens) == 2


def test_attack_does_what_it_says() -> None:
    recipe = parse(["attack", "write-tzasc"])
    assert isinstance(recipe, AttackRecipe)
    assert [(verdict.name, verdict.blocked) for verdict in recipe.drive(PlainStage())] == [("write-tzasc", True)]
