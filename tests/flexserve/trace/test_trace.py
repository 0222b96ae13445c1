"""Traces: the same bytes on every host, differences in words, and nothing that is damaged is believed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.debug.timeline import Timeline
from flexserve.cli import execute
from flexserve.recipe import parse
from flexserve.trace.difference import difference
from flexserve.trace.file import EVENTS, Trace, TraceError
from flexserve.trace.lines import KINDS, Liner
from flexserve.trace.record import record

RUN = ("run", "--dram", "64M", "--tokens", "2", "--recall", "20@2")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def trace() -> Trace:
    return record(parse(RUN))


@pytest.fixture
def file(trace: Trace, tmp_path: Path) -> Path:
    path = tmp_path / "run.trace"
    path.write_text(trace.text())
    return path


def changed(trace: Trace, old: str, new: str) -> Trace:
    """The first line that has ``old``, with ``new`` instead."""
    index = next(index for index, line in enumerate(trace.lines) if old in line)
    lines = [*trace.lines[:index], trace.lines[index].replace(old, new), *trace.lines[index + 1 :]]
    return Trace(trace.header, lines, trace.endings)


def test_text_is_read_as_it_was_written(trace: Trace) -> None:
    assert Trace.parse(trace.text()).text() == trace.text()


@pytest.mark.parametrize(
    "environment", [{"PYTHONHASHSEED": "1"}, {"FLEXSERVE_PORTABLE": "1"}, {"TZ": "Asia/Tokyo"}], ids=str
)
def test_same_bytes_whatever_the_host_is_like(trace: Trace, tmp_path: Path, environment: dict[str, str]) -> None:
    out = tmp_path / "again.trace"
    command = [sys.executable, "-m", "flexserve", "trace", "record", str(out), "--", *RUN]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True)
    assert out.read_text() == trace.text()


def test_stepped_run_has_the_same_trace(trace: Trace) -> None:
    timeline = Timeline(parse(RUN).drive)
    for _ in range(50):
        timeline.step(3)
        timeline.seek(type(timeline.position)(timeline.machine.instructions + 100_001, 0))
        timeline.back(5)
    timeline.resume()
    events = [event for event in timeline.events if event.kind in KINDS]
    assert list(Liner(timeline.machine.layout).lines(events)) == trace.lines
    timeline.close()


def test_documented_kinds_are_those_that_there_are(trace: Trace) -> None:
    text = (ROOT / "docs" / "trace-format.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)` \|", text, re.MULTILINE)
    assert [kind for kind, _ in rows] == list(EVENTS)
    Trace.parse(Trace({}, [example for _, example in rows], trace.endings).text())


def test_run_checks(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["trace", "check", str(file)]) == 0
    assert "all the same" in capsys.readouterr().out


def test_run_that_is_not_the_same_is_said_by_event(
    trace: Trace, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(changed(trace, "MEM_LOCK status=SUCCESS", "MEM_LOCK status=DENIED").text())
    assert execute(["trace", "check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "MEM_LOCK: status is DENIED in run.trace, SUCCESS in now" in out
    assert "after 11 SMCs" in out


def test_consequences_are_named(trace: Trace) -> None:
    other = record(parse(["run", "--dram", "64M", "--tokens", "3", "--recall", "20@2"]))
    found = difference(trace, other)
    assert found
    assert any(line.startswith("generation.tokens: ") for line in found.results)
    kept = [line for line in trace.lines if not (line.startswith("own") and line.endswith("ALLOCATED>LOCKED"))]
    found = difference(trace, Trace(trace.header, kept, trace.endings))
    assert found
    assert re.fullmatch(r"pages \d+ to \d+: LOCKED in first, ALLOCATED in second", found.ownership[0])


def test_difference_as_json(file: Path, tmp_path: Path, trace: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.trace"
    other.write_text(changed(trace, "pages=", "pages=9").text())
    assert execute(["trace", "diff", "--json", str(file), str(other)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["equal"]
    assert "pages is" in told["difference"]["words"][0]
    assert execute(["trace", "diff", "--json", str(file), str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {"equal": True, "difference": None}


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (["--kind", "own"], r"own .*"),
        (["--world", "secure"], r".*\bsecure[.:].*"),
        (["--call", "mem_recall"], r"(smc|return|own|set|smmu|tlbi).*"),
        (["--device", "TZASC"], r"(set|denied) TZASC.*"),
    ],
)
def test_show_chooses(file: Path, capsys: pytest.CaptureFixture[str], options: list[str], pattern: str) -> None:
    assert execute(["trace", "show", "--json", str(file), *options]) == 0
    events = json.loads(capsys.readouterr().out)["events"]
    assert events
    assert all(re.fullmatch(pattern, event["line"]) for event in events)


def test_show_page_tells_its_life(trace: Trace, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = re.search(r"own page=(\d+) count=\d+ ALLOCATED>LOCKED", "\n".join(trace.lines))
    assert page
    assert execute(["trace", "show", str(file), "--kind", "own", "--page", page[1]]) == 0
    out = capsys.readouterr().out
    assert out.index("NORMAL>ALLOCATED") < out.index("ALLOCATED>LOCKED")


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 1 << 20), inserted=st.text(max_size=3), cut=st.booleans())
def test_damaged_text_is_refused_or_read(trace: Trace, place: int, inserted: str, cut: bool) -> None:
    text = trace.text()
    at = place % len(text)
    damaged = text[:at] if cut else text[:at] + inserted + text[at + 1 :]
    with contextlib.suppress(TraceError):
        difference(trace, Trace.parse(damaged))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "does not begin with"),
        ("# flexserve trace 99\n", "version 99"),
        ("# flexserve trace 1\nsmc normal.el1 FLEX_VERSION\n", "no end"),
        ("# flexserve trace 1\ndance\nresult {}\n", "'dance' is no event"),
        ("# flexserve trace 1\nresult {}\nsmc x\n", "behind the end"),
        ("# flexserve trace 1\nresult {}", "cut off"),
        ("# flexserve trace 1\n# recipe {\nresult {}\n", "line 2"),
    ],
)
def test_bad_trace_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str) -> None:
    path = tmp_path / "bad.trace"
    path.write_text(content)
    assert execute(["trace", "check", str(path)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("header", ["# test \"x\"", "# recipe {\"kind\":\"run\",\"options\":{}}"])
def test_trace_without_a_run_cannot_be_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str) -> None:
    path = tmp_path / "bad.trace"
    path.write_text(f"# flexserve trace 1\n{header}\nresult {{}}\n")
    assert execute(["trace", "check", str(path)]) == 2
    assert "run" in capsys.readouterr().err


def test_place_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["trace", "record", str(tmp_path / "absent" / "x.trace"), "--", *RUN]) == 2
    assert "No such file" in capsys.readouterr().err
