"""NPU_MAP's rights: what the NPU may not write to, its table does not let it write to."""

from __future__ import annotations

import pytest

from emulator.memory_map import PAGE_SIZE
from monitor import abi
from monitor.memory import CarveOut
from monitor.view import read_stage2
from tests.firmware.phone import PAGE, Phone

READ, READ_WRITE = 0b01 << 6, 0b11 << 6  # S2AP (Arm ARM D8.4)
S2AP = 0b11 << 6
IOVA = 0x10_0000


@pytest.fixture(name="phone")
def _phone() -> Phone:
    return Phone().boot()


def rights(phone: Phone) -> dict[int, int]:
    mapping = read_stage2(phone.machine, phone.layout.carve_out_base + CarveOut.NPU_ROOT)
    return {
        int(iova): int(descriptor) & S2AP for iova, descriptor in zip(mapping.inputs, mapping.descriptors, strict=True)
    }


def test_pages_are_written_to_only_where_the_secure_world_says_so(phone: Phone) -> None:
    phone.lock(PAGE, 3)
    assert phone.call(abi.NPU_MAP, IOVA, PAGE, 2, 0) == {"status": 0, "done": 2}
    assert phone.call(abi.NPU_MAP, 0, PAGE + 2 * PAGE_SIZE, 1, abi.NPU_WRITE) == {"status": 0, "done": 1}
    assert rights(phone) == {0: READ_WRITE, IOVA: READ, IOVA + PAGE_SIZE: READ}


@pytest.mark.parametrize("flags", [2, 3, 1 << 63])
def test_unknown_flags_are_refused_and_nothing_is_mapped(phone: Phone, flags: int) -> None:
    phone.lock()
    assert phone.status(abi.NPU_MAP, IOVA, PAGE, 1, flags) == abi.Status.INVALID_PARAMETER
    assert rights(phone) == {}
