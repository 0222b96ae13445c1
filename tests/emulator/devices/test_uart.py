"""PL011, as drivers use it."""

from __future__ import annotations

import pytest

from emulator.devices.uart import FIFO_DEPTH, RECEIVE, RECEIVE_TIMEOUT, TRANSMIT, Uart
from emulator.memory_map import UART0

from .recorder import Recorder

DR, FR, LCR_H, CR, IMSC, RIS, MIS, ICR = 0x00, 0x18, 0x2C, 0x30, 0x38, 0x3C, 0x40, 0x44
ENABLE = 0x301
TXFE, RXFF, TXFF, RXFE = 1 << 7, 1 << 6, 1 << 5, 1 << 4


@pytest.fixture(name="lines")
def _lines() -> list[bytes]:
    return []


@pytest.fixture(name="uart")
def _uart(lines: list[bytes]) -> Uart:
    uart = Uart(UART0, Recorder(), lines.append)
    uart.write(CR, 4, ENABLE, True)
    return uart


def send(uart: Uart, text: bytes) -> None:
    for byte in text:
        uart.write(DR, 4, byte, True)


def test_sent_bytes_come_out_and_lines_are_told(uart: Uart, lines: list[bytes]) -> None:
    send(uart, b"one\ntwo\nthr")
    assert (bytes(uart.output), lines) == (b"one\ntwo\nthr", [b"one", b"two"])


def test_disabled_transmitter_keeps_what_its_fifo_holds(uart: Uart) -> None:
    uart.write(CR, 4, 0, True)
    send(uart, bytes(range(FIFO_DEPTH + 1)))
    assert uart.read(FR, 4, True) == TXFF | RXFE
    assert not uart.output
    uart.write(CR, 4, ENABLE, True)
    assert bytes(uart.output) == bytes(range(FIFO_DEPTH))
    assert uart.read(FR, 4, True) == TXFE | RXFE


def test_received_bytes_are_read_in_order(uart: Uart) -> None:
    uart.receive(b"ok")
    assert uart.read(FR, 4, True) == TXFE
    assert [uart.read(DR, 4, True), uart.read(DR, 4, True)] == [ord("o"), ord("k")]
    assert uart.read(FR, 4, True) == TXFE | RXFE
    assert uart.read(DR, 4, True) == 0


def test_receive_fifo_fills_at_16(uart: Uart) -> None:
    uart.receive(bytes(FIFO_DEPTH))
    assert uart.read(FR, 4, True) & RXFF


def test_receive_interrupts_by_level_and_timeout(uart: Uart) -> None:
    uart.write(LCR_H, 4, 0x70, True)
    uart.receive(b"1234567")
    assert uart.read(RIS, 4, True) == RECEIVE_TIMEOUT
    uart.receive(b"8")
    assert uart.read(RIS, 4, True) == RECEIVE | RECEIVE_TIMEOUT
    uart.write(IMSC, 4, RECEIVE, True)
    assert uart.read(MIS, 4, True) == RECEIVE


def test_transmit_interrupt_is_cleared_by_icr(uart: Uart) -> None:
    send(uart, b"x")
    assert uart.read(RIS, 4, True) == TRANSMIT
    uart.write(ICR, 4, TRANSMIT, True)
    assert uart.read(RIS, 4, True) == 0


def test_takes_the_narrow_accesses_of_linux_and_firmware(uart: Uart) -> None:
    uart.write(DR, 1, ord("a"), True)
    uart.write(DR, 2, ord("b"), True)
    assert bytes(uart.output) == b"ab"
    assert uart.read(FR, 2, True) == TXFE | RXFE


def test_identification(uart: Uart) -> None:
    assert [uart.read(0xFE0 + 4 * i, 4, True) for i in range(8)] == [0x11, 0x10, 0x34, 0, 0x0D, 0xF0, 0x05, 0xB1]
