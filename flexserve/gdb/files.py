"""The ELF files of what runs, as GDB fetches them from its target (vFile packets): so it has symbols by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .packets import LARGEST

NO_ENTRY, BAD_DESCRIPTOR = 2, 9  # errno


class Files:
    """``paths``: all that a client may read; the first one is the program."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.main = str(paths[0])
        self._known = {str(path): path for path in paths}
        self._open: dict[int, bytes] = {}
        self._next = 0

    def answer(self, request: str) -> bytes:
        """What follows ``vFile:``. Raises ValueError, KeyError for nonsense."""
        operation, _, parameters = request.partition(":")
        parts = parameters.split(",")
        if operation == "setfs":
            return b"F0"
        if operation == "open":
            return self._opened(bytes.fromhex(parts[0]).decode())
        if operation == "pread":
            return self._read(*(int(part, 16) for part in parts))
        if operation == "close":
            return b"F0" if self._open.pop(int(parts[0], 16), None) is not None else _failed(BAD_DESCRIPTOR)
        return b""

    def _opened(self, name: str) -> bytes:
        if name not in self._known:
            return _failed(NO_ENTRY)
        self._next += 1
        self._open[self._next] = self._known[name].read_bytes()
        return f"F{self._next:x}".encode()

    def _read(self, descriptor: int, count: int, offset: int) -> bytes:
        content = self._open.get(descriptor)
        if content is None:
            return _failed(BAD_DESCRIPTOR)
        part = content[offset : offset + min(count, LARGEST // 2 - 16)]
        return f"F{len(part):x};".encode() + part


def _failed(number: int) -> bytes:
    return f"F-1,{number:x}".encode()
