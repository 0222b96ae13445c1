"""`bench npu` times jobs that are done, and says which peers are missing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from flexserve import bench_npu
from flexserve.bench_llm import PEER_VARIABLE
from flexserve.cli import cli


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ROWS": 64, "COLUMNS": 256, "MATRICES": 2, "ROUNDS": 1}.items():
        monkeypatch.setattr(bench_npu, name, value)
    monkeypatch.setenv(PEER_VARIABLE, "/nowhere/python")


def test_figures_and_what_is_missing() -> None:
    done = CliRunner().invoke(cli, ["bench", "npu", "--json"])
    assert done.exit_code == 0
    figures = json.loads(done.stdout)
    assert figures["decode_macs_per_s"] > 0
    assert figures["prefill_macs_per_s"] > 0
    assert figures["numpy_prefill_macs_per_s"] > 0
    assert figures["ggml_decode_macs_per_s"] is None
    assert done.stderr.startswith("no figures of a peer's: FLEXSERVE_PEER_PYTHON=/nowhere/python")


def test_a_job_that_fails_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_npu, "WEIGHTS", 0x1000)
    with pytest.raises(ValueError, match="0x1000"):
        bench_npu.npu_rates()
    monkeypatch.setattr(bench_npu, "SUMS", 0x1000)
    monkeypatch.setattr(bench_npu, "WEIGHTS", bench_npu.FEATURES)
    with pytest.raises(RuntimeError, match="the NPU gave up: 0x90000"):
        bench_npu.npu_rates()
