"""`flexserve run` as a person or a program uses it: what it prints, repeats, refuses and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flexserve.gguf_models import Recipe

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "flexserve" / "models" / "demo.gguf"
FLEXMEM = {"allocated", "locked", "requested", "recalled", "reclaimed", "forced"}
NPU = {"jobs", "switches", "normal_jobs", "recalls", "macs"}


def flexserve(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flexserve", *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def run(*arguments: str, **variables: str) -> dict[str, Any]:
    done = flexserve("run", "--json", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return run("--tokens", "12")


def test_json_is_one_object_with_these_keys(plain: dict[str, Any]) -> None:
    assert set(plain) == {
        "text", "tokens", "prompt_tokens", "stop", "flexmem", "npu", "smc", "world_switches", "guest_instructions",
    }  # fmt: skip
    assert set(plain["flexmem"]) == FLEXMEM
    assert set(plain["npu"]) == NPU
    assert len(plain["tokens"]) == 12
    assert plain["stop"] == "length"
    assert plain["flexmem"]["locked"] == plain["flexmem"]["allocated"] > 500
    assert plain["smc"]["MEM_LOCK"] >= 1


def test_person_gets_the_text_and_a_summary(plain: dict[str, Any]) -> None:
    done = flexserve("run", "--tokens", "12")
    assert done.stdout.startswith(plain["text"])
    for word in ("world switches", "guest instructions", "MEM_LOCK", "reclaimed", "tokens/s"):
        assert word in done.stdout
    assert done.stderr == ""


def test_same_seed_same_everything(plain: dict[str, Any]) -> None:
    assert run("--tokens", "12", PYTHONHASHSEED="7") == plain
    assert run("--tokens", "12", FLEXSERVE_PORTABLE="1") == plain


def test_device_changes_no_token(plain: dict[str, Any]) -> None:
    assert plain["npu"]["jobs"] > 0 and plain["npu"]["macs"] > 0
    by_processor = run("--tokens", "12", "--device", "cpu")
    assert by_processor["tokens"] == plain["tokens"]
    assert by_processor["npu"] == dict.fromkeys(NPU, 0)
    assert "NPU_ACQUIRE" not in by_processor["smc"]


@pytest.mark.parametrize("options", [[], ["--recall", "300@6"], ["--recall", "50@2", "--recall", "100000@9"]])
def test_app_beside_it_changes_no_token(plain: dict[str, Any], options: list[str]) -> None:
    shared = run("--tokens", "12", "--npu-app", *options)
    assert shared["tokens"] == plain["tokens"]
    assert shared["npu"]["normal_jobs"] >= 6 and shared["npu"]["recalls"] >= 1
    assert shared["npu"]["jobs"] >= plain["npu"]["jobs"]
    assert shared["npu"]["switches"] >= 2 * shared["npu"]["recalls"]


def test_app_beside_the_processor_has_the_npu_for_itself(plain: dict[str, Any]) -> None:
    shared = run("--tokens", "12", "--npu-app", "--device", "cpu")
    assert shared["tokens"] == plain["tokens"]
    assert shared["npu"]["normal_jobs"] >= 12 and shared["npu"]["switches"] == shared["npu"]["recalls"] == 0


def test_unknown_device_is_refused() -> None:
    refused = flexserve("run", "--device", "gpu")
    assert refused.returncode == 2 and "gpu" in refused.stderr


def test_seeds_differ_at_temperature_1() -> None:
    texts = {run("--tokens", "24", "--temperature", "1", "--seed", seed)["text"] for seed in ("1", "2")}
    assert len(texts) == 2


def test_end_of_the_text_is_said() -> None:
    done = run("--tokens", "500", "--temperature", "1", "--seed", "3", "--top-p", "0.9")
    assert (done["stop"] == "end") == (len(done["tokens"]) < 500)


@pytest.mark.parametrize("recalls", [["1@1"], ["300@6"], ["100@12"], ["100000@7"], ["50@2", "400@3", "100000@9"]])
def test_recall_changes_no_token(plain: dict[str, Any], recalls: list[str]) -> None:
    options = [part for recall in recalls for part in ("--recall", recall)]
    done = flexserve("run", "--json", "--tokens", "12", *options)
    answer = json.loads(done.stdout)
    wanted = sum(int(recall.split("@")[0]) for recall in recalls)
    assert answer["tokens"] == plain["tokens"]
    assert answer["flexmem"]["requested"] == wanted
    assert answer["flexmem"]["recalled"] <= answer["flexmem"]["reclaimed"]
    assert ("pages came back" in done.stderr) == (answer["flexmem"]["recalled"] < wanted)


def test_recall_that_never_came_is_said() -> None:
    assert "token 9 was never computed" in flexserve("run", "--tokens", "3", "--recall", "5@9").stderr


def test_package_is_for_one_device(tmp_path: Path, plain: dict[str, Any]) -> None:
    package = tmp_path / "demo.flex"
    packed = flexserve("pack", DEMO, package, "--device-id", "3", "--name", "mine", "--version", "4")
    assert (packed.returncode, package.stat().st_mode & 0o777) == (0, 0o644)
    assert run("--tokens", "12", "--model", str(package), "--device-id", "3")["text"] == plain["text"]
    refused = flexserve("run", "--model", package)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "packed for another device" in refused.stderr


def test_16_gib_cost_hardly_more_than_1() -> None:
    """Peak memory of the process, within 64 MiB."""
    script = (
        "import resource, sys; from flexserve.cli import execute; status = execute(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(status)"
    )
    peaks = []
    for size in ("1G", "16G"):
        command = [sys.executable, "-c", script, "run", "--json", "--tokens", "4", "--dram", size]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stderr))
    assert peaks[1] - peaks[0] < 64 * 1024


def damaged(tmp_path: Path, name: str, size: int | None = None, flip: int | None = None) -> Path:
    content = bytearray(DEMO.read_bytes()[:size])
    if flip is not None:
        content[flip] ^= 0xFF
    path = tmp_path / name
    path.write_bytes(content)
    return path


def bad_input(tmp_path: Path) -> dict[str, list[str | Path]]:
    package = tmp_path / "demo.flex"
    assert flexserve("pack", DEMO, package).returncode == 0
    content = bytearray(package.read_bytes())
    (tmp_path / "short.flex").write_bytes(content[:5000])
    (tmp_path / "half.flex").write_bytes(content[: len(content) // 2])
    content[len(content) // 2] ^= 1
    (tmp_path / "hurt.flex").write_bytes(content)
    big = Recipe(width=2048, heads=16, kv_heads=16, layers=1, feed_forward=16384, vocabulary=300)
    run_model: list[str | Path] = ["run", "--model"]
    return {
        "missing": [*run_model, tmp_path / "absent.gguf"],
        "a folder": [*run_model, tmp_path],
        "empty": [*run_model, damaged(tmp_path, "empty.gguf", 0)],
        "truncated header": [*run_model, damaged(tmp_path, "short.gguf", 100)],
        "truncated weights": [*run_model, damaged(tmp_path, "half.gguf", 1_000_000)],
        "corrupt": [*run_model, damaged(tmp_path, "corrupt.gguf", None, 9)],
        "other architecture": [*run_model, Recipe(architecture="gpt2").write(tmp_path / "gpt2.gguf")],
        "truncated package": [*run_model, tmp_path / "short.flex"],
        "half a package": [*run_model, tmp_path / "half.flex"],
        "flipped bit": [*run_model, tmp_path / "hurt.flex"],
        "larger than memory": [*run_model, big.write(tmp_path / "big.gguf"), "--dram", "64M"],
        "long prompt": ["run", "--prompt", "word " * 600],
        "very long prompt": ["run", "--prompt", "x" * 120_000],
        "not UTF-8": ["run", "--prompt", "\udcff"],
        "unwritable": ["pack", DEMO, tmp_path / "absent" / "out.flex"],
        "pack nothing": ["pack", tmp_path / "absent.gguf", tmp_path / "out.flex"],
        "long slot name": ["pack", DEMO, tmp_path / "out.flex", "--name", "n" * 33],
        "no such attack": ["attack", "no-such-attack"],
        "too large a bench": ["bench", "flexmem", "--size", "17G"],
    }


def test_bad_input_is_one_line_and_status_2(tmp_path: Path) -> None:
    for what, command in bad_input(tmp_path).items():
        done = flexserve(*command)
        assert done.returncode == 2, (what, done)
        assert done.stdout == "", what
        assert done.stderr.startswith("flexserve: "), (what, done.stderr)
        assert len(done.stderr.splitlines()) == 1, (what, done.stderr)
    assert not (tmp_path / "out.flex").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "options",
    [
        ["--tokens", "0"], ["--tokens", "x"], ["--seed", "-1"], ["--temperature", "-1"], ["--temperature", "nan"],
        ["--top-p", "0"], ["--top-p", "1.5"], ["--recall", "5"], ["--recall", "0@1"], ["--recall", "1@0"],
        ["--recall", "9" * 30 + "@1"], ["--dram", "63M"], ["--dram", "17G"], ["--dram", "65M"], ["--dram", "lots"],
        ["--device-id", "-1"], ["--nonsense"], ["extra"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nonsense_options(options: list[str]) -> None:
    done = flexserve("run", *options)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("command", "delay"),
    [
        ("run --tokens 450 --temperature 1", 0.4),
        ("run --tokens 450 --json", 0.8),
        ("bench flexmem", 0.4),
        ("bench flexmem", 1.5),
        ("bench smc", 0.8),
        ("attack", 0.3),
    ],
)
def test_ctrl_c_ends_it_within_a_second(command: str, delay: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flexserve", *command.split()], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(delay)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - started < 1
    assert process.returncode == 130
    assert b"Traceback" not in errors
