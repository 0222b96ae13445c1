"""The SMC table keeps the conventions (SMCCC 1.5) and decodes what passes through registers."""

from __future__ import annotations

import pytest

from emulator.world import World
from monitor import abi
from monitor.abi import Call, Status

CALLS = pytest.mark.parametrize("call", abi.CALLS, ids=lambda call: call.name)
ARM, STANDARD_SECURE, VENDOR_EL3, TRUSTED_OS = 0, 4, 7, 50


def test_numbers_and_names_are_unique() -> None:
    assert len({call.function for call in abi.CALLS}) == len({call.name for call in abi.CALLS}) == len(abi.CALLS)


@CALLS
def test_function_identifier_follows_the_convention(call: Call) -> None:
    owner = call.function >> 24 & 0x3F
    assert call.function & 0x00FF_0000 == 0  # bits 23:17 must be zero, the hint bit is none of ours
    assert owner in (ARM, STANDARD_SECURE, VENDOR_EL3, TRUSTED_OS)
    assert call.is_fast or owner == TRUSTED_OS  # yielding calls belong to a trusted OS
    addresses = any(word.kind is abi.Kind.ADDRESS for word in (*call.args, *call.returns))
    assert call.is_smc64 or not addresses


@CALLS
def test_fits_the_registers(call: Call) -> None:
    assert len(call.args) <= 5
    assert len(call.returns) <= 6
    assert call.what.endswith(".")


def test_own_status_codes_keep_clear_of_the_conventions() -> None:
    smccc = {Status.SUCCESS: 0, Status.NOT_SUPPORTED: -1, Status.INVALID_PARAMETER: -3}
    assert all(status == smccc.get(status, status) for status in Status)
    assert all(status <= -16 for status in Status if status < 0 and status not in smccc)
    assert 0xFFFF_FFFF not in abi.UID


def test_finds_a_call_by_what_is_in_x0() -> None:
    assert abi.find(0xC700_0111) is abi.MEM_LOCK
    assert abi.find(0xC700_0111 | abi.HINT | 1 << 40) is abi.MEM_LOCK
    assert abi.find(0xC702_0111) is None
    assert abi.NAMES[0x7200_0000] == "SECURE_CALL"


def test_decodes_arguments_and_results_by_name() -> None:
    assert abi.MEM_RECLAIM.arguments([0x4800_0000, 3, 1, 99, 99]) == {"base": 0x4800_0000, "pages": 3, "flags": 1}
    assert abi.PSCI_FEATURES.arguments([0xFFFF_0000_8400_0000]) == {"function": 0x8400_0000}
    assert abi.MEM_LOCK.results([0, 64, 7]) == {"status": Status.SUCCESS, "done": 64}
    assert abi.MEM_LOCK.results([(1 << 64) - 17, 64]) == {"status": Status.WRONG_STATE}
    assert abi.SECURE_CALL.results([1, 2, 3, 4, 5, 6])["status"] == Status.RPC


def test_worlds() -> None:
    assert abi.MEM_LOCK.permits(World.SECURE) and not abi.MEM_LOCK.permits(World.NORMAL)
    assert all(abi.FLEX_VERSION.permits(world) for world in World)
