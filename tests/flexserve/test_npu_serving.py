"""A model served with the NPU: the tokens are the plain reference's, whoever drives it and whoever else uses it."""

from __future__ import annotations

import pytest

from emulator.gate import Flow
from monitor.abi import MINIMUM_DEADLINE
from nworld import background, npu_share
from nworld.attacks.drivers import NeverAnswers, ReadsMemory, ReportsEarly, RunsTheFirstProgramOnly, Skips
from nworld.npu_sandbox import NpuSandbox
from sworld.kernel import SecureKernel
from sworld.npu import MAX_FAILURES
from tests.flexserve.phone import PROMPT, SLOT, greedy, package, phone, reference

MODEL = 2
TOKENS = 8
RECALLS = (((1, 30),), ((3, 1),), ((2, 64), (5, 1_000_000)))


@pytest.fixture(name="expected", scope="module")
def _expected() -> tuple[int, ...]:
    return greedy(reference(MODEL), TOKENS)


@pytest.mark.parametrize("npu_app", [False, True])
@pytest.mark.parametrize("recalls", [(), *RECALLS])
def test_tokens_are_right_under_any_recall(
    recalls: tuple[tuple[int, int], ...], npu_app: bool, expected: tuple[int, ...]
) -> None:
    system = phone(package(MODEL), npu_app=npu_app)
    system.open(SLOT)
    assert system.generate(PROMPT, TOKENS, recalls=recalls).tokens == expected
    usage = system.usage().npu
    assert usage.jobs > 0 and usage.macs > 0
    assert (usage.normal_jobs > 0) == npu_app
    system.dispose()


class KeepsTheNpu(SecureKernel):
    """Gives the NPU back only when it is lost already."""

    def _boot(self, base: int, end: int) -> Flow[None]:
        yield from super()._boot(base, end)
        assert self.npu
        self.npu.asked_back = self._asked_back  # type: ignore[method-assign]

    def _asked_back(self, lost: int) -> Flow[None]:
        assert self.npu
        self.npu.state.owned &= not lost
        yield from ()


@pytest.mark.parametrize("tick", [3_989, 100_003])
@pytest.mark.parametrize("secure_kernel", [SecureKernel, KeepsTheNpu])
def test_tokens_are_right_whenever_the_tick_comes(
    tick: int, secure_kernel: type[SecureKernel], expected: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the secure world, in the driver, in its waits; and the app takes the NPU by force if it must."""
    monkeypatch.setattr(background, "TICK", tick)
    monkeypatch.setattr(npu_share, "RECALL_TICKS", MINIMUM_DEADLINE)
    system = phone(package(MODEL), npu_app=True, secure_kernel=secure_kernel)
    system.open(SLOT)
    assert system.generate(PROMPT, TOKENS, recalls=RECALLS[2]).tokens == expected
    usage = system.usage()
    assert usage.smc["SECURE_RESUME"] - usage.smc["SECURE_RPC"] > 2_000_000 // tick
    assert usage.npu.normal_jobs > 0
    assert (system.normal.share.state.forced > 0) == (secure_kernel is KeepsTheNpu)
    system.dispose()


@pytest.mark.parametrize("driver", [Skips, RunsTheFirstProgramOnly, ReportsEarly, ReadsMemory, NeverAnswers])
def test_tokens_are_right_whatever_the_driver_does(driver: type[NpuSandbox], expected: tuple[int, ...]) -> None:
    system = phone(package(MODEL), driver_context=driver)
    system.open(SLOT)
    assert system.generate(PROMPT, TOKENS).tokens == expected
    assert system.secure.npu and system.secure.npu.state.failed == MAX_FAILURES
    assert system.usage().npu.jobs == 0
    system.dispose()


def test_every_page_returns_and_the_npu_as_well() -> None:
    system = phone(package(MODEL))
    before = system.normal.pages.free_pages
    system.open(SLOT)
    system.generate(PROMPT, 3)
    system.close()
    assert system.normal.pages.free_pages == before
    assert system.secure.npu and not system.secure.npu.state.owned
    system.dispose()
