"""The shipped demo model: readable text, and the choices of the model in float64."""

from __future__ import annotations

import lzma
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, dequantize

from flexserve.gguf_import import read_gguf
from flexserve.model_file import load_model
from flexserve.system import System
from tests.reference.arithmetic import Floats
from tests.reference.model import ServedModel, Sizes, Weights, float64_logits

DATA = Path(__file__).parents[1] / "data"
DEMO = Path(__file__).parents[2] / "flexserve" / "models" / "demo.gguf"
PROMPTS = (
    "In the beginning",
    "And the LORD said",
    "The king of Israel",
    "Blessed are",
    "And it came to pass",
    "Jesus answered",
    "Praise ye the LORD",
    "My son,",
    "Behold, the day",
    "The children of Israel",
)
TOKENS = 64
WINDOWS, WINDOW = 4, 125  # positions compared: four stretches of text

NAMES = {
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "attention_output": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    model = load_model(None, 0)
    phone = System()
    phone.board.trusted.provision(model.slot)
    phone.board.storage.insert(model.medium)
    phone.boot()
    phone.open(model.slot.name)
    yield phone
    phone.dispose()


@pytest.fixture(scope="module")
def weights() -> Weights:
    """The GGUF's own values."""
    reader = GGUFReader(DEMO)
    tensors: dict[str, Floats] = {
        tensor.name: np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        for tensor in reader.tensors
    }
    shape = read_gguf(DEMO).shape
    sizes = Sizes(
        shape.vocabulary, shape.width, shape.layers, shape.heads, shape.kv_heads, shape.feed_forward, shape.tied,
        shape.context, shape.rope_base, shape.norm_epsilon,
    )  # fmt: skip
    layers = tuple(
        {name: tensors[f"blk.{layer}.{stored}.weight"] for name, stored in NAMES.items()}
        for layer in range(shape.layers)
    )
    return Weights(
        sizes, {"embedding": tensors["token_embd.weight"], "output_norm": tensors["output_norm.weight"]}, layers
    )


@pytest.fixture(scope="module")
def text_tokens() -> list[int]:
    return read_gguf(DEMO).tokenizer.encode((DATA / "demo_text.txt").read_text())


def test_arg_max_is_float64s_at_95_percent_of_500_positions(weights: Weights, text_tokens: list[int]) -> None:
    equal = 0
    for start in range(0, WINDOWS * WINDOW, WINDOW):
        tokens = text_tokens[start : start + WINDOW]
        served = ServedModel.pack(weights)
        choices = [int(np.argmax(served.step(token))) for token in tokens]
        equal += sum(np.argmax(float64_logits(weights, tokens), axis=1) == choices)
    assert equal >= 0.95 * WINDOWS * WINDOW


def test_phone_chooses_as_the_plain_reference(system: System, weights: Weights) -> None:
    """So what holds of the reference's positions holds of the phone's."""
    served = ServedModel.pack(weights)
    logits = [served.step(token) for token in read_gguf(DEMO).tokenizer.encode(PROMPTS[0])][-1]
    done = system.generate(PROMPTS[0], 20)
    for token in done.tokens:
        assert token == int(np.argmax(logits))
        logits = served.step(token)


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


@pytest.fixture(scope="module")
def samples(system: System) -> dict[str, list[str]]:
    """Words that are whole in each greedy sample: the last one may be cut off."""
    found = {}
    for prompt in PROMPTS:
        done = system.generate(prompt, TOKENS)
        text = words_of(prompt + done.text)[len(words_of(prompt)) :]
        found[prompt] = text[:-1] if done.stop == "length" else text
    return found


def test_95_percent_of_the_words_are_the_training_texts(samples: dict[str, list[str]]) -> None:
    known = set(lzma.decompress((DATA / "kjv_words.txt.xz").read_bytes()).decode().split())
    words = [word for sample in samples.values() for word in sample]
    assert len(words) > 10 * len(PROMPTS)
    assert sum(word in known for word in words) >= 0.95 * len(words)


def test_no_sample_repeats_a_four_word_phrase_more_than_five_times(samples: dict[str, list[str]]) -> None:
    for prompt, words in samples.items():
        phrases = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
        assert max(phrases.values(), default=0) <= 5, prompt
