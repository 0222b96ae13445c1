"""The normal world's NPU driver in the secure world's service: it may do what it likes, and no token may change."""

from __future__ import annotations

from . import drivers
from .drivers import BadDriver
from .hostile import Hostile
from .registry import Attack, Moment, Script, until
from .scene import Scene


def _served(_: Hostile, scene: Scene) -> Script[bool]:
    """Up to the last token; what is served by then went through the driver's hands."""
    while (yield from until(Moment.TOKEN))[0] and not scene.driver_got_through():
        pass
    scene.credit_checks()
    return not scene.served_right() or scene.driver_got_through()


def _attack(name: str, tries: str, driver: type[BadDriver], *, control: bool = True) -> Attack:
    return Attack(name, tries, _served, Moment.REQUEST, control, driver)


ATTACKS = (
    _attack("driver-skips-jobs", "does no job, and says that it is done", drivers.Skips),
    _attack("driver-skips-tasks", "leaves the first task of each job out", drivers.SkipsTheFirstTask),
    _attack(
        "driver-swaps-jobs", "runs the first job, with its buffers, in the place of every other", drivers.SwapsJobs
    ),
    _attack("driver-runs-twice", "runs each job a second time, after the next one", drivers.RunsAgain),
    _attack("driver-reports-early", "says that a job is done while it runs", drivers.ReportsEarly),
    _attack("driver-starts-anywhere", "takes weights for the program of each job", drivers.StartsAnywhere),
    _attack("driver-powers-off", "switches the NPU off in the middle of each job", drivers.PowersOff),
    _attack(
        "driver-never-answers", "keeps the core for twice the time that it has", drivers.NeverAnswers, control=False
    ),
    _attack("driver-reads-memory", "loads from the normal world's memory", drivers.ReadsMemory, control=False),
    _attack("driver-writes-memory", "stores into the normal world's memory", drivers.WritesMemory, control=False),
    _attack(
        "driver-debug-registers",
        "leaves a value in a debug register for the next world",
        drivers.PlantsDebugRegisters,
        control=False,
    ),
    _attack(
        "driver-times-its-fault",
        "is refused an access when its time is up, at every instruction of EL2",
        drivers.TimesItsFault,
        control=False,
    ),
    _attack("driver-calls-monitor", "makes calls of both worlds", drivers.CallsTheMonitor, control=False),
)
