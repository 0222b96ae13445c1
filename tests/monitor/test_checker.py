"""When a machine is judged, and what becomes of a verdict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.world import World
from monitor import abi
from tests.firmware.gic import listen
from tests.firmware.phone import PAGE, Phone

from .breaks.by_hand import FREE, leaf, own, turn
from .breaks.code import stub_overwritten
from .breaks.registers import fiqs_not_el3s

STUB = "el2_runs_the_stub"


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone().boot()
    yield phone
    phone.machine.close()


def rules(phone: Phone) -> set[str]:
    return {one.rule for one in phone.machine.checker.broken()}


def test_call_that_leaves_a_rule_broken_fails_by_its_name(phone: Phone) -> None:
    stub_overwritten(phone)
    with pytest.raises(AssertionError, match=f"{STUB}: the EL2 stub is not its image's: "):
        phone.smc(abi.FLEX_VERSION.function)


def test_boot_is_judged_from_the_first_context_on() -> None:
    phone = Phone()
    stub_overwritten(phone)  # which boot installs: nothing is broken
    assert phone.run() == "arrive_boot"
    fiqs_not_el3s(phone)
    with pytest.raises(AssertionError, match="registers_name_one_context: SCR_EL3 is 0x"):
        phone.smc(abi.FLEX_VERSION.function)


def test_everything_that_is_broken_is_said(phone: Phone) -> None:
    stub_overwritten(phone)
    own(phone, FREE, abi.PageState.LOCKED)
    assert rules(phone) == {
        STUB, "normal_memory_is_mapped_by_owner", "pages_are_counted", "pages_change_hands_step_by_step",
    }  # fmt: skip


def test_rules_that_are_excused_are_not_asked(phone: Phone) -> None:
    phone.machine.excused = {STUB}
    stub_overwritten(phone)
    phone.smc(abi.FLEX_VERSION.function)
    own(phone, FREE, abi.PageState.LOCKED)
    with pytest.raises(AssertionError) as failed:
        phone.smc(abi.FLEX_VERSION.function)
    assert STUB not in str(failed.value)


def test_what_el3_is_at_is_its_own(phone: Phone) -> None:
    """In the middle of a call nothing need hold."""
    stub_overwritten(phone)
    phone.place(abi.FLEX_VERSION.function)
    phone.machine.run(phone.machine.instructions + 20)
    assert phone.core.level == 3


def test_monitor_that_has_panicked_is_not_judged(phone: Phone) -> None:
    phone.board.tzasc.write(phone.board.tzasc.REGION_ATTRIBUTES.register.at(3), 4, 1, secure=True)
    assert phone.smc(abi.MEM_ALLOCATE.function, PAGE, 1) == "monitor_halted"


def test_core_that_sleeps_at_el3_is_judged(phone: Phone) -> None:
    listen(phone)
    phone.set_timer(phone.machine.instructions + 100_000)
    stub_overwritten(phone)
    phone.place(abi.PSCI_CPU_SUSPEND.function)
    with pytest.raises(AssertionError, match=STUB):
        phone.machine.run()
    assert phone.core.level == 3


def test_state_that_comes_again_gets_the_same_verdict(phone: Phone) -> None:
    """A verdict that is remembered is that of what was looked at, in any order."""
    entry = leaf(phone, FREE)
    for _ in range(3):
        assert rules(phone) == set()
        turn(phone, entry, 1)
        assert rules(phone) == {"normal_memory_is_mapped_by_owner"}
        fiqs_not_el3s(phone)
        assert rules(phone) == {"normal_memory_is_mapped_by_owner", "registers_name_one_context"}
        turn(phone, entry, 1)
        assert rules(phone) == {"registers_name_one_context"}
        fiqs_not_el3s(phone)


def test_what_was_before_a_restored_state_is_forgotten(phone: Phone) -> None:
    """Going back is no step of a page's."""
    begin = phone.machine.save()
    phone.lock()
    phone.call(abi.MEM_RELEASE, PAGE, 1)
    phone.machine.restore(begin)
    phone.enter(World.SECURE)
    assert rules(phone) == set()
