"""What tests of the firmware share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .attempt import Start
from .gic import listen
from .interrupts import AHEAD
from .phone import Phone


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    phone = Phone()
    off = phone.machine.save()
    phone.boot()
    listen(phone)
    phone.set_timer(AHEAD)
    yield Start(phone, off, phone.machine.save())
    phone.machine.close()
