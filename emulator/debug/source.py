"""Where the code of everything in a machine comes from: each image at the place where it was loaded."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from emulator.debug.dwarf import CallFrame, DebugInfo, Function, SourceLine


@dataclass(frozen=True)
class Placed:
    """An image, or a part of it, in memory: addresses ``start`` to ``end`` hold what is linked ``bias`` lower."""

    name: str
    info: DebugInfo
    start: int
    end: int
    bias: int

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end


class SourceMap:
    """Addresses and source lines of a whole machine, both ways. ``root``: the folder that source paths start from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: list[Placed] = []

    def add(self, name: str, info: DebugInfo, start: int, end: int, bias: int = 0) -> None:
        """Say that addresses ``start`` to ``end`` (exclusive) hold code that ``info`` knows ``bias`` lower."""
        self.images.append(Placed(name, info, start, end, bias))

    def image_at(self, address: int) -> Placed | None:
        return next((image for image in self.images if address in image), None)

    def line_at(self, address: int) -> SourceLine | None:
        image = self.image_at(address)
        return image.info.line_at(address - image.bias) if image else None

    def function_at(self, address: int) -> Function | None:
        """The C function around ``address``, its own addresses as linked."""
        image = self.image_at(address)
        return image.info.function_at(address - image.bias) if image else None

    def call_frame_at(self, address: int) -> CallFrame | None:
        image = self.image_at(address)
        return image.info.call_frame_at(address - image.bias) if image else None

    def name_at(self, address: int) -> str | None:
        """The place in words: ``monitor:mem_lock+0x10``."""
        image = self.image_at(address)
        symbol = image.info.symbol_at(address - image.bias) if image else None
        if image is None or symbol is None:
            return None
        return f"{image.name}:{symbol[0]}" + (f"+{symbol[1]:#x}" if symbol[1] else "")

    def addresses_of_line(self, path: str, line: int) -> tuple[int, ...]:
        """Where a breakpoint at a line belongs, in every image that has it; see `DebugInfo.addresses_of`."""
        found = ((image, image.bias + place) for image in self.images for place in image.info.addresses_of(path, line))
        return tuple(sorted({address for image, address in found if address in image}))

    def addresses_of_symbol(self, name: str) -> tuple[int, ...]:
        """Every place that is called ``name``, or ``image:name``."""
        wanted, _, symbol = name.rpartition(":")
        return tuple(
            sorted(
                address + image.bias
                for image in self.images
                for address, label in image.info.symbols
                if label == symbol and wanted in ("", image.name) and address + image.bias in image
            )
        )

    @functools.cached_property
    def symbols(self) -> tuple[str, ...]:
        """Every name that `addresses_of_symbol` knows, for completion."""
        return tuple(sorted({label for image in self.images for _, label in image.info.symbols}))

    def text(self, path: str) -> tuple[str, ...] | None:
        """The lines of a source file; None if it is not there."""
        return _read(self.root / path)

    def text_at(self, source: SourceLine) -> str | None:
        lines = self.text(source.path)
        return lines[source.line - 1] if lines and source.line <= len(lines) else None


@functools.lru_cache(maxsize=256)
def _read(path: Path) -> tuple[str, ...] | None:
    try:
        return tuple(path.read_text(errors="replace").splitlines())
    except OSError:
        return None
