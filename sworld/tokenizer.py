"""SentencePiece's byte-pair tokenizer as GGUF carries it: scored pieces, merged best first, bytes as a last resort.

Two things are not SentencePiece's: a user-defined piece may be written with plain spaces, as converters to GGUF do, and
unused pieces take no part at all, where SentencePiece merges and then splits them.
"""

from __future__ import annotations

import enum
import heapq
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece writes a space this way
NO_TOKEN = 0xFFFF_FFFF
MAX_PIECE = 0xFFFF

_HEAD = struct.Struct("<5I")  # pieces, flags, begin, end, unknown
_ADD_BEGIN, _ADD_SPACE, _SQUEEZE_SPACES = 1, 2, 4


class TokenizerError(ValueError):
    """A vocabulary that cannot work; the message says why."""


class PieceType(enum.IntEnum):
    """tokenizer.ggml.token_type of GGUF."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary and how text is prepared for it; ``begin``, ``end`` and ``unknown`` are token ids."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[PieceType, ...]
    begin: int
    end: int
    unknown: int
    add_begin: bool
    add_space: bool
    squeeze_spaces: bool
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)
    _bytes: dict[int, int] = field(init=False, repr=False, compare=False)
    _whole: Sequence[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.pieces)
        if not count or len(self.scores) != count or len(self.types) != count:
            raise TokenizerError("a vocabulary wants a score and a type for each piece, and at least one piece")
        for name, token in (("begin", self.begin), ("end", self.end), ("unknown", self.unknown)):
            if token >= count and token != NO_TOKEN:
                raise TokenizerError(f"the {name} token is {token}, the vocabulary has {count} pieces")
        for token, score in enumerate(self.scores):
            if math.isnan(score):
                raise TokenizerError(f"the score of piece {token} is no number")
        ids: dict[str, int] = {}
        own_bytes: dict[int, int] = {}
        whole: set[str] = set()
        for token, (piece, kind) in enumerate(zip(self.pieces, self.types, strict=True)):
            match kind:
                case PieceType.BYTE:
                    own_bytes[_byte_value(piece)] = token
                case PieceType.NORMAL:
                    ids.setdefault(piece, token)
                case PieceType.USER_DEFINED if piece:
                    escaped = piece.replace(" ", SPACE)
                    ids.setdefault(escaped, token)
                    whole.add(escaped)
        object.__setattr__(self, "_ids", ids)
        object.__setattr__(self, "_bytes", own_bytes)
        object.__setattr__(self, "_whole", sorted(whole, key=lambda piece: (-len(piece), piece)))

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, with the begin token if the model wants one."""
        if self.squeeze_spaces:
            text = " ".join(part for part in text.split(" ") if part).rstrip(SPACE + " ")
        if self.add_space and text:
            text = " " + text
        start = [self.begin] if self.add_begin and self.begin != NO_TOKEN else []
        return start + [token for piece in self._merged(text.replace(" ", SPACE)) for token in self._tokens(piece)]

    def piece(self, token: int) -> bytes:
        """The text of a token; of a byte token, its byte. Control tokens have none."""
        match self.types[token]:
            case PieceType.BYTE:
                return bytes([_byte_value(self.pieces[token])])
            case PieceType.NORMAL | PieceType.USER_DEFINED:
                return self.pieces[token].replace(SPACE, " ").encode()
            case PieceType.UNKNOWN:
                return "\N{REPLACEMENT CHARACTER}".encode()
            case _:
                return b""

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def _tokens(self, piece: str) -> list[int]:
        if piece in self._ids:
            return [self._ids[piece]]
        encoded = piece.encode()
        if all(byte in self._bytes for byte in encoded):
            return [self._bytes[byte] for byte in encoded]
        return [self.unknown] if self.unknown != NO_TOKEN else []

    def _merged(self, text: str) -> list[str]:
        """Neighbours are joined, the best score first and the leftmost of equals, until no join is a piece.

        User-defined pieces stay as they are.
        """
        parts: list[str | None] = list(self._split(text))
        fixed = set(self._whole)
        after = list(range(1, len(parts) + 1))
        before = list(range(-1, len(parts) - 1))
        candidates: list[tuple[float, int, int, str]] = []

        def consider(left: int) -> None:
            right = after[left] if left >= 0 else len(parts)
            if left < 0 or right == len(parts) or parts[left] in fixed or parts[right] in fixed:
                return
            joined = f"{parts[left]}{parts[right]}"
            if joined in self._ids:
                heapq.heappush(candidates, (-self.scores[self._ids[joined]], left, right, joined))

        for left in range(len(parts)):
            consider(left)
        while candidates:
            _, left, right, joined = heapq.heappop(candidates)
            if parts[left] is None or parts[right] is None or f"{parts[left]}{parts[right]}" != joined:
                continue  # one of them was joined otherwise in the meantime
            if after[left] != right:
                continue
            parts[left], parts[right] = joined, None
            after[left] = after[right]
            if after[left] < len(parts):
                before[after[left]] = left
            consider(before[left])
            consider(left)
        return [part for part in parts if part is not None]

    def _split(self, text: str) -> list[str]:
        """Single characters, but user-defined pieces whole, the longest first."""
        if not self._whole:
            return list(text)
        parts, at = [], 0
        while at < len(text):
            found = next((piece for piece in self._whole if text.startswith(piece, at)), text[at])
            parts.append(found)
            at += len(found)
        return parts

    def pack(self) -> bytes:
        """As a package holds it."""
        encoded = [piece.encode() for piece in self.pieces]
        if any(len(piece) > MAX_PIECE for piece in encoded):
            raise TokenizerError(f"a piece is longer than {MAX_PIECE} bytes")
        flags = self.add_begin * _ADD_BEGIN | self.add_space * _ADD_SPACE | self.squeeze_spaces * _SQUEEZE_SPACES
        count = len(encoded)
        return b"".join(
            [
                _HEAD.pack(count, flags, self.begin, self.end, self.unknown),
                struct.pack(f"<{count}f{count}B{count}H", *self.scores, *self.types, *map(len, encoded)),
                *encoded,
            ]
        )

    @classmethod
    def unpack(cls, data: bytes) -> Tokenizer:
        """Read what `pack` wrote. Raises TokenizerError."""
        try:
            count, flags, begin, end, unknown = _HEAD.unpack_from(data)
            body = struct.Struct(f"<{count}f{count}B{count}H")
            values = body.unpack_from(data, _HEAD.size)
            types = tuple(PieceType(value) for value in values[count : 2 * count])
            pieces, at = [], _HEAD.size + body.size
            for length in values[2 * count :]:
                pieces.append(data[at : at + length].decode())
                at += length
        except (struct.error, ValueError) as error:
            raise TokenizerError(f"the vocabulary is malformed: {error}") from error
        if at != len(data):
            raise TokenizerError(f"the vocabulary has {len(data)} bytes, its pieces need {at}")
        flag = [bool(flags & bit) for bit in (_ADD_BEGIN, _ADD_SPACE, _SQUEEZE_SPACES)]
        return cls(tuple(pieces), tuple(values[:count]), types, begin, end, unknown, *flag)


def _byte_value(piece: str) -> int:
    """A byte piece is written <0x41>."""
    match = re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", piece)
    if not match:
        raise TokenizerError(f"byte piece {piece!r} is not written like <0x41>")
    return int(match[1], 16)
