"""The plugin in somebody else's project."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

TEST = """
def test_flow(flexserve_system, golden_trace):
    with golden_trace.system(flexserve_system):
        flexserve_system.power_off()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "flexserve.pytest_plugin", *arguments)


def test_flow_without_a_golden_trace_fails_with_the_way_out(project: pytest.Pytester) -> None:
    run(project).stdout.fnmatch_lines(["*there is no golden trace*record it with pytest --update-golden*"])


def test_flow_is_held_against_its_trace(project: pytest.Pytester) -> None:
    run(project, "--update-golden").stdout.fnmatch_lines(["*golden traces*", "test_flow.trace: new, * events"])
    run(project).assert_outcomes(passed=1)
    golden = project.path / "golden" / "test_flow.trace"
    golden.write_text(golden.read_text().replace("PSCI_SYSTEM_OFF", "PSCI_VERSION"))
    failed = run(project)
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*they part at event 1*", "*golden*PSCI_VERSION*", "*now*PSCI_SYSTEM_OFF*"])
    run(project, "--update-golden").stdout.fnmatch_lines(["test_flow.trace: they part at event 1*"])
    run(project).assert_outcomes(passed=1)


def test_update_is_told_by_whichever_process_has_written_it(project: pytest.Pytester) -> None:
    told = run(project, "--update-golden", "-n", "1").stdout
    told.fnmatch_lines(["*golden traces*", "test_flow.trace: new, * events"])


def test_update_is_refused_in_ci(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(project, "--update-golden")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*refused in CI*"])
