"""The run of `flexserve exec`: an image from EL3 on the board that QEMU's virt has too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from emulator.gate import Notice

from .exec_image import prepare
from .exec_run import Outcome, Screen, drive
from .exec_screen import FileInput
from .recipe import FileReference, Recipe, Stage

LINE = "line"  # the notice of a line that a UART sent: which UART
PRINT = "print"  # the notice of what semihosting prints: whether as an error


@dataclass(frozen=True)
class ExecRecipe(Recipe):
    """``loads``: addresses and flat files; ``typed``: what comes in at UART0; ``rtc``: seconds since 1970."""

    kind: ClassVar[str] = "exec"

    image: FileReference
    loads: tuple[tuple[int, FileReference], ...]
    entry: int | None
    dram: int
    dtb: FileReference | None
    typed: FileReference | None
    rtc: int
    max_instructions: int | None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, object]) -> Self:
        values: dict[str, Any] = {name: parameters[name] for name in cls.__dataclass_fields__ if name != "kind"}
        values["loads"] = tuple((address, FileReference(path)) for address, path in values["loads"])
        for name in ("image", "dtb", "typed"):
            values[name] = FileReference(values[name]) if values[name] else None
        return cls(**values)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        values: dict[str, Any] = dict(options)
        values["loads"] = tuple((int(address), FileReference.read(file)) for address, file in values["loads"])
        for name in ("image", "dtb", "typed"):
            values[name] = None if values[name] is None else FileReference.read(values[name])
        return cls(**values)

    def options(self) -> dict[str, object]:
        values: dict[str, object] = dict(vars(self))
        values["loads"] = [[address, file.as_json()] for address, file in self.loads]
        for name in ("image", "dtb", "typed"):
            file = getattr(self, name)
            values[name] = file.as_json() if file else None
        return values

    def drive(self, stage: Stage) -> Outcome:
        typed = FileInput(self.typed.path.read_bytes() if self.typed else b"")
        return self.run(stage, _Watched(stage, typed))

    def run(self, stage: Stage, screen: Screen) -> Outcome:
        """The run, with somebody in front of it. Raises UserError, MachineError."""
        for file in (self.image, self.dtb, self.typed, *(file for _, file in self.loads)):
            if file:
                file.check()
        load = prepare(
            self.image.path,
            [(address, file.path) for address, file in self.loads],
            self.entry,
            self.dtb.path if self.dtb else None,
            self.dram,
        )
        return drive(
            load, self.dram, screen, stage.create_machine,
            command_line=self.image.path.name, clock_start=self.rtc, max_instructions=self.max_instructions,
        )  # fmt: skip


class _Watched:
    """A screen for a run without a user: what the board says goes to the stage, line by line."""

    def __init__(self, stage: Stage, typed: FileInput) -> None:
        self._stage = stage
        self._typed = typed

    def sent(self, uart: int, byte: int) -> None:
        """Comes with its line."""

    def sent_line(self, uart: int, line: bytes) -> None:
        self._stage.show(Notice(LINE, (uart,), line))

    def print(self, data: bytes, *, error: bool) -> None:
        self._stage.show(Notice(PRINT, (int(error),), data))

    def read(self, taken: int, *, wanted: bool, idle_seconds: float) -> bytes | None:
        return self._typed.read(taken, wanted=wanted, idle_seconds=idle_seconds)
