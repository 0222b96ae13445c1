"""Serves one client after another on a TCP port of this host."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

from flexserve.errors import UserError
from flexserve.stepper.session import Session

from .contexts import Contexts
from .files import Files
from .packets import ACK, NACK, Control, Packet, Reader, TooLong, frame
from .session import Client, Detached

HOST = "127.0.0.1"
CHUNK = 1 << 16


class Vanished(Exception):
    """The client is gone."""


def listen(port: int) -> socket.socket:
    """On ``port``; 0: on a free one. Raises UserError."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(f"port {port}: {error.strerror}; choose another with --port") from error


def serve(
    server: socket.socket,
    session: Session,
    contexts: Contexts,
    files: Files,
    say: Callable[[str], None],
    *,
    once: bool = False,
) -> None:
    """Until interrupted, or with ``once`` until the first client is gone; where the run stands stays between them."""
    while True:
        connection, _ = server.accept()
        say("a client has come")
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                _Conversation(connection, session, contexts, files, say).go_on()
            except Detached:
                say("the client has detached")
            except (Vanished, TooLong, ConnectionError) as error:
                say(f"the client is gone: {error}; the run stands where it stood")
        if once:
            return


class _Conversation:
    def __init__(
        self,
        connection: socket.socket,
        session: Session,
        contexts: Contexts,
        files: Files,
        say: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._reader = Reader()
        self._early: list[Packet | Control] = []  # came while the machine ran
        self._last = b""
        self._client = Client(session, contexts, files, self._wants_to_stop, say)

    def go_on(self) -> None:
        """Raises Detached, Vanished, TooLong."""
        while True:
            item = self._early.pop(0) if self._early else self._reader.take()
            if item is None:
                self._receive()
            elif isinstance(item, Packet):
                self._reply(item)
            elif item is Control.BROKEN and self._client.switches.acknowledges:
                self._connection.sendall(NACK)
            elif item is Control.RESEND:
                self._connection.sendall(self._last)

    def _reply(self, packet: Packet) -> None:
        if self._client.switches.acknowledges:
            self._connection.sendall(ACK)
        try:
            answer = self._client.answer(packet.content)
        except Detached:
            with contextlib.suppress(OSError):
                self._connection.sendall(frame(b"OK"))
            raise
        self._last = frame(answer)
        self._connection.sendall(self._last)

    def _receive(self) -> None:
        data = self._connection.recv(CHUNK)
        if not data:
            raise Vanished("it closed the connection")
        self._reader.feed(data)

    def _wants_to_stop(self) -> bool:
        """While the machine runs: whether Ctrl-C has come, or nobody is there any more."""
        while select.select([self._connection], [], [], 0)[0]:
            try:
                self._receive()
            except (Vanished, ConnectionError):
                return True
            while (item := self._reader.take()) is not None:
                if item is Control.INTERRUPT:
                    return True
                self._early.append(item)
        return False
