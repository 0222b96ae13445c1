"""Register windows that the bus serves natively: their declarations name what the native model holds."""

from __future__ import annotations

from typing import ClassVar, Protocol

from emulator.registers import RegisterMap


class NativeWindow(Protocol):
    """The native model behind a window."""

    def peek(self, offset: int) -> int:
        """A 32-bit register as it stands; nothing happens by it."""

    def read(self, offset: int, size: int, secure: bool) -> int: ...

    def write(self, offset: int, size: int, value: int, secure: bool) -> None: ...


class _Contents(dict[int, int]):
    """The native registers by offset, as they stand."""

    def __init__(self, native: NativeWindow) -> None:
        super().__init__()
        self._native = native

    def __missing__(self, offset: int) -> int:
        return self._native.peek(offset)


class Frame(RegisterMap):
    """A window of registers whose accesses the bus serves natively."""

    held: ClassVar[tuple[str, ...]] = ()

    def __init__(self, native: NativeWindow) -> None:
        super().__init__()
        self._native = native
        self.values = _Contents(native)

    def read(self, offset: int, size: int, secure: bool) -> int:
        """What the bus would read, side effects included."""
        return self._native.read(offset, size, secure)

    def write(self, offset: int, size: int, value: int, secure: bool) -> None:
        self._native.write(offset, size, value, secure)
