"""Golden traces in anybody's tests: this plugin comes with the package (docs/golden-tests.md).

Everything heavy is imported by the fixtures that need it, since pytest loads the plugin of every installed package.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flexserve.recipe import Recipe, Stage
    from flexserve.system import System
    from flexserve.trace.file import Trace

OPTION = "--update-golden"
FOLDER = "golden"  # beside the test's file
NAMES = ("golden", "now")
DRAM_BYTES = 64 << 20
UPDATED = "golden trace"  # a property of the test's report, which comes from whatever process has run it


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("flexserve")
    group.addoption(OPTION, action="store_true", help="Write the golden traces anew, and say what changed. Not in CI.")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(OPTION) and os.environ.get("CI"):
        raise pytest.UsageError(f"{OPTION} is refused in CI: update golden traces where somebody reads what changed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for category in terminalreporter.stats.values() for report in category]
    calls = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    updates = [told for report in calls for name, told in report.user_properties if name == UPDATED]
    if updates:
        terminalreporter.section("golden traces")
        for update in updates:
            terminalreporter.write_line(str(update))


@pytest.fixture
def flexserve_system() -> Iterator[System]:
    """A phone of 64 MiB, booted, with the demo model in its storage (`open("demo")` loads it)."""
    from flexserve.model_file import load_model
    from flexserve.system import System

    stored = load_model(None, device_id=0)
    system = System(DRAM_BYTES)
    try:
        system.board.trusted.provision(stored.slot)
        system.board.storage.insert(stored.medium)
        system.boot()
        yield system
    finally:
        system.dispose()


@pytest.fixture
def golden_trace(request: pytest.FixtureRequest) -> GoldenTrace:
    """Compares what happens with the traces in the folder ``golden`` beside the test's file."""
    return GoldenTrace(request.node, request.path.parent / FOLDER)


class GoldenTrace:
    """Golden traces in ``folder``; the name of ``test`` names its trace unless another name is given."""

    def __init__(self, test: pytest.Item, folder: Path) -> None:
        self._test = test
        self._folder = folder

    def run(self, *arguments: str, name: str | None = None, begin: str | None = None) -> None:
        """A whole run, by its command line without ``flexserve``; from the notice ``begin`` on."""
        from flexserve.recipe import parse

        self.recipe(parse(arguments), name=name, begin=begin)

    def recipe(self, recipe: Recipe, *, name: str | None = None, begin: str | None = None) -> None:
        """A whole run."""
        from flexserve.trace.record import record

        self.compare(record(recipe, begin=begin), name)

    @contextlib.contextmanager
    def machines(self, name: str | None = None) -> Iterator[Stage]:
        """What happens on the machines that the stage makes for the block."""
        from flexserve.trace.record import RecordingStage, assemble

        stage = RecordingStage()
        yield stage
        self.compare(assemble(self._header(), stage.recordings, None), name)

    @contextlib.contextmanager
    def system(self, system: System, name: str | None = None) -> Iterator[None]:
        """What happens on ``system`` in the block."""
        from flexserve.trace.record import Recording, assemble

        recording = Recording(system.machine)
        yield
        recording.stop()
        self.compare(assemble(self._header(), [recording], None), name)

    def compare(self, recorded: Trace, name: str | None = None) -> None:
        """Fail the test at the first event that is not as it was; or, with --update-golden, write the trace."""
        from flexserve.trace.difference import difference
        from flexserve.trace.file import load, save

        path = self._folder / f"{name or self._test.name}.trace"
        if not path.exists():
            if not self._test.config.getoption(OPTION):
                pytest.fail(f"there is no golden trace {path}: record it with pytest {OPTION}", pytrace=False)
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, recorded)
            self._tell(f"{path.name}: new, {len(recorded.lines):,} events")
            return
        golden = load(path)
        found = difference(golden, recorded, NAMES)
        if self._test.config.getoption(OPTION):
            if golden.text() != recorded.text():
                save(path, recorded)
                told = found.text(*NAMES) if found else "only the header"
                self._tell(f"{path.name}: {told}")
        elif found:
            pytest.fail(f"{path.name}: {found.text(*NAMES)}\n(pytest {OPTION} accepts what is now)", pytrace=False)

    def _tell(self, update: str) -> None:
        self._test.user_properties.append((UPDATED, update))

    def _header(self) -> dict[str, object]:
        from flexserve.identity import firmware_digest

        return {"firmware": firmware_digest(), "test": self._test.name}
