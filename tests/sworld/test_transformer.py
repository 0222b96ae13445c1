"""The layer sequence on real guest memory against the plain reference: integers, logits and tokens, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from emulator.costs import MAX_CHARGE
from emulator.gate import Compute
from emulator.tensor import PORTABLE_VARIABLE, TENSOR_OPERATIONS
from sworld.sampler import Sampling
from sworld.transformer import PREFILL_CHUNK, ArithmeticRefused, Transformer
from tests.reference import arithmetic, models
from tests.reference.arithmetic import Integers
from tests.reference.model import ServedModel
from tests.sworld.model_memory import GuestModel

PROMPT = PREFILL_CHUNK + 5


class Served:
    """A model of the reference, and the same model in guest memory."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.reference = ServedModel.pack(models.weights(index))
        self.memory = GuestModel(self.reference)
        self.transformer = Transformer(self.memory.shape, self.memory)


@pytest.fixture(name="served")
def _served(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(getattr(request, "param", 0))
    yield served
    served.memory.guest.machine.close()


EACH_SERVED = pytest.mark.parametrize("served", range(len(models.SIZES)), indirect=True)


class Integrals:
    """Recomputes, from the very bytes in guest memory, the integers of each matrix product that was performed."""

    def __init__(self, memory: GuestModel) -> None:
        self.seen: list[Integers] = []
        self._memory = memory

    def __call__(self, action: Compute) -> None:
        if action.name != "tensor_linear":
            return
        matrix, rows, columns, first, count, vector, _ = (int(str(argument)) for argument in action.arguments)
        read = self._memory.guest.port.read
        weights = self._int8(read(matrix + 4 * rows + first * columns, count * columns), count)
        product = self._int8(read(vector + 8, 2 * columns), 2) @ weights.T
        if first:
            product = np.concatenate([self.seen.pop(), product], axis=1)
        self.seen.append(product)

    @staticmethod
    def _int8(data: bytes, rows: int) -> npt.NDArray[np.int64]:
        return np.frombuffer(data, np.int8).reshape(rows, -1).astype(np.int64)


@EACH_SERVED
def test_every_linear_layer_and_every_logit_is_the_references(served: Served) -> None:
    tokens = models.prompt(served.index, 6)
    integers = Integrals(served.memory)
    for count in range(1, len(tokens) + 1):
        logits = served.reference.step(tokens[count - 1])
        served.memory.run(served.transformer.compute_logits(tokens[:count]), integers)
        assert served.memory.logits().tobytes() == logits.tobytes()
    assert len(integers.seen) == len(served.reference.integers)
    for ours, expected in zip(integers.seen, served.reference.integers, strict=True):
        np.testing.assert_array_equal(ours, expected)


@EACH_SERVED
def test_prefill_in_chunks_and_then_greedy_tokens_are_the_references(served: Served) -> None:
    tokens = models.prompt(served.index, PROMPT)
    for token in tokens[:-1]:
        served.reference.step(token)
    for index in range(8):
        expected = arithmetic.argmax(served.reference.step(tokens[-1]))
        tokens.append(served.memory.run(served.transformer.next_token(tokens, Sampling(), index)))
        assert tokens[-1] == expected


@pytest.mark.parametrize("cached", [0, 1, PREFILL_CHUNK - 1, PREFILL_CHUNK, PROMPT - 1, PROMPT])
def test_logits_do_not_depend_on_how_the_prompt_is_cut(served: Served, cached: int) -> None:
    tokens = models.prompt(0, PROMPT)
    expected = [served.reference.step(token) for token in tokens][-1]
    if cached:
        served.memory.run(served.transformer.compute_logits(tokens[:cached]))
    served.memory.run(served.transformer.compute_logits(tokens))
    assert served.memory.logits().tobytes() == expected.tobytes()


def test_sampled_tokens_are_the_references(served: Served) -> None:
    tokens = models.prompt(0, 4)
    for token in tokens[:-1]:
        served.reference.step(token)
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=7)
    for index in range(12):
        logits = served.reference.step(tokens[-1])
        expected = arithmetic.sample(logits, np.float32(1), round(0.9 * 65536), arithmetic.random_bits(7, index))
        tokens.append(served.memory.run(served.transformer.next_token(tokens, sampling, index)))
        assert tokens[-1] == expected


class Loss:
    """Loses cache and workspace after computation ``count``, and again when the logits have just been computed."""

    def __init__(self, memory: GuestModel, count: int, keep_tokens: int) -> None:
        self._memory = memory
        self._keep_tokens = keep_tokens
        self._early = count
        self._late = True

    def __call__(self, action: Compute) -> None:
        self._early -= 1
        at_logits = action.name == "tensor_linear" and action.arguments[1] == self._memory.shape.vocabulary
        if self._early == 0 or (at_logits and self._late):
            self._late = self._late and not at_logits
            self._memory.lose_state(self._keep_tokens)


@pytest.mark.parametrize("keep_tokens", [0, 3, PREFILL_CHUNK])
def test_lost_state_changes_no_token(served: Served, keep_tokens: int) -> None:
    memory, transformer = served.memory, served.transformer
    sampling = Sampling(temperature=1.0, seed=3)
    undisturbed = models.prompt(0, PROMPT)
    tokens = list(undisturbed)
    for index in range(6):
        undisturbed.append(memory.run(transformer.next_token(undisturbed, sampling, index)))
    memory.lose_state(0)
    for index in range(6):
        loss = Loss(memory, 11 * index + 1, keep_tokens)
        tokens.append(memory.run(transformer.next_token(tokens, sampling, index), loss))
    assert tokens == undisturbed
    assert memory.losses == 1 + 6 * 2


def test_a_flipped_weight_byte_gives_the_references_logits_for_that_weight(served: Served) -> None:
    tokens = models.prompt(0, 3)
    served.memory.run(served.transformer.compute_logits(tokens[:-1]))
    matrix = served.reference.matrix(served.reference.layers[1], "up")
    row, column = 50, 31
    address = served.memory.addresses[1, "up"] + 4 * len(matrix.scales) + row * matrix.values.shape[1] + column
    served.memory.guest.port.write(address, bytes([served.memory.guest.port.read(address, 1)[0] ^ 0x80]))
    for token in tokens[:-1]:
        served.reference.step(token)
    before = served.memory.logits().tobytes()
    matrix.values[row, column] ^= -128
    served.memory.run(served.transformer.compute_logits(tokens))
    assert served.memory.logits().tobytes() == served.reference.step(tokens[-1]).tobytes() != before


def test_a_step_costs_no_more_than_one_charge(served: Served) -> None:
    dear: list[str] = []

    def watch(action: Compute) -> None:
        if TENSOR_OPERATIONS[action.name].cost(*action.arguments) > MAX_CHARGE:
            dear.append(action.name)

    served.memory.run(served.transformer.compute_logits(models.prompt(0, 40)), watch)
    assert not dear


def test_a_model_that_leaves_the_floats_is_refused_by_name(served: Served) -> None:
    address = served.memory.addresses[1, "feed_forward_norm"]
    served.memory.guest.port.write(address, np.array([np.inf], np.float32).tobytes())
    with pytest.raises(ArithmeticRefused, match="tensor_normalise with layer 1: not finite"):
        served.memory.run(served.transformer.compute_logits([1]))


# Of the logits after a fixed prompt, of every model. It changes only when docs/arithmetic.md does.
LOGITS_SHA256 = "46c574e2d91362cdfb9bfd9cdb4358ae08900896096f0fe91d7c17d7366fddc1"


@pytest.mark.parametrize("portable", [False, True], ids=["widest", "portable"])
@pytest.mark.parametrize("numpy_baseline", [False, True], ids=["numpy", "numpy-baseline"])
def test_logits_hash_is_the_same_everywhere(portable: bool, numpy_baseline: bool) -> None:
    environment = dict(os.environ)
    if numpy_baseline:
        environment["NPY_DISABLE_CPU_FEATURES"] = numpy_dispatched_features()
    if portable:
        environment[PORTABLE_VARIABLE] = "1"
    command = [sys.executable, "-m", "tests.sworld.logits_hash"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == LOGITS_SHA256


def numpy_dispatched_features() -> str:
    """The processor features that numpy found and would use beyond its baseline."""
    core = np._core._multiarray_umath  # type: ignore[attr-defined]  # no public name tells the baseline apart
    features: dict[str, bool] = core.__cpu_features__
    return " ".join(name for name in core.__cpu_dispatch__ if features[name])
