"""What `flexserve exec` puts into memory before the core starts, and where the core starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.image import Image, ImageError
from emulator.memory_map import DRAM_BASE, FLASH0, FLASH1, SECURE_SRAM
from emulator.virt.device_tree import build
from emulator.virt.tree import TreeError, check

from .errors import UserError

ELF_MAGIC = b"\x7fELF"
FLASH_BASE = FLASH0.base


@dataclass(frozen=True)
class Piece:
    """``data`` at physical address ``address``, followed by zeros up to ``size`` bytes; ``origin`` is a file's name."""

    address: int
    data: bytes
    size: int
    origin: str

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True)
class Load:
    """Everything that is in memory when the core starts at ``entry``; ``symbols`` of the image, if it has any.

    ``has_tree``: a device tree is at the start of DRAM.
    """

    pieces: tuple[Piece, ...]
    entry: int
    symbols: dict[str, int]
    has_tree: bool

    def free_memory(self, dram_bytes: int) -> tuple[int, int]:
        """Begin and end of the largest part of DRAM that nothing was loaded into."""
        ends = sorted((piece.address, piece.end) for piece in self.pieces if piece.address >= DRAM_BASE)
        best, begin = (DRAM_BASE, DRAM_BASE), DRAM_BASE
        for address, end in [*ends, (DRAM_BASE + dram_bytes, DRAM_BASE + dram_bytes)]:
            if address - begin > best[1] - best[0]:
                best = (begin, address)
            begin = max(begin, end)
        return best


def prepare(
    image: Path, loads: Sequence[tuple[int, Path]], entry: int | None, tree: Path | None, dram_bytes: int
) -> Load:
    """Read all files.

    ``loads`` are flat files with their addresses, and come after the image. A flat image lies at ``entry``, or in
    flash at 0. ``tree`` None: the board's own. Raises UserError.
    """
    content = _read(image)
    symbols: dict[str, int] = {}
    if content.startswith(ELF_MAGIC):
        parsed = _parse(image, content)
        pieces = [Piece(part.address, part.data, part.size, str(image)) for part in parsed.segments]
        symbols = dict(parsed.symbols)
        start = parsed.entry if entry is None else entry
    else:
        start = FLASH_BASE if entry is None else entry
        pieces = [Piece(start, content, len(content), str(image))]
    for address, path in loads:
        data = _read(path)
        pieces.append(Piece(address, data, len(data), str(path)))
    for piece in pieces:
        _check_place(piece, dram_bytes)
    blob = build(dram_bytes) if tree is None else _read_tree(tree)
    tree_piece = Piece(DRAM_BASE, blob, len(blob), str(tree or "device tree"))
    fits = not any(_overlap(piece, tree_piece) for piece in pieces)
    if fits:
        _check_place(tree_piece, dram_bytes)
        pieces.append(tree_piece)
    elif tree is not None:
        raise UserError(f"{tree} belongs at {DRAM_BASE:#x}, the start of DRAM, and an image lies there")
    return Load(tuple(pieces), start, symbols, has_tree=fits)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    if not content:
        raise UserError(f"{path} is empty")
    return content


def _read_tree(path: Path) -> bytes:
    try:
        return check(_read(path))
    except TreeError as error:
        raise UserError(f"{path} is no device tree: {error}") from error


def _parse(path: Path, content: bytes) -> Image:
    try:
        image = Image.parse(str(path), content)
    except ImageError as error:
        raise UserError(str(error)) from error
    if not image.segments:
        raise UserError(f"{path} has nothing to load: link it (an object file has no program headers)")
    return image


def _check_place(piece: Piece, dram_bytes: int) -> None:
    memories = (
        (FLASH0.base, FLASH1.end, "flash"),
        (SECURE_SRAM.base, SECURE_SRAM.end, "secure RAM"),
        (DRAM_BASE, DRAM_BASE + dram_bytes, "DRAM"),
    )
    if not any(begin <= piece.address and piece.end <= end for begin, end, _ in memories):
        places = ", ".join(f"{name} {begin:#x}..{end:#x}" for begin, end, name in memories)
        raise UserError(
            f"{piece.origin} does not fit: {piece.address:#x}..{piece.end:#x} is not within one memory ({places})"
        )


def _overlap(one: Piece, other: Piece) -> bool:
    return one.address < other.end and other.address < one.end
