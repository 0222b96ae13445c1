"""The project's own flows as golden traces: tests/golden/ is what they are, and git says when and why they changed."""

from __future__ import annotations

import pytest

from flexserve.attack_recipe import BEGUN
from flexserve.pytest_plugin import GoldenTrace
from flexserve.system import System
from nworld.attacks import ATTACKS
from tests.flexserve.phone import PROMPT, SLOT, package, phone
from tests.flexserve.test_system import MODEL, Unwilling, generate

DRAM_BYTES = 64 << 20


def test_boot(golden_trace: GoldenTrace) -> None:
    with golden_trace.machines("boot") as stage:
        system = System(DRAM_BYTES, make_machine=stage.create_machine)
        system.boot()
        system.dispose()


def test_allocate_lock_recall_reclaim(golden_trace: GoldenTrace) -> None:
    golden_trace.run("run", "--dram", "64M", "--tokens", "3", "--recall", "40@2", "--device", "cpu", name="recall")


def test_forced_reclaim(golden_trace: GoldenTrace) -> None:
    system = phone(package(MODEL), secure_kernel=Unwilling, use_npu=False)
    with golden_trace.system(system, "forced-reclaim"):
        generate(system, recalls=((4, 90),))
    system.dispose()


@pytest.mark.parametrize(("npu_app", "name"), [(False, "npu-jobs"), (True, "npu-recall")])
def test_npu(golden_trace: GoldenTrace, npu_app: bool, name: str) -> None:
    """Acquired, a token's jobs, released when the model is closed; and asked back by an app after each token."""
    system = phone(package(MODEL), npu_app=npu_app)
    system.open(SLOT)
    with golden_trace.system(system, name):
        system.generate(PROMPT, 2)
        system.close()
    system.dispose()


@pytest.mark.parametrize("attack", [attack.name for attack in ATTACKS])
def test_attack(golden_trace: GoldenTrace, attack: str) -> None:
    golden_trace.run("attack", attack, name=f"attack-{attack}", begin=BEGUN)
