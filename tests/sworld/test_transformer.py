"""The layer sequence on real guest memory against the plain reference: integers, logits and tokens, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from emulator.gate import Compute, Flow
from emulator.tensor import PORTABLE_VARIABLE, TENSOR_OPERATIONS
from sworld.products import CpuEngine, EngineFailed, Product
from sworld.sampler import Sampling
from sworld.transformer import ArithmeticRefused, Transformer
from tests.reference import arithmetic, models
from tests.reference.arithmetic import Integers
from tests.reference.model import ServedModel
from tests.sworld.model_memory import GuestModel

PROMPT = 37  # two halves of a chunk


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
    """Takes the integers of each matrix product out of guest memory; of one token at a time."""

    def __init__(self, memory: GuestModel) -> None:
        self.seen: list[Integers] = []
        self._memory = memory

    def __call__(self, action: Compute) -> None:
        if action.name == "tensor_products":
            _, rows, _, _, feature_rows, sums = (int(str(argument)) for argument in action.arguments)
            atoms = np.frombuffer(self._memory.guest.port.read(sums, -(-rows // 32) * 128 * feature_rows), "<i4")
            wide = atoms.reshape(-1, feature_rows, 4).swapaxes(0, 1).reshape(feature_rows, -1)
            self.seen.append(wide[:, :rows].astype(np.int64))


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


@pytest.mark.parametrize("cached", [0, 1, 5, 6, 31, 32, PROMPT - 1, PROMPT])
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
        at_logits = action.name == "tensor_linear"
        if self._early == 0 or (at_logits and self._late):
            self._late = self._late and not at_logits
            self._memory.lose_state(self._keep_tokens)


@pytest.mark.parametrize("keep_tokens", [0, 3, PROMPT])
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
    blocks = -(-matrix.values.shape[1] // 32)
    block = row // 32 * blocks + column // 32
    address = served.memory.addresses[1, "up"] + 1024 * (1 + block) + row % 32 * 32 + column % 32
    assert len(matrix.scales) <= 256  # their padding ends after 1024 bytes
    served.memory.guest.port.write(address, bytes([served.memory.guest.port.read(address, 1)[0] ^ 0x80]))
    for token in tokens[:-1]:
        served.reference.step(token)
    before = served.memory.logits().tobytes()
    matrix.values[row, column] ^= -128
    served.memory.run(served.transformer.compute_logits(tokens))
    assert served.memory.logits().tobytes() == served.reference.step(tokens[-1]).tobytes() != before


def test_a_prompt_costs_as_much_however_it_is_cut(served: Served) -> None:
    """Within what the calls themselves cost, and the tokens whose last layer nobody needs."""

    def cost(prompts: list[list[int]]) -> int:
        total = 0

        def watch(action: Compute) -> None:
            nonlocal total
            total += TENSOR_OPERATIONS[action.name].cost(*action.arguments)

        served.memory.set_cached_tokens(0)
        for prompt in prompts:
            served.memory.run(served.transformer.compute_logits(prompt), watch)
        return total

    tokens = models.prompt(0, 40)
    whole, single = cost([tokens]), cost([tokens[:count] for count in range(1, 41)])
    assert 0.4 * single < whole < single


class Unreliable:
    """An engine whose sums are late and wrong until they are waited for, and which fails every third time."""

    def __init__(self, memory: GuestModel) -> None:
        self.failures = 0
        self._memory = memory
        self._cpu = CpuEngine()
        self._pending: list[Product] = []
        self._jobs = 0

    def start(self, products: tuple[Product, ...]) -> Flow[None]:
        assert not self._pending
        self._pending = list(products)
        self._jobs += 1
        for product in products:
            self._memory.guest.port.write(product.sums, b"\x55" * product.sums_size)
        if self._jobs % 7 == 0:
            self._pending = []
            self.failures += 1
            raise EngineFailed("not begun")
        yield from ()

    def finish(self) -> Flow[None]:
        products, self._pending = self._pending, []
        assert products
        if self._jobs % 3 == 0:
            self.failures += 1
            raise EngineFailed("not finished")
        yield from self._cpu.start(tuple(products))


def test_an_engine_that_is_late_and_fails_changes_no_token(served: Served) -> None:
    tokens = models.prompt(0, PROMPT)
    engine = Unreliable(served.memory)
    transformer = Transformer(served.memory.shape, served.memory, engine)
    served.memory.run(transformer.compute_logits(tokens))
    expected = [served.reference.step(token) for token in tokens][-1]
    assert served.memory.logits().tobytes() == expected.tobytes()
    assert engine.failures > 5


def test_the_engine_works_on_one_half_while_the_processor_works_on_the_other(served: Served) -> None:
    order: list[str] = []
    cpu = CpuEngine()

    class Noted:
        def start(self, products: tuple[Product, ...]) -> Flow[None]:
            order.append("start")
            return cpu.start(products)

        def finish(self) -> Flow[None]:
            order.append("finish")
            return cpu.finish()

    transformer = Transformer(served.memory.shape, served.memory, Noted())
    served.memory.run(transformer.compute_logits(models.prompt(0, PROMPT)), lambda action: order.append(action.name))
    attended = [index for index, name in enumerate(order) if name == "tensor_attend"]
    begun = [order[:index].count("start") - order[:index].count("finish") for index in attended]
    assert begun[:2] == [1, 1]  # of both halves in the first layer; in the last one only one half is left


def test_sums_are_computed_again_when_a_page_moved_under_the_product(served: Served) -> None:
    memory = served.memory

    class Moved:
        def start(self, products: tuple[Product, ...]) -> Flow[None]:
            memory.moves += 1
            for product in products:
                memory.guest.port.write(product.sums, b"\x55" * product.sums_size)
            yield from ()

        def finish(self) -> Flow[None]:
            yield from ()

    tokens = models.prompt(0, 3)
    memory.run(Transformer(memory.shape, memory, Moved()).compute_logits(tokens))
    assert memory.logits().tobytes() == [served.reference.step(token) for token in tokens][-1].tobytes()


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
