"""Random models: the same on every host, of the stated distribution, and served as the plain reference says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from emulator.devices.trusted import Slot
from emulator.memory_map import MIB
from flexserve.gguf_file import Gguf
from flexserve.gguf_import import read_gguf
from flexserve.pack import model_id, pack_gguf
from flexserve.random_model import RandomModel
from flexserve.system import System
from tests.flexserve.phone import images
from tests.reference.arithmetic import Floats
from tests.reference.model import ServedModel, Sizes, Weights

PROMPT = "in the beginning"
TOKENS = 6
SHARED_NAMES = {"embedding": "token_embd", "output_norm": "output_norm", "head": "output"}
LAYER_NAMES = {
    "attention_norm": "attn_norm", "query": "attn_q", "key": "attn_k", "value": "attn_v",
    "attention_output": "attn_output", "feed_forward_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up",
    "down": "ffn_down",
}  # fmt: skip


def test_weights_are_the_same_on_every_host() -> None:
    digest = hashlib.sha256(RandomModel(seed=5).tensor("blk.1.ffn_down.weight").tobytes()).hexdigest()
    assert digest == "9fac01e86bc7b76b93b8bf0ffbef486b252a84298ef5704c195399fa67e6558f"


def test_seeds_and_tensors_differ() -> None:
    draws = [RandomModel(seed=seed).tensor(f"blk.{layer}.attn_q.weight") for seed in (0, 1) for layer in (0, 1)]
    assert len({draw.tobytes() for draw in draws}) == 4


def test_matrices_are_normal_with_variance_one_over_fan_in() -> None:
    values = RandomModel(width=256, feed_forward=1024).tensor("blk.0.ffn_up.weight").astype(np.float64) * 16
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01
    for deviations, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert abs((np.abs(values) < deviations).mean() - share) < 0.005


def test_vocabulary_has_no_piece_twice() -> None:
    tokens = RandomModel(vocabulary=3000).metadata()["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    assert len(tokens) == len(set(tokens)) == 3000
    with pytest.raises(ValueError, match="vocabulary is 100"):
        RandomModel(vocabulary=100)


def reference(model: RandomModel, path: Path) -> ServedModel:
    """The plain reference on the GGUF's own values."""
    tensors = {name: tensor.values() for name, tensor in Gguf.read(path).tensors.items()}

    def named(names: dict[str, str], prefix: str = "") -> dict[str, Floats]:
        found = {ours: f"{prefix}{theirs}.weight" for ours, theirs in names.items()}
        return {ours: tensors[theirs] for ours, theirs in found.items() if theirs in tensors}

    sizes = Sizes(
        model.vocabulary, model.width, model.layers, model.heads, model.kv_heads, model.feed_forward, model.tied,
        model.context, model.rope_base, model.norm_epsilon,
    )  # fmt: skip
    layers = tuple(named(LAYER_NAMES, f"blk.{layer}.") for layer in range(model.layers))
    return ServedModel.pack(Weights(sizes, named(SHARED_NAMES), layers))


def greedy(model: ServedModel, prompt: list[int]) -> tuple[int, ...]:
    for token in prompt[:-1]:
        model.step(token)
    tokens = [prompt[-1]]
    while len(tokens) <= TOKENS:
        tokens.append(int(np.argmax(model.step(tokens[-1]))))
    return tuple(tokens[1:])


@pytest.mark.parametrize(
    "model",
    [
        RandomModel(kind=GGMLQuantizationType.F32, tied=False, seed=1),
        RandomModel(kind=GGMLQuantizationType.F16, kv_heads=4, seed=2),
        RandomModel(kind=GGMLQuantizationType.Q8_0, heads=2, kv_heads=1, width=96, seed=3),
        RandomModel(kind=GGMLQuantizationType.Q4_0, tied=False, feed_forward=160, seed=4),
    ],
    ids=lambda model: str(model.kind.name),
)
def test_gguf_of_every_type_is_served_as_the_reference_says(tmp_path: Path, model: RandomModel) -> None:
    """From the file through the package, storage and Flex-Mem to the tokens."""
    path = model.write(tmp_path / "model.gguf")
    prompt = read_gguf(path).tokenizer.encode(PROMPT)
    system = System(128 * MIB, images=images())
    system.board.trusted.provision(Slot("model", model_id("model"), 1))
    system.board.storage.insert(pack_gguf(path, device_id=0, version=1, slot="model"))
    system.boot()
    system.open("model")
    done = system.generate(PROMPT, TOKENS)
    system.dispose()
    assert done.prompt_tokens == len(prompt)
    assert done.tokens == greedy(reference(model, path), prompt)
