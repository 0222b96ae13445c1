"""The ownership table, and what the monitor counts of it."""

from __future__ import annotations

from emulator.memory_map import PAGE_SIZE
from monitor.abi import REVOKED, PageState
from tests.firmware.phone import Phone

from .by_hand import FREE, HIDDEN, Break, count, own, variable

CARVE_OUT, SECURE_DRAM = 1 << 4, 2 << 4


def secure_dram_said_to_be_carve_out(phone: Phone) -> None:
    own(phone, phone.layout.secure_base, CARVE_OUT | PageState.RESERVED)


def last_normal_page_reserved(phone: Phone) -> None:
    own(phone, phone.layout.carve_out_base - PAGE_SIZE, CARVE_OUT | PageState.RESERVED)


def first_carve_out_page_normal(phone: Phone) -> None:
    own(phone, phone.layout.carve_out_base, PageState.NORMAL)


def carve_out_said_to_be_locked(phone: Phone) -> None:
    own(phone, phone.layout.carve_out_base, CARVE_OUT | PageState.LOCKED)


def page_in_a_state_that_is_none(phone: Phone) -> None:
    own(phone, FREE, 5)


def locked_page_revoked(phone: Phone) -> None:
    own(phone, HIDDEN, PageState.LOCKED | REVOKED)


def normal_page_reserved(phone: Phone) -> None:
    own(phone, FREE, PageState.RESERVED)


def locked_pages_miscounted(phone: Phone) -> None:
    count(phone, LOCKED=1)


def normal_pages_miscounted(phone: Phone) -> None:
    count(phone, NORMAL=-1)


def revoked_pages_miscounted(phone: Phone) -> None:
    variable(phone, "revoked_pages", 1)


def revoked_page_forgotten(phone: Phone) -> None:
    own(phone, FREE, REVOKED)


def more_owed_than_there_is(phone: Phone) -> None:
    variable(phone, "owed", 5)


BREAKS = (
    Break("pages_have_their_region", secure_dram_said_to_be_carve_out),
    Break("pages_have_their_region", last_normal_page_reserved),
    Break("pages_have_their_region", first_carve_out_page_normal),
    Break("pages_have_their_region", carve_out_said_to_be_locked),
    Break("pages_have_one_state", page_in_a_state_that_is_none),
    Break("pages_have_one_state", locked_page_revoked),
    Break("pages_have_one_state", normal_page_reserved),
    Break("pages_are_counted", locked_pages_miscounted),
    Break("pages_are_counted", normal_pages_miscounted),
    Break("pages_are_counted", revoked_pages_miscounted),
    Break("pages_are_counted", revoked_page_forgotten),
    Break("owed_pages_exist", more_owed_than_there_is),
)
