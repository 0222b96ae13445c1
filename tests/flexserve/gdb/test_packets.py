"""The packet layer: what is framed comes out, whatever else the client sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexserve.gdb.packets import LARGEST, Control, Packet, Reader, TooLong, frame


def everything(reader: Reader) -> list[Packet | Control]:
    found = []
    while (item := reader.take()) is not None:
        found.append(item)
    return found


@given(content=st.binary(max_size=300), cut=st.integers(0, 300))
def test_packet_survives_the_way(content: bytes, cut: int) -> None:
    reader, data = Reader(), frame(content)
    reader.feed(data[:cut])
    before = everything(reader)
    reader.feed(data[cut:])
    assert before + everything(reader) == [Packet(content)]


@given(garbage=st.binary(max_size=200).filter(lambda data: b"$" not in data))
def test_packet_after_garbage_is_found(garbage: bytes) -> None:
    reader = Reader()
    reader.feed(garbage + frame(b"qC"))
    assert everything(reader)[-1] == Packet(b"qC")


@given(data=st.binary(max_size=2000))
def test_garbage_gives_nothing_that_is_not_framed(data: bytes) -> None:
    reader = Reader()
    reader.feed(data)
    assert all(isinstance(item, Packet | Control) for item in everything(reader))


def test_wrong_checksum_is_no_packet() -> None:
    reader = Reader()
    reader.feed(b"$qC#00")
    assert everything(reader) == [Control.BROKEN]


def test_interrupt_between_packets() -> None:
    reader = Reader()
    reader.feed(frame(b"c") + b"\x03" + frame(b"?"))
    assert everything(reader) == [Packet(b"c"), Control.INTERRUPT, Packet(b"?")]


def test_packet_without_end_is_refused() -> None:
    reader = Reader()
    reader.feed(b"$" + b"a" * (2 * LARGEST + 1))
    with pytest.raises(TooLong):
        reader.take()
