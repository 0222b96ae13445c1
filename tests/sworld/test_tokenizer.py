"""The tokenizer against a slow, obvious merge, on made-up vocabularies and on the demo model's."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexserve.gguf_import import read_gguf
from sworld.tokenizer import SPACE, PieceType, Tokenizer, TokenizerError

DEMO = Path(__file__).parents[2] / "flexserve" / "models" / "demo.gguf"
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def vocabulary(pieces: dict[str, float], *, whole: tuple[str, ...] = (), byte_pieces: bool = True) -> Tokenizer:
    own = BYTES if byte_pieces else []
    names = ["<unk>", "<s>", "</s>", *own, *pieces, *whole]
    kinds = [PieceType.UNKNOWN, PieceType.CONTROL, PieceType.CONTROL]
    kinds += [PieceType.BYTE] * len(own) + [PieceType.NORMAL] * len(pieces) + [PieceType.USER_DEFINED] * len(whole)
    scores = [0.0] * (3 + len(own)) + list(pieces.values()) + [0.0] * len(whole)
    return Tokenizer(
        tuple(names), tuple(scores), tuple(kinds), begin=1, end=2, unknown=0, add_begin=True, add_space=True,
        squeeze_spaces=False,
    )  # fmt: skip


ABC = vocabulary({SPACE: -1, "a": -2, "b": -3, "c": -4, "ab": -5, "bc": -4.5, "abc": -6, f"{SPACE}a": -7, "aa": -8})


def slow_merge(tokenizer: Tokenizer, text: str) -> list[str]:
    """Join the best pair of neighbours, the leftmost of equals, until there is none."""
    score = {
        piece: tokenizer.scores[token]
        for token, piece in enumerate(tokenizer.pieces)
        if tokenizer.types[token] is PieceType.NORMAL
    }
    parts = list(text)
    while True:
        pairs = [(score[a + b], -place) for place, (a, b) in enumerate(pairwise(parts)) if a + b in score]
        if not pairs:
            return parts
        place = -max(pairs)[1]
        parts[place : place + 2] = ["".join(parts[place : place + 2])]


def slow_encode(tokenizer: Tokenizer, text: str) -> list[int]:
    ids = {piece: token for token, piece in enumerate(tokenizer.pieces) if tokenizer.types[token] is PieceType.NORMAL}
    tokens = [tokenizer.begin]
    for part in slow_merge(tokenizer, f" {text}".replace(" ", SPACE) if text else ""):
        tokens += [ids[part]] if part in ids else [tokenizer.pieces.index(BYTES[byte]) for byte in part.encode()]
    return tokens


@given(st.text("abc x", max_size=40))
def test_merges_best_score_first_leftmost_of_equals(text: str) -> None:
    assert ABC.encode(text) == slow_encode(ABC, text)


@cache
def demo_tokenizer() -> Tokenizer:
    return read_gguf(DEMO).tokenizer


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["the", "LORD", "said", "unto", "Moses,", "Gö", "&", "神", ""]), max_size=8))
def test_demo_vocabulary(words: list[str]) -> None:
    tokenizer = demo_tokenizer()
    text = " ".join(words)
    assert tokenizer.encode(text) == slow_encode(tokenizer, text)
    assert tokenizer.decode(tokenizer.encode(text)) == (f" {text}" if text else "")


def test_bytes_are_the_last_resort() -> None:
    assert ABC.encode("ö") == [1, ABC.pieces.index(SPACE), 3 + 0xC3, 3 + 0xB6]
    assert ABC.decode(ABC.encode("ö")) == " ö"


def test_unknown_without_byte_pieces() -> None:
    bare = vocabulary({SPACE: -1, "a": -2}, byte_pieces=False)
    assert bare.encode("aö") == [1, bare.pieces.index(SPACE), bare.pieces.index("a"), 0]


def test_user_defined_pieces_are_never_split() -> None:
    tokenizer = vocabulary({SPACE: -1, "a": -2, "b": -3, "ab": -4}, whole=("bb", "abb"))
    assert tokenizer.encode("abbb")[2:] == [tokenizer.pieces.index("abb"), tokenizer.pieces.index("b")]


def test_user_defined_pieces_are_joined_with_nothing() -> None:
    tokenizer = vocabulary({SPACE: -1, "a": -2, "b": -3, "abb": -4, "bba": -5}, whole=("bb",))
    assert tokenizer.encode("abba")[2:] == [tokenizer.pieces.index(piece) for piece in ("a", "bb", "a")]


def test_user_defined_piece_may_be_written_with_plain_spaces() -> None:
    tokenizer = vocabulary({SPACE: -1, "a": -2, "b": -3}, whole=("a b",))
    whole = tokenizer.pieces.index("a b")
    assert tokenizer.encode("a b")[2:] == [whole]
    assert tokenizer.piece(whole) == b"a b"


def test_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(TokenizerError, match="score of piece 3 is no number"):
        replace(ABC, scores=(*ABC.scores[:3], float("nan"), *ABC.scores[4:]))


def test_control_tokens_have_no_text() -> None:
    assert ABC.piece(1) == b""


@pytest.mark.parametrize(("squeeze", "text"), [(True, " a  b "), (False, "a b")])
def test_spaces_are_squeezed_when_the_model_says_so(squeeze: bool, text: str) -> None:
    assert replace(ABC, squeeze_spaces=squeeze).encode(text) == ABC.encode("a b")


# The real thing, where it is installed

TEXT = Path(__file__).parents[1] / "data" / "demo_text.txt"
WHOLE = ("LORD", "the", "<x>", "ab", f"unto{SPACE}")


@cache
def peer(*whole: str, squeeze: bool, prefix: bool) -> tuple[Callable[[str], list[int]], Tokenizer]:
    """SentencePiece's own encoder, trained on the spot, and ours with its vocabulary."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="pip install sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.read_text().splitlines()), model_writer=model, model_type="bpe", vocab_size=700,
        byte_fallback=True, user_defined_symbols=list(whole), remove_extra_whitespaces=squeeze,
        add_dummy_prefix=prefix, normalization_rule_name="identity", minloglevel=2,
    )  # fmt: skip
    real = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    tokens = range(real.vocab_size())

    def kind(token: int) -> PieceType:
        if real.id_to_piece(token) in whole:
            return PieceType.USER_DEFINED
        kinds = {PieceType.UNKNOWN: real.is_unknown, PieceType.CONTROL: real.is_control, PieceType.BYTE: real.is_byte}
        return next((found for found, holds in kinds.items() if holds(token)), PieceType.NORMAL)

    ours = Tokenizer(
        tuple(real.id_to_piece(token) for token in tokens), tuple(real.get_score(token) for token in tokens),
        tuple(map(kind, tokens)), real.bos_id(), real.eos_id(), real.unk_id(), add_begin=False, add_space=prefix,
        squeeze_spaces=squeeze,
    )  # fmt: skip
    return real.encode, ours


@pytest.mark.peer
@pytest.mark.parametrize(
    ("whole", "squeeze", "prefix"), [((), False, True), (WHOLE, False, True), ((), True, True), ((), False, False)]
)
@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([*WHOLE, " ", "  ", "a", "b", " And it came to pass", "unto ", "\n", "é", "神"])
        | st.text(max_size=4),
        max_size=12,
    )
)
def test_gives_what_sentencepiece_gives(whole: tuple[str, ...], squeeze: bool, prefix: bool, parts: list[str]) -> None:
    real, ours = peer(*whole, squeeze=squeeze, prefix=prefix)
    text = "".join(parts).replace("\0", "")  # which is the end of a text to SentencePiece
    assert ours.encode(text) == real(text)


def test_survives_packing() -> None:
    assert Tokenizer.unpack(ABC.pack()) == ABC


@settings(max_examples=200)
@given(st.data())
def test_damaged_vocabulary_gets_nothing_but_its_error(data: st.DataObject) -> None:
    packed = bytearray(ABC.pack())
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(packed)))
    for damaged in (bytes(packed), bytes(packed[:cut])):
        try:
            Tokenizer.unpack(damaged)
        except TokenizerError:
            continue
