"""ELF images: what is loaded where, and the symbols."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection


class ImageError(ValueError):
    """A file that is not an image of this machine."""


@dataclass(frozen=True)
class Segment:
    """``data`` at physical address ``address``, followed by zeros up to ``size`` bytes."""

    address: int
    data: bytes
    size: int


@dataclass(frozen=True)
class Image:
    """An AArch64 executable; addresses are as linked, a position-independent image is linked at 0.

    ``sizes``: of what symbols name, in bytes. Of several symbols of one name the last one counts.
    """

    name: str
    entry: int
    segments: tuple[Segment, ...]
    symbols: Mapping[str, int]
    sizes: Mapping[str, int]

    @classmethod
    def load(cls, path: Path) -> Image:
        """Read an ELF file. Raises ImageError naming what is wrong with it."""
        try:
            return cls.parse(path.stem, path.read_bytes())
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}") from error

    @classmethod
    def parse(cls, name: str, content: bytes) -> Image:
        try:
            elf = ELFFile(io.BytesIO(content))
            if elf.get_machine_arch() != "AArch64":
                raise ImageError(f"{name} is an ELF file for {elf.get_machine_arch()}, not for AArch64")
            symbols = _symbols_if_sound(elf)
            addresses = {name: address for name, (address, _) in symbols.items()}
            sizes = {name: size for name, (_, size) in symbols.items()}
            return cls(name, elf.header["e_entry"], _segments(elf), addresses, sizes)
        except ELFError as error:
            raise ImageError(f"{name} is not an ELF file: {error}") from error


def _segments(elf: ELFFile) -> tuple[Segment, ...]:
    return tuple(
        Segment(segment["p_paddr"], segment.data(), segment["p_memsz"])
        for segment in elf.iter_segments("PT_LOAD")
        if segment["p_memsz"]
    )


def _symbols_if_sound(elf: ELFFile) -> dict[str, tuple[int, int]]:
    """None where the sections are damaged, as stripping tools leave them: an image runs by its segments."""
    try:
        return _symbols(elf)
    except ELFError:
        return {}


def _symbols(elf: ELFFile) -> dict[str, tuple[int, int]]:
    """Address and size by name."""
    tables = (section for section in elf.iter_sections() if isinstance(section, SymbolTableSection))
    return {
        symbol.name: (symbol["st_value"], symbol["st_size"])
        for table in tables
        for symbol in table.iter_symbols()
        if symbol.name and symbol["st_shndx"] != "SHN_UNDEF" and not symbol.name.startswith("$")
    }
