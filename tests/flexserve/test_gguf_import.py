"""GGUF import: the GGUF's own values, quantised by docs/arithmetic.md; what cannot be honoured is refused by name."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, dequantize, quantize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexserve.gguf_file import Value
from flexserve.gguf_import import BadModel, quantise_rows, read_gguf
from flexserve.random_model import Floats
from sworld.shape import SHARED
from tests.flexserve.gguf_models import Recipe

TYPES = [
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_0,
]


def slow_matrix(values: Floats) -> bytes:
    """Sections 1 and 2 of docs/arithmetic.md, number by number."""
    rows, columns = values.shape
    wide = -(-columns // 32) * 32
    scales, blocks = b"", bytearray(-(-rows // 32) * 32 * wide)
    for r, row in enumerate(values):
        scale = np.float32(max(abs(value) for value in row)) / np.float32(127)
        scales += np.float32(scale).tobytes()
        for c, value in enumerate(row):
            quotient = float(value / scale) if scale else 0.0
            block = r // 32 * (wide // 32) + c // 32
            blocks[1024 * block + r % 32 * 32 + c % 32] = int(np.clip(round(quotient), -127, 127)) & 0xFF
    return scales + bytes(-len(scales) % 1024) + bytes(blocks)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: str(kind.name))
def test_values_are_the_files_own(tmp_path: Path, kind: GGMLQuantizationType) -> None:
    recipe = Recipe(kind=kind, tied=False)
    model = read_gguf(recipe.write(tmp_path / "model.gguf"))
    values = recipe.values()
    own = values["blk.1.ffn_up.weight"]
    if kind is GGMLQuantizationType.F16:
        own = own.astype(np.float16).astype(np.float32)
    elif kind is not GGMLQuantizationType.F32:
        own = dequantize(quantize(own, kind), kind)
    assert model.contents[1, "up"] == slow_matrix(own)
    assert model.contents[SHARED, "output_norm"] == values["output_norm.weight"].tobytes()


def test_shape_and_names(tmp_path: Path) -> None:
    model = read_gguf(Recipe().write(tmp_path / "model.gguf"))
    shape = model.shape
    assert (shape.vocabulary, shape.width, shape.layers, shape.heads, shape.kv_heads) == (300, 64, 2, 4, 2)
    assert (shape.feed_forward, shape.context, shape.tied, shape.rope_base) == (96, 128, True, 10000.0)
    assert model.title == "random 0"
    assert (SHARED, "head") not in model.contents


def test_all_zero_row_has_scale_zero() -> None:
    rows = np.array([[0.0, 0.0], [1.0, -3.0]], dtype=np.float32)
    assert quantise_rows(rows) == slow_matrix(rows)
    assert quantise_rows(rows)[:4] == bytes(4)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3))
def test_rounds_half_to_even(row: list[float]) -> None:
    rows = np.array([row], dtype=np.float32)
    assert quantise_rows(rows) == slow_matrix(rows)


def _matrix(rows: int, columns: int) -> Floats:
    return np.ones((rows, columns), dtype=np.float32)


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (Recipe(architecture="qwen2"), "its architecture is 'qwen2'"),
        (Recipe(kind=GGMLQuantizationType.Q5_0), "is Q5_0, served are F32, F16, Q4_0, Q8_0"),
        (Recipe(tensors={"blk.1.ffn_up.weight": None}), "tensor blk.1.ffn_up.weight is missing"),
        (Recipe(tensors={"blk.1.ffn_up.weight": _matrix(96, 32)}), r"has the shape \[32, 96\]"),
        (Recipe(tensors={"blk.0.attn_q.bias": _matrix(1, 64)[0]}), "attn_q.bias has no place"),
        (Recipe(tensors={"rope_freqs.weight": _matrix(1, 8)[0]}), "rope_freqs.weight has no place"),
        (Recipe(tensors={"output_norm.weight": np.full(64, np.nan, dtype=np.float32)}), "infinities or NaNs"),
        (Recipe(keys={"llama.block_count": None}), "llama.block_count is missing"),
        (Recipe(keys={"llama.block_count": "two"}), "llama.block_count is missing or no number"),
        (Recipe(keys={"llama.attention.head_count": 5}), "even head width"),
        (Recipe(keys={"llama.rope.dimension_count": 8}), "not the head width 16"),
        (Recipe(keys={"llama.rope.scaling.type": "yarn"}), "llama.rope.scaling.type is yarn, only none is served"),
        (Recipe(keys={"llama.rope.scaling.factor": 4.0}), "llama.rope.scaling.factor is 4.0, only 1.0 is served"),
        (Recipe(keys={"llama.expert_count": 8}), "llama.expert_count is 8"),
        (Recipe(keys={"llama.attention.causal": False}), "llama.attention.causal is False"),
        (Recipe(keys={"llama.attention.head_count_kv": [2, 2]}), "head_count_kv is missing or no number"),
        (Recipe(keys={"tokenizer.ggml.add_eos_token": True}), "add_eos_token is True"),
        (Recipe(keys={"tokenizer.ggml.add_bos_token": 1}), "add_bos_token is neither true nor false"),
        (Recipe(keys={"tokenizer.ggml.model": "gpt2"}), "its tokenizer is 'gpt2'"),
        (Recipe(keys={"tokenizer.ggml.scores": None}), "tokenizer.ggml.scores has no 300 values"),
        (Recipe(keys={"tokenizer.ggml.scores": [float("nan")] * 300}), "score of piece 0 is no number"),
        (Recipe(keys={"tokenizer.ggml.tokens": [7] * 300}), "tokenizer.ggml.tokens holds values that are no str"),
        (Recipe(keys={"tokenizer.ggml.token_type": [9] * 300}), "unknown token type"),
        (Recipe(keys={"tokenizer.ggml.bos_token_id": 5000}), "begin token is 5000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_honoured_is_refused_by_name(tmp_path: Path, recipe: Recipe, why: str) -> None:
    path = recipe.write(tmp_path / "model.gguf")
    with pytest.raises(BadModel, match=why) as refused:
        read_gguf(path)
    assert str(path) in str(refused.value)


def test_keys_that_change_nothing_are_accepted(tmp_path: Path) -> None:
    harmless: dict[str, Value | None] = {
        "llama.rope.scaling.type": "none",
        "llama.rope.scaling.factor": 0.0,
        "llama.expert_count": 0,
    }
    model = read_gguf(Recipe(keys=harmless).write(tmp_path / "model.gguf"))
    assert model.contents == read_gguf(Recipe().write(tmp_path / "plain.gguf")).contents


def test_absent_empty_and_foreign_files(tmp_path: Path) -> None:
    empty, foreign = tmp_path / "empty.gguf", tmp_path / "foreign.gguf"
    empty.write_bytes(b"")
    foreign.write_bytes(b"PK\x03\x04 and more")
    for path, why in ((tmp_path / "absent", "No such file"), (empty, "is empty"), (foreign, "is not a GGUF file")):
        with pytest.raises(BadModel, match=why):
            read_gguf(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_get_nothing_but_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    """Truncated anywhere or with any few bytes changed: read as another model, or refused by this one error."""
    path = tmp_path / "model.gguf"
    if not path.exists():
        replace(Recipe(), layers=1).write(path)
    whole = path.read_bytes()
    damaged = bytearray(whole[: data.draw(st.one_of(st.just(len(whole)), st.integers(64, len(whole))))])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(4, min(len(damaged), 12_000) - 1))] = data.draw(st.integers(0, 255))
    hurt = tmp_path / "hurt.gguf"
    hurt.write_bytes(damaged)
    with suppress(BadModel):
        read_gguf(hurt)
