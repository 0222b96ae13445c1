"""The message table: every number has a row, rows fit the registers, descriptors survive their way through memory."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.services.messages import (
    EXPLANATIONS,
    MESSAGES,
    SLOT_NAME_BYTES,
    DriverOperation,
    GenerateRequest,
    OpenRequest,
    Request,
    Service,
    ServiceStatus,
)

ARGUMENTS = {Service: 4, Request: 3, DriverOperation: 4}  # x2-x5 of SECURE_CALL, of DRIVER_CALL; x3-x5 of SECURE_RPC
RESULTS = {Service: 4, Request: 3, DriverOperation: 4}  # x2-x5 of SECURE_DONE, of DRIVER_RETURN; x3-x5 of SECURE_RESUME

offsets = st.integers(0, 2**64 - 1)
floats = st.floats(width=32, allow_nan=False)


def test_every_service_and_request_has_exactly_one_row() -> None:
    assert [message.number for message in MESSAGES] == [*Service, *Request, *DriverOperation]


def test_rows_fit_the_registers() -> None:
    for message in MESSAGES:
        assert len(message.arguments) <= ARGUMENTS[type(message.number)], message
        assert len(message.results) <= RESULTS[type(message.number)], message


def test_every_refusal_is_explained() -> None:
    assert set(EXPLANATIONS) == set(ServiceStatus) - {ServiceStatus.DONE}


@given(st.builds(GenerateRequest, offsets, offsets, offsets, offsets, offsets, floats, floats))
def test_generate_request_survives_packing(request: GenerateRequest) -> None:
    data = request.pack()
    assert len(data) == GenerateRequest.SIZE == struct.calcsize("<QQQQQff")
    assert GenerateRequest.unpack(data) == request


@given(st.text().filter(lambda name: len(name.encode()) <= SLOT_NAME_BYTES and not name.endswith("\0")))
def test_open_request_survives_packing(name: str) -> None:
    data = OpenRequest(name).pack()
    assert len(data) == OpenRequest.SIZE
    assert OpenRequest.unpack(data).slot == name


def test_slot_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 32 bytes"):
        OpenRequest("x" * 33).pack()
