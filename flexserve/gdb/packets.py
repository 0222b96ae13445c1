"""Packets of the GDB remote serial protocol (GDB manual, appendix E): bytes in, packets out, and back.

Nothing here knows what packets mean. What a client sends may be anything; only what has the right frame and checksum
comes out.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

LARGEST = 0x4000  # bytes of a packet's content, as qSupported says
START, END, ESCAPE, REPEAT, INTERRUPT = b"$", b"#", 0x7D, 0x2A, 0x03
ESCAPED = frozenset(b"$#}*")
FLIP = 0x20
ACK, NACK = b"+", b"-"


class Control(enum.Enum):
    """What is not a packet."""

    INTERRUPT = "Ctrl-C"
    BROKEN = "a packet with a wrong checksum"
    ACKNOWLEDGED = "the client has our last packet"
    RESEND = "it has not"


@dataclass(frozen=True)
class Packet:
    """Its content, unescaped."""

    content: bytes


class TooLong(Exception):
    """The client sends without end and without sense."""


class Reader:
    """Takes bytes as they come, gives packets and controls as they are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> Packet | Control | None:
        """The next one; None: it is not complete yet. Raises TooLong."""
        while self._buffer:
            first = self._buffer[0]
            if first == START[0]:
                return self._packet()
            del self._buffer[0]
            if first == INTERRUPT:
                return Control.INTERRUPT
            if first in ACK:
                return Control.ACKNOWLEDGED
            if first in NACK:
                return Control.RESEND
        return None

    def _packet(self) -> Packet | Control | None:
        end = self._buffer.find(END)
        if end < 0 or len(self._buffer) < end + 3:
            if len(self._buffer) > 2 * LARGEST:
                raise TooLong(f"a packet of more than {LARGEST} bytes")
            return None
        body, checksum = bytes(self._buffer[1:end]), bytes(self._buffer[end + 1 : end + 3])
        del self._buffer[: end + 3]
        if checksum.lower() != b"%02x" % (sum(body) & 0xFF):
            return Control.BROKEN
        return Packet(unescape(body))


def frame(content: bytes) -> bytes:
    """A packet with this content, escaped."""
    body = escape(content)
    return START + body + END + b"%02x" % (sum(body) & 0xFF)


def escape(content: bytes) -> bytes:
    out = bytearray()
    for byte in content:
        if byte in ESCAPED:
            out += bytes((ESCAPE, byte ^ FLIP))
        else:
            out.append(byte)
    return bytes(out)


def unescape(body: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(body):
        if body[at] == ESCAPE and at + 1 < len(body):
            out.append(body[at + 1] ^ FLIP)
            at += 2
        else:
            out.append(body[at])
            at += 1
    return bytes(out)
