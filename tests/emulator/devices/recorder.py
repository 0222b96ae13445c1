"""What a device tells, for tests of a device by itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Recorder:
    """An EventSink: (offset, value) of programmed registers, (offset, value, write) of undeclared accesses."""

    programmed: list[tuple[int, int]] = field(default_factory=list)
    strange: list[tuple[int, int, bool]] = field(default_factory=list)

    def device_write(self, device: int, offset: int, size: int, value: int, secure: bool) -> None:
        self.programmed.append((offset, value))

    def undeclared(self, device: int, offset: int, size: int, value: int, write: bool, secure: bool) -> None:
        self.strange.append((offset, value, write))
