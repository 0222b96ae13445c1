"""The trusted block."""

from __future__ import annotations

import pytest

from emulator.devices.device import BusError
from emulator.devices.trusted import COUNTER_MAX, MAX_SLOTS, Slot, Trusted, fuse_key
from emulator.memory_map import TRUSTED

from .recorder import Recorder
from .rig import CODE, Rig

MODEL = bytes(range(16))


def trusted(device_id: int = 0, seed: int = 0) -> Trusted:
    return Trusted(TRUSTED, Recorder(), dram_bytes=1 << 30, device_id=device_id, seed=seed, power_off=lambda: None)


def bytes_of(device: Trusted, offset: int, words: int) -> bytes:
    return b"".join(device.read(offset + 4 * i, 4, True).to_bytes(4, "little") for i in range(words))


def test_dram_size_is_in_pages() -> None:
    assert trusted().read(Trusted.DRAM_PAGES.offset, 4, True) == 1 << 18


def test_fuses_hold_the_key_of_the_device_and_of_no_other() -> None:
    assert bytes_of(trusted(7), Trusted.FUSE_KEY.offset, 8) == fuse_key(7) != fuse_key(8)


def test_fuses_refuse_non_secure_accesses() -> None:
    with pytest.raises(BusError, match="FUSE_KEY"):
        trusted().read(Trusted.FUSE_KEY.at(7), 4, False)


def test_fuses_cannot_be_written() -> None:
    device = trusted()
    device.write(Trusted.FUSE_KEY.offset, 4, 0, True)
    assert bytes_of(device, Trusted.FUSE_KEY.offset, 8) == fuse_key(0)


def draw(device: Trusted, count: int) -> list[int]:
    return [device.read(Trusted.TRNG_DATA.offset, 4, True) for _ in range(count)]


def test_random_words_depend_on_the_seed_alone() -> None:
    assert draw(trusted(seed=1), 20) == draw(trusted(device_id=3, seed=1), 20)
    assert draw(trusted(seed=1), 20) != draw(trusted(seed=2), 20)
    assert len(set(draw(trusted(), 1000))) == 1000


def test_counters_only_ever_go_up() -> None:
    device = trusted()
    counter = Trusted.COUNTER.at(2)
    for written in (0, 100, 1):
        device.write(counter, 4, written, True)
    assert device.read(counter, 4, True) == 3
    assert device.read(Trusted.COUNTER.at(1), 4, True) == 0
    device._counters[2] = COUNTER_MAX
    device.write(counter, 4, 1, True)
    assert device.read(counter, 4, True) == COUNTER_MAX


def test_selected_slot_shows_what_was_provisioned() -> None:
    device = trusted()
    device.provision(Slot("other", bytes(16), 9))
    assert device.provision(Slot("Tinte", MODEL, 3)) == 1
    device.write(Trusted.SLOT_SELECT.offset, 4, 1, True)
    assert device.read(Trusted.SLOT_VALID.offset, 4, True) == 1
    assert device.read(Trusted.SLOT_MIN_VERSION.offset, 4, True) == 3
    assert bytes_of(device, Trusted.SLOT_MODEL_ID.offset, 4) == MODEL
    assert bytes_of(device, Trusted.SLOT_NAME.offset, 8) == b"Tinte".ljust(32, b"\0")


def test_empty_slot_is_invalid_and_shows_zeros() -> None:
    device = trusted()
    device.provision(Slot("one", MODEL, 3))
    device.write(Trusted.SLOT_SELECT.offset, 4, 5, True)
    assert device.read(Trusted.SLOT_VALID.offset, 4, True) == 0
    assert bytes_of(device, Trusted.SLOT_MODEL_ID.offset, 4) == bytes(16)


def test_slots_run_out_by_name() -> None:
    device = trusted()
    for index in range(MAX_SLOTS):
        device.provision(Slot(f"slot {index}", MODEL, 0))
    with pytest.raises(ValueError, match="'late' does not fit"):
        device.provision(Slot("late", MODEL, 0))


@pytest.mark.parametrize(
    ("name", "model_id", "version", "rule"),
    [
        ("", MODEL, 0, "1 to 32 bytes"),
        ("é" * 17, MODEL, 0, "1 to 32 bytes"),
        ("a", b"short", 0, "16 bytes, not 5"),
        ("a", MODEL, 1 << 32, "32-bit"),
    ],
)
def test_impossible_slots_are_refused(name: str, model_id: bytes, version: int, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Slot(name, model_id, version)


def test_power_off_halts_the_machine(rig: Rig) -> None:
    rig.board.trusted.write(Trusted.POWER_OFF.offset, 4, 0, True)
    rig.board.trusted.write(Trusted.POWER_OFF.offset, 4, 1, True)
    rig.machine.core.pc = CODE
    assert rig.machine.run().reason.name == "HALTED"
