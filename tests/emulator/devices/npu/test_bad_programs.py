"""Whatever programs and drivers do: a job ends with a status and an event that names the register, and reaches nothing
that its stream does not. sweep.py goes on for longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.devices.npu import Problem

from .bench import Bench, bench
from .ordeal import Ordeal


@pytest.fixture
def rig() -> Iterator[Bench]:
    with bench() as made:
        yield made


def test_jobs_that_go_wrong_end_with_a_status_and_a_name(rig: Bench) -> None:
    ordeal = Ordeal(rig)
    for seed in range(3000):
        ordeal.run(seed)
        if seed % 300 == 0:
            ordeal.judge_everything()
    problems = {problem.name for problem in Problem} - {"NONE"}
    assert {"JOB_DONE", "ABORTED"} | problems <= set(ordeal.outcomes), ordeal.outcomes


def test_accesses_of_every_size_to_every_place(rig: Bench) -> None:
    ordeal = Ordeal(rig)
    for seed in range(300):
        ordeal.poke_everywhere(seed)
    ordeal.judge_everything()
    assert min(ordeal.outcomes[name] for name in ("abort", "NOT_IMPLEMENTED", "BAD_VALUE")) > 0
