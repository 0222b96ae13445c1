"""`bench llm`: the phone serves a model made on the spot, the peer gets the same file, and an absent peer is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from flexserve import bench_llm, cli
from flexserve.bench_llm import MODELS, PEER_VARIABLE, PROMPT_TOKENS, PeerMissing, parameters, peer_rates
from flexserve.gguf_import import read_gguf
from flexserve.random_model import RandomModel


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_llm, "ROUNDS", 1)
    monkeypatch.setattr(bench_llm, "GENERATED_TOKENS", 3)
    monkeypatch.setitem(MODELS, "25M", RandomModel(context=256, uniform=True))


def peer(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that does ``body`` with the script's arguments instead."""
    program = folder / "python"
    program.write_text(f"#!{sys.executable}\nimport json, sys\nfrom pathlib import Path\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv(PEER_VARIABLE, str(program))


@pytest.mark.parametrize(("size", "count"), [("25M", 25e6), ("110M", 110e6)])
def test_models_have_about_the_parameters_that_they_are_named_after(size: str, count: float) -> None:
    assert parameters(MODELS[size]) == pytest.approx(count, rel=0.03)


@pytest.mark.usefixtures("short")
def test_absent_peer_is_null_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PEER_VARIABLE, "/nowhere/python")
    assert cli.execute(["bench", "llm", "--json"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["prefill_tokens_per_s"] > 0 < figures["decode_tokens_per_s"]
    assert figures["peer_prefill_tokens_per_s"] is figures["peer_decode_tokens_per_s"] is None
    assert "/nowhere/python: No such file or directory" in err


@pytest.mark.usefixtures("short")
def test_peer_is_given_the_same_file_threads_and_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = tmp_path / "seen"
    body = f"Path({str(seen)!r}).write_text(chr(32).join(sys.argv[1:]))"
    peer(tmp_path, f"{body}\njson.dump({{'prefill': 12.5, 'decode': 2.5}}, sys.stdout)", monkeypatch)
    assert cli.execute(["bench", "llm", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["peer_prefill_tokens_per_s"], figures["peer_decode_tokens_per_s"]) == (12.5, 2.5)
    script, _, *numbers = seen.read_text().split()
    assert Path(script).name == "llama_peer.py"
    assert numbers == [str(figures["threads"]), str(PROMPT_TOKENS), "2"]


def test_peer_that_fails_is_said_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer(tmp_path, "sys.exit('trouble\\nno such module')", monkeypatch)
    with pytest.raises(PeerMissing, match=r"\(no such module\)"):
        peer_rates(tmp_path / "model.gguf", 1)


def test_uniform_weights_have_the_variance_one_over_fan_in(tmp_path: Path) -> None:
    path = RandomModel(width=256, uniform=True).write(tmp_path / "model.gguf")
    contents = read_gguf(path).contents[0, "query"]
    assert len(contents) == 1024 + 256 * 256
    weights = memoryview(contents)[1024:].cast("b")
    scale = memoryview(contents)[:4].cast("f")[0]
    assert sum(weight * weight for weight in weights) / len(weights) * scale**2 * 256 == pytest.approx(1, rel=0.02)


def test_uniform_weights_are_q8_0_only() -> None:
    with pytest.raises(ValueError, match="stored as Q8_0, not as F16"):
        RandomModel(uniform=True, kind=RandomModel().kind.F16)
