"""Exports hold what the run did, in the words of the tools that they are for."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from pathlib import Path

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as PerfettoTrace
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent

from emulator.events import EventKind
from emulator.machine import Machine
from flexserve.cli import execute
from flexserve.export.watched import run_again
from flexserve.recipe import parse
from flexserve.trace.file import Trace, load
from tests.emulator.bare import assemble

RUN = ("run", "--dram", "64M", "--tokens", "1", "--recall", "20@1")
TARMAC_LINE = re.compile(
    r"\d+ clk (?:"
    r"I[TS] \(\d+\) [0-9a-f]{8,16}:[0-9a-f]{12}(?:_NS)? [0-9a-f]{8} O EL[0-3][ht]_(?:ns|s) : .+"
    r"|R (?:X\d+|SP_EL[0-3]) [0-9a-f]{16}|R cpsr [0-9a-f]{8}"
    r"|M[RW]\d+ [0-9a-f]{8,16}:[0-9a-f]{12}(?:_NS)? [0-9a-f_]+"
    r"|E [0-9a-f]{8,16}:[0-9a-f]{12}(?:_NS)? [0-9a-f]{8} CoreEvent_\w+)"
)
GUEST = """
_start:
    mov     x0, #0x41000000
    mov     x1, #7
    str     x1, [x0]
    ldp     w2, w3, [x0], #8
    ldr     x3, =0x20026
    ldr     x1, =0x41000100
    stp     x3, xzr, [x1]
    mov     w0, #0x18
    hlt     #0xf000
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "run.trace"
    assert execute(["trace", "record", str(path), "--", *RUN]) == 0
    return path


@pytest.fixture(scope="module")
def trace(file: Path) -> Trace:
    return load(file)


def export(file: Path, tmp_path: Path, *options: str) -> bytes:
    out = tmp_path / "out"
    assert execute(["trace", "export", str(file), "-o", str(out), "--to", *options]) == 0
    return out.read_bytes()


def test_perfetto_has_every_call_its_flow_and_the_pages(file: Path, trace: Trace, tmp_path: Path) -> None:
    packets = PerfettoTrace.FromString(export(file, tmp_path, "perfetto")).packet
    described = [packet.track_descriptor for packet in packets if packet.HasField("track_descriptor")]
    tracks = {track.uuid: track.name for track in described}
    events = [(packet.timestamp, packet.track_event) for packet in packets if packet.HasField("track_event")]
    assert [when for when, _ in events] == sorted(when for when, _ in events)
    calls = [event for _, event in events if event.name.startswith("SMC ")]
    made = [line.split(" ")[2] for line in trace.lines if line.startswith("smc ")]
    assert [event.name[4:] for event in calls] == made
    flows = Counter(flow for _, event in events for flow in event.flow_ids)
    assert all(count == 3 for count in list(flows.values())[:-1])  # the caller, the monitor, whoever runs afterwards
    depth: Counter[int] = Counter()
    for _, event in events:
        depth[event.track_uuid] += event.type == TrackEvent.TYPE_SLICE_BEGIN
        depth[event.track_uuid] -= event.type == TrackEvent.TYPE_SLICE_END
        assert depth[event.track_uuid] in (0, 1)
        assert sum(count for track, count in depth.items() if not tracks[track].startswith("NPU")) <= 1  # one core
    counters = [event for _, event in events if event.type == TrackEvent.TYPE_COUNTER]
    last = {tracks[event.track_uuid]: event.counter_value for event in counters}
    pages = dict(word.split("=") for word in trace.endings[0].split()[1:])
    assert {name.removeprefix("pages "): str(value) for name, value in last.items()}.items() <= pages.items()
    assert {"EL3 monitor", "EL1 normal world", "EL1 secure world", "TZASC", "SMMU", "tokens"} <= set(tracks.values())


def test_perfetto_has_the_npus_jobs_by_core_and_whose_it_is(file: Path, trace: Trace, tmp_path: Path) -> None:
    packets = PerfettoTrace.FromString(export(file, tmp_path, "perfetto")).packet
    described = [packet.track_descriptor for packet in packets if packet.HasField("track_descriptor")]
    tracks = {track.uuid: track.name for track in described}
    events = [packet.track_event for packet in packets if packet.HasField("track_event")]
    begun = [(tracks[one.track_uuid], one.name) for one in events if one.type == TrackEvent.TYPE_SLICE_BEGIN]
    ended = [tracks[one.track_uuid] for one in events if one.type == TrackEvent.TYPE_SLICE_END]
    started = [line for line in trace.lines if " STARTED " in line]
    jobs = [f"job of {line.split('tasks=')[1]} tasks" for line in started if line.startswith("npu NPU0 ")]
    assert jobs and [name for track, name in begun if track == "NPU0"] == jobs
    assert ended.count("NPU0") == len(jobs)
    assert [name for track, name in begun if track == "NPU"] == ["secure world"]
    assert ended.count("NPU") == 1  # at the end of the run


def test_perfetto_shows_a_normal_job_that_is_let_finish(tmp_path: Path) -> None:
    file = tmp_path / "attack.trace"
    assert execute(["trace", "record", str(file), "--", "attack", "npu-start-while-draining"]) == 0
    packets = PerfettoTrace.FromString(export(file, tmp_path, "perfetto")).packet
    described = [packet.track_descriptor for packet in packets if packet.HasField("track_descriptor")]
    (owner,) = (track.uuid for track in described if track.name == "NPU")
    events = [packet.track_event for packet in packets if packet.HasField("track_event")]
    names = [one.name for one in events if one.track_uuid == owner and one.type == TrackEvent.TYPE_SLICE_BEGIN]
    assert names == ["secure world", "normal world", "draining", "secure world", "normal world"]


def test_tarmac_says_what_each_instruction_did(tmp_path: Path) -> None:
    image, traced = tmp_path / "guest.bin", tmp_path / "guest.trace"
    guest = assemble(GUEST, 0x4020_0000)
    image.write_bytes(guest.segments[0].data)
    arguments = ["exec", str(image), "--load", f"0x40200000={image}", "--entry", hex(guest.entry)]
    assert execute(["trace", "record", str(traced), "--", *arguments]) == 0
    lines = export(traced, tmp_path, "tarmac").decode().splitlines()
    assert all(TARMAC_LINE.fullmatch(line) for line in lines)
    told = [line for line in lines if not line.startswith("0 clk R")]
    assert told == [
        "0 clk IT (0) 40200000:000040200000 d2a82000 O EL3h_s : MOV      x0, #0x41000000",
        "1 clk IT (1) 40200004:000040200004 d28000e1 O EL3h_s : MOV      x1, #7",
        "1 clk R X1 0000000000000007",
        "2 clk IT (2) 40200008:000040200008 f9000001 O EL3h_s : STR      x1, [x0]",
        "2 clk MW8 41000000:000041000000 00000000_00000007",
        "3 clk IT (3) 4020000c:00004020000c 28c10c02 O EL3h_s : LDP      w2, w3, [x0], #8",
        "3 clk MR4 41000000:000041000000 00000007",
        "3 clk MR4 41000004:000041000004 00000000",
        "3 clk R X0 0000000041000008",
        "3 clk R X2 0000000000000007",
        "4 clk IT (4) 40200010:000040200010 580000c3 O EL3h_s : LDR      x3, #0x40200028",
        "4 clk MR8 40200028:000040200028 00000000_00020026",
        "4 clk R X3 0000000000020026",
        "5 clk IT (5) 40200014:000040200014 580000e1 O EL3h_s : LDR      x1, #0x40200030",
        "5 clk MR8 40200030:000040200030 00000000_41000100",
        "5 clk R X1 0000000041000100",
        "6 clk IT (6) 40200018:000040200018 a9007c23 O EL3h_s : STP      x3, xzr, [x1]",
        "6 clk MW8 41000100:000041000100 00000000_00020026",
        "6 clk MW8 41000108:000041000108 00000000_00000000",
        "7 clk IT (7) 4020001c:00004020001c 52800300 O EL3h_s : MOV      w0, #0x18",
    ]


def test_tarmac_of_the_monitor_is_tarmac(file: Path, tmp_path: Path) -> None:
    window = ("--from", "3000000", "--until", "3300000", "--levels", "3,2,1")
    lines = export(file, tmp_path, "tarmac", *window).decode().splitlines()
    assert lines
    assert [line for line in lines if not TARMAC_LINE.fullmatch(line)] == []
    times = [int(line.split(" ")[0]) for line in lines]
    assert times == sorted(times)


def test_run_whose_instructions_are_traced_is_the_same_run() -> None:
    def events(*, traced: bool) -> list[object]:
        found: list[object] = []

        def prepare(machine: Machine) -> None:
            machine.events.listen(EventKind, found.append)
            if traced:
                machine.instruction_trace.record(found.__class__().append, frozenset({3}), 2_000_000, 2_500_000)

        run_again(parse(RUN), lambda notice: None, prepare)
        return found

    assert events(traced=True) == events(traced=False)


def test_drcov_has_the_code_that_ran(file: Path, tmp_path: Path) -> None:
    content = export(file, tmp_path, "drcov")
    head, _, rest = content.partition(b"BB Table: ")
    lines = head.decode().splitlines()
    assert lines[0] == "DRCOV VERSION: 2"
    modules = {int(row.split(",")[0]): row.split(", ")[-1] for row in lines[4:]}
    assert {"monitor", "normal_gate", "secure_gate"} <= set(modules.values())
    count, _, table = rest.partition(b" bbs\n")
    blocks = list(struct.iter_unpack("<IHH", table))
    assert len(blocks) == int(count)
    monitor = next(number for number, name in modules.items() if name == "monitor")
    assert (0, monitor) in [(offset, module) for offset, _, module in blocks]


def test_lcov_counts_the_calls(file: Path, trace: Trace, tmp_path: Path) -> None:
    text = export(file, tmp_path, "lcov").decode()
    calls = Counter(line.split(" ")[2] for line in trace.lines if line.startswith("smc "))
    for name in ("MEM_LOCK", "MEM_ALLOCATE", "MEM_RELEASE", "MEM_RECALL"):
        assert f"FNDA:{calls[name]},{name.lower()}" in text
    record = re.search(r"SF:firmware/el3/flexmem\.c\n(.*?)end_of_record", text, re.DOTALL)
    assert record
    pairs = re.findall(r"^DA:(\d+),(\d+)$", record[1], re.MULTILINE)
    lines = {int(line): int(count) for line, count in pairs}
    assert f"LF:{len(lines)}" in record[1]
    assert f"LH:{sum(count > 0 for count in lines.values())}" in record[1]


def test_json_is_the_trace(file: Path, trace: Trace, tmp_path: Path) -> None:
    value = json.loads(export(file, tmp_path, "json"))
    assert [event["line"] for event in value["events"]] == trace.lines
    assert value["endings"] == trace.endings


def test_nothing_half_written_where_it_cannot_be(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["trace", "export", str(file), "--to", "lcov", "-o", str(tmp_path / "absent" / "x")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert execute(["trace", "export", str(file), "--to", "tarmac", "--levels", "9", "-o", str(tmp_path / "x")]) == 2
    assert list(tmp_path.iterdir()) == []
