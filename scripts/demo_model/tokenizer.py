"""A SentencePiece vocabulary: byte-pair merges with scores, byte fallback, and token ids for the corpus."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import sentencepiece
import torch

from .corpus import Chapter


class PieceType(IntEnum):
    """GGUF's token types, as in llama.cpp's `llama_token_type`."""

    NORMAL  = 1
    UNKNOWN = 2
    CONTROL = 3
    BYTE    = 6


UNKNOWN, BEGIN, END = 0, 1, 2
CONTROL_PIECES = {"<unk>": PieceType.UNKNOWN, "<s>": PieceType.CONTROL, "</s>": PieceType.CONTROL}


@dataclass(frozen=True)
class Piece:
    """One vocabulary entry; of two adjacent merges the one with the higher score goes first."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class Text:
    """Chapters as one row of ids, each between <s> and </s>, and the places where verses start."""

    ids: torch.Tensor
    starts: torch.Tensor


class Tokenizer:
    """Text to ids and back."""

    def __init__(self, model: bytes) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def train(cls, sentences: Iterable[str], vocabulary_size: int) -> "Tokenizer":
        """Learn the merges; no normalisation, so that decoding gives the text back byte for byte."""
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=model, model_type="bpe", vocab_size=vocabulary_size,
            byte_fallback=True, character_coverage=1.0, normalization_rule_name="identity", add_dummy_prefix=True,
            remove_extra_whitespaces=False, unk_id=UNKNOWN, bos_id=BEGIN, eos_id=END, pad_id=-1, num_threads=1,
            minloglevel=2)
        return cls(model.getvalue())

    def pieces(self) -> list[Piece]:
        """The vocabulary by id."""
        processor = self._processor
        return [Piece(processor.id_to_piece(i), processor.get_score(i), self._type(i))
                for i in range(processor.get_piece_size())]

    def _type(self, token: int) -> PieceType:
        if self._processor.is_byte(token):
            return PieceType.BYTE
        return CONTROL_PIECES.get(self._processor.id_to_piece(token), PieceType.NORMAL)

    def encode(self, text: str) -> list[int]:
        """Ids without the begin and end tokens."""
        return [int(token) for token in self._processor.encode(text)]

    def decode(self, tokens: list[int]) -> str:
        """The text of some ids; control tokens vanish."""
        return str(self._processor.decode(tokens))

    def inside_word(self) -> torch.Tensor:
        """Which ids go on with a word, by id: pieces of letters without the word mark."""
        return torch.tensor([piece.type == PieceType.NORMAL and piece.text.isalpha() for piece in self.pieces()])

    def stream(self, chapters: list[Chapter]) -> Text:
        """All chapters, in order."""
        ids: list[int] = []
        starts: list[int] = []
        for chapter in chapters:
            ids.append(BEGIN)
            for verse in chapter.verses:
                starts.append(len(ids))
                ids += self.encode(verse)
            ids.append(END)
        return Text(torch.tensor(ids), torch.tensor(starts))
