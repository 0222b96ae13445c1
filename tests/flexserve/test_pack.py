"""`flexserve pack`, and what `flexserve run` accepts as a model: one line for what is wrong, nothing half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from emulator.devices.trusted import fuse_key
from emulator.memory_map import PAGE_SIZE
from flexserve import cli
from flexserve.errors import UserError
from flexserve.model_file import load_model
from flexserve.pack import model_id
from flexserve.whole_file import whole_file
from sworld.package import HEADER_SIZE, NotGenuine, Package, open_chunk
from tests.flexserve.gguf_models import Recipe


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Recipe(layers=1).write(tmp_path / "model.gguf")


def parse(path: Path, device_id: int) -> Package:
    content = path.read_bytes()
    return Package.parse(content[: Package.metadata_size(content[:HEADER_SIZE])], fuse_key(device_id))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a command refuses with."""
    assert cli.execute([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("flexserve: ")
    assert err.count("\n") == 1
    return err


def test_package_opens_on_its_device_only(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.flex"
    options = ["--device-id", "3", "--version", "9", "--name", "a slot", "--json"]
    assert cli.execute(["pack", str(model), str(target), *options]) == 0
    pages = target.stat().st_size // PAGE_SIZE
    assert json.loads(capsys.readouterr().out) == {"slot": "a slot", "version": 9, "device_id": 3, "pages": pages}
    package = parse(target, 3)
    assert (package.identity.name, package.identity.version) == ("a slot", 9)
    assert package.identity.model_id == model_id("a slot")
    for number, chunk in enumerate(package.chunks):
        size, key, nonce, associated, tag = package.opening(number)
        content = target.read_bytes()[chunk.block * PAGE_SIZE :][:size]
        assert open_chunk(key, nonce, associated, content, tag) is not None
    with pytest.raises(NotGenuine):
        parse(target, 4)


def test_slot_is_the_files_name_unless_told(tmp_path: Path, model: Path) -> None:
    target = tmp_path / "out.flex"
    assert cli.execute(["pack", str(model), str(target)]) == 0
    assert parse(target, 0).identity.name == "model"


@pytest.mark.parametrize("name", ["", "x" * 33, "two\nlines", "\udcff"])
def test_impossible_slot_names(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    target = tmp_path / "out.flex"
    assert "is not 1 to 32 bytes" in refusal(capsys, "pack", model, target, "--name", name)
    assert not target.exists()


def test_targets_that_would_lose_something(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = model.read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is the model itself" in refusal(capsys, "pack", model, model)
    assert model.read_bytes() == before
    assert "is no regular file" in refusal(capsys, "pack", model, "/dev/null")
    assert "is no regular file" in refusal(capsys, "pack", model, pipe)
    assert "is no regular file" in refusal(capsys, "pack", model, tmp_path)
    assert "cannot be written: No such file or directory" in refusal(capsys, "pack", model, tmp_path / "no" / "x.flex")


def test_failed_pack_leaves_the_older_package_and_nothing_else(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.flex"
    target.write_bytes(b"older")
    model.write_bytes(model.read_bytes()[:-100])
    assert "is truncated or damaged" in refusal(capsys, "pack", model, target)
    assert target.read_bytes() == b"older"
    assert sorted(tmp_path.iterdir()) == sorted((model, target))


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "out.flex") as file:
        file.write(b"content")
    assert list(tmp_path.iterdir()) == []


# What `flexserve run --model` is given


def test_package_keeps_its_slot_and_a_gguf_needs_none(tmp_path: Path, model: Path) -> None:
    target = tmp_path / "out.flex"
    assert cli.execute(["pack", str(model), str(target), "--name", "a slot", "--version", "9"]) == 0
    slot = load_model(target, 0).slot
    assert (slot.name, slot.model_id, slot.minimum_version) == ("a slot", model_id("a slot"), 9)
    long_name = model.rename(tmp_path / f"{'x' * 40}.gguf")
    assert load_model(long_name, 0).slot.name == "model"


@pytest.mark.parametrize(
    ("cut", "why"),
    [(0, "is empty"), (20, "it is truncated"), (500, "it is truncated"), (-1, "it is truncated")],
)
def test_truncated_package(tmp_path: Path, model: Path, cut: int, why: str) -> None:
    target = tmp_path / "out.flex"
    assert cli.execute(["pack", str(model), str(target)]) == 0
    target.write_bytes(target.read_bytes()[:cut])
    with pytest.raises(UserError, match=f"{target}.* {why}.*flexserve pack"):
        load_model(target, 0)


def test_files_that_are_no_model(tmp_path: Path, model: Path) -> None:
    disguised = model.rename(tmp_path / "model.flex")
    pipe = tmp_path / "pipe.flex"
    os.mkfifo(pipe)
    for path, why in (
        (disguised, "does not begin as a model package does"),
        (pipe, "is no regular file"),
        (tmp_path, "is no regular file"),
        (tmp_path / "absent.flex", "No such file or directory"),
    ):
        with pytest.raises(UserError, match=why):
            load_model(path, 0)
