"""A snapshot in a file is the run, with both kernels, in the middle; and damaged ones are refused in one line."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.debug.edit import SetMemory
from emulator.debug.timeline import Reason, StopSet, Timeline
from emulator.devices.npu import NpuControl
from emulator.events import Event, EventKind
from emulator.memory_map import NPU_CONTROL, PROBE_IMAGE_BASE
from emulator.stops import Position
from emulator.world import vmid_of
from flexserve import snapshot
from flexserve.errors import UserError
from flexserve.evidence import CONTEXT, IRQ, NPU_STREAMS, VECTOR
from flexserve.recipe import PlainStage, Recipe, parse
from monitor.abi import Vmid

RUNS = (
    ["--tokens", "3", "--recall", "40@2"],
    ["--tokens", "3", "--npu-app"],
    ["attack", "dma-write-locked"],
    ["attack", "registers-el1"],
    ["attack", "npu-left-over-output"],
    ["attack", "interrupt-end"],
)
INTERRUPTED = ["attack", "npu-stop-job"]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return parse(["--tokens", "2"])


@pytest.fixture(scope="module")
def saved(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("snapshot") / "run.snapshot"
    with closing(Timeline(recipe.drive)) as timeline:
        timeline.resume(StopSet(kinds=frozenset({EventKind.SMC}), when=lambda event: event.instruction > 9_000_000))
        snapshot.save(path, recipe, timeline)
    return path.read_bytes()


@pytest.fixture
def file(saved: bytes, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "copy.snapshot"
    path.write_bytes(saved)
    yield path
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("arguments", RUNS, ids=" ".join)
def test_watched_run_gives_what_a_plain_one_gives(arguments: list[str]) -> None:
    recipe = parse(arguments)
    with closing(Timeline(recipe.drive)) as timeline:
        assert timeline.resume().reason is Reason.ENDED
        assert timeline.result == recipe.drive(PlainStage())


@pytest.mark.parametrize("arguments", RUNS, ids=" ".join)
def test_run_goes_on_from_any_position_as_it_did(arguments: list[str]) -> None:
    with closing(Timeline(parse(arguments).drive)) as timeline:
        timeline.resume()
        result, events, end = timeline.result, list(timeline.events), timeline.position
        for part in (9, 5, 1):
            timeline.seek(type(end)(end.instructions * part // 10, 0))
            timeline.resume()
            assert (timeline.result, timeline.events, timeline.position) == (result, events, end)


def test_run_goes_on_from_a_file(file: Path, recipe: Recipe) -> None:
    again, timeline = snapshot.load(file)
    assert again == recipe
    with closing(timeline):
        here = timeline.position
        assert timeline.resume().reason is Reason.ENDED
        assert timeline.result == recipe.drive(PlainStage())
        timeline.seek(timeline.start)
        timeline.seek(here)
        assert timeline.resume().reason is Reason.ENDED
        assert timeline.result == recipe.drive(PlainStage())


@pytest.fixture(scope="module")
def interrupted_job() -> Iterator[tuple[Timeline, list[int]]]:
    """A run in which an interrupt takes the core in a secure job, and times while that has output posted."""
    timeline = Timeline(parse(INTERRUPTED).drive)
    with closing(timeline):
        timeline.resume()
        (at,) = (index for index, event in enumerate(timeline.events) if is_the_timer(event))
        after = timeline.events[at:]
        landing = next(event for event in after if event.kind is EventKind.DMA)
        assert landing.args[0] in NPU_STREAMS and landing.args[4], "what the NPU moves next is what it has posted"
        resumed = next(event for event in after if event.kind is EventKind.SMC)
        yield timeline, [after[0].instruction + 1, resumed.instruction]


def test_snapshot_in_the_middle_of_a_job_goes_on_as_the_run_did(
    interrupted_job: tuple[Timeline, list[int]], tmp_path: Path
) -> None:
    timeline, times = interrupted_job
    timeline.resume()
    result, events, end, state = timeline.result, list(timeline.events), timeline.position, content(timeline)
    for number, time in enumerate(times):
        timeline.seek(Position(time, 0))
        assert timeline.machine.read_register(NPU_CONTROL, NpuControl.STATUS.offset) == 1
        file = tmp_path / f"{number}.snapshot"
        snapshot.save(file, parse(INTERRUPTED), timeline)
        here = content(timeline)
        _, again = snapshot.load(file)
        with closing(again):
            assert content(again) == here
            again.resume()
            assert (again.result, again.events, again.position) == (result, events, end)
            assert content(again) == state


def content(timeline: Timeline) -> bytes:
    """Of the whole machine."""
    written = io.BytesIO()
    timeline.machine.save().write(written)
    return written.getvalue()


def is_the_timer(event: Event) -> bool:
    """Of the normal world, in the driver context."""
    if event.kind is not EventKind.EXCEPTION:
        return False
    return event.args[VECTOR] == IRQ and vmid_of(event.args[CONTEXT]) == Vmid.DRIVER


@pytest.mark.parametrize("level", [1, 3], ids=["in the handler", "preempted"])
@pytest.mark.parametrize("instructions", [1, 30, 60, 200])
def test_interrupt_under_way_is_part_of_a_snapshot(level: int, instructions: int, tmp_path: Path) -> None:
    """IRQs that the normal kernel takes in its own code, and that take the core from the secure world."""
    recipe = parse(["--tokens", "2", "--npu-app"])
    file = tmp_path / "run.snapshot"
    irq = StopSet(
        kinds=frozenset({EventKind.EXCEPTION}),
        when=lambda event: (event.args[VECTOR], event.args[4]) == (IRQ, level) and event.instruction > 3_000_000,
    )
    with closing(Timeline(recipe.drive)) as timeline:
        assert timeline.resume(irq).reason is Reason.EVENT
        timeline.step(instructions)
        here, registers = timeline.position, registers_of(timeline)
        snapshot.save(file, recipe, timeline)
        timeline.back(instructions + 3)  # to before it was taken
        timeline.step(instructions + 3)
        assert (timeline.position, registers_of(timeline)) == (here, registers)
        assert timeline.resume().reason is Reason.ENDED
        result, events = timeline.result, list(timeline.events)
    assert result == recipe.drive(PlainStage())
    _, timeline = snapshot.load(file)
    with closing(timeline):
        assert (timeline.position, registers_of(timeline)) == (here, registers)
        assert timeline.resume().reason is Reason.ENDED
        assert (timeline.result, timeline.events) == (result, events)


def registers_of(timeline: Timeline) -> list[int]:
    core = timeline.machine.core
    system = (core.read_sysreg(name) for name in ("ELR_EL1", "SPSR_EL1", "ELR_EL3", "SPSR_EL3", "CNTP_CVAL_EL0"))
    return [*(core.x[index] for index in range(31)), core.pc, core.sp, core.pstate, *system]


def test_same_moment_is_the_same_file(file: Path, saved: bytes) -> None:
    recipe, timeline = snapshot.load(file)
    with closing(timeline):
        snapshot.save(file, recipe, timeline)
    assert file.read_bytes() == saved


def test_edits_are_in_the_file(file: Path) -> None:
    recipe, timeline = snapshot.load(file)
    with closing(timeline):
        timeline.edit(SetMemory(PROBE_IMAGE_BASE, b"edited"))
        here = timeline.position
        snapshot.save(file, recipe, timeline)
    recipe, timeline = snapshot.load(file)
    with closing(timeline):
        timeline.seek(timeline.start)
        assert timeline.machine.read_physical(PROBE_IMAGE_BASE, 6) != b"edited"
        timeline.seek(here)
        assert timeline.machine.read_physical(PROBE_IMAGE_BASE, 6) == b"edited"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_is_refused_in_words(
    saved: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "snapshot"
    content = bytearray(saved)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        snapshot.load(path)[1].close()


def rewrite(file: Path, old: bytes, new: bytes) -> None:
    """In the header."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[snapshot.HEADER] = members[snapshot.HEADER].replace(old, new)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_other_version_is_refused(file: Path) -> None:
    rewrite(file, b'"version": 1', b'"version": 2')
    with pytest.raises(UserError, match="version 2 of the format, this is version 1"):
        snapshot.load(file)


def test_other_firmware_is_refused(file: Path) -> None:
    rewrite(file, b'"firmware": "', b'"firmware": "0')
    with pytest.raises(UserError, match="other firmware"):
        snapshot.load(file)


def test_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        snapshot.load(tmp_path / "absent")


def test_unwritable_place_is_said(file: Path, tmp_path: Path) -> None:
    recipe, timeline = snapshot.load(file)
    with closing(timeline), pytest.raises(UserError, match="No such file"):
        snapshot.save(tmp_path / "absent" / "snapshot", recipe, timeline)
