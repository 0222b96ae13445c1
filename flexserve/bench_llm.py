"""`bench llm`: tokens a second of the whole phone serving a random model, beside llama-cpp-python on the same file.

Prefill is the time from the request to the first token, decode that of the tokens after it, both of host time as
somebody at the phone would see them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.gate import Notice
from emulator.native import lib
from flexserve.model_file import StoredModel, load_model
from flexserve.random_model import RandomModel
from flexserve.system import System

PROMPT_TOKENS = 128
GENERATED_TOKENS = 65
ROUNDS = 3
CONTEXT = 256
DEVICE_ID = 0
# Figures are pieces of one byte each; the beginning and the space before the text are a token each as well.
PROMPT = "1" * (PROMPT_TOKENS - 2)
PEER_VARIABLE = "FLEXSERVE_PEER_PYTHON"  # the Python that has llama-cpp-python, if this one does not
PEER_SCRIPT = Path(__file__).with_name("llama_peer.py")
PEER_SECONDS = 600

MODELS = {
    "25M": RandomModel(
        vocabulary=16000, width=384, layers=11, heads=6, kv_heads=6, feed_forward=1024, context=CONTEXT, uniform=True
    ),
    "110M": RandomModel(
        vocabulary=32000, width=768, layers=12, heads=12, kv_heads=12, feed_forward=2048, context=CONTEXT, uniform=True
    ),
}


@dataclass(frozen=True)
class LlmRates:
    """Tokens a second. The peer's are None where it is ``missing``."""

    parameters: int
    threads: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    peer_prefill_tokens_per_s: float | None
    peer_decode_tokens_per_s: float | None
    missing: str = ""


class PeerMissing(Exception):
    """Why there is no figure of the peer's."""


def compare(size: str, progress: Callable[[str], None]) -> LlmRates:
    """Rates of the model of this size, in turn with the peer's; ``progress`` is told what is going on."""
    model, threads = MODELS[size], thread_count()
    with tempfile.TemporaryDirectory() as folder:
        progress("making the model")
        path = model.write(Path(folder) / "random.gguf")
        progress("serving it")
        prefill, decode = phone_rates(load_model(path, DEVICE_ID))
        progress("timing llama-cpp-python")
        peer_prefill, peer_decode = None, None
        missing = ""
        try:
            peer_prefill, peer_decode = peer_rates(path, threads)
        except PeerMissing as error:
            missing = str(error)
    return LlmRates(parameters(model), threads, prefill, decode, peer_prefill, peer_decode, missing)


def parameters(model: RandomModel) -> int:
    """Weights and gains."""
    total = 0
    for rows, *columns in model.shapes().values():
        total += rows * (columns[0] if columns else 1)
    return total


def thread_count() -> int:
    """As many as our own computations use."""
    return int(lib.workers_count())


def phone_rates(stored: StoredModel) -> tuple[float, float]:
    """Prefill and decode: the medians of a few requests, after one to warm up."""
    shown: list[float] = []

    def show(notice: Notice) -> None:
        if notice.kind == "token":
            shown.append(time.perf_counter())

    system = System(device_id=DEVICE_ID, show=show)
    prefill, decode = [], []
    try:
        system.board.trusted.provision(stored.slot)
        system.board.storage.insert(stored.medium)
        system.boot()
        system.open(stored.slot.name)
        for _ in range(ROUNDS + 1):
            shown.clear()
            start = time.perf_counter()
            done = system.generate(PROMPT, GENERATED_TOKENS)
            if done.prompt_tokens != PROMPT_TOKENS or len(shown) < 2:
                raise RuntimeError(f"{done.prompt_tokens} tokens of prompt gave {len(shown)} of text")
            prefill.append(PROMPT_TOKENS / (shown[0] - start))
            decode.append((len(shown) - 1) / (shown[-1] - shown[0]))
    finally:
        system.dispose()
    return statistics.median(prefill[1:]), statistics.median(decode[1:])


def peer_rates(path: Path, threads: int) -> tuple[float, float]:
    """Prefill and decode of llama-cpp-python. Raises PeerMissing."""
    python = os.environ.get(PEER_VARIABLE, sys.executable)
    command = [python, str(PEER_SCRIPT), str(path), str(threads), str(PROMPT_TOKENS), str(GENERATED_TOKENS - 1)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PEER_SECONDS)
    except OSError as error:
        raise PeerMissing(f"{PEER_VARIABLE}={python}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"llama-cpp-python took more than {PEER_SECONDS} seconds") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerMissing(
            f"llama-cpp-python does not run under {python} ({last}): install it, or name a Python that has it in "
            f"{PEER_VARIABLE}"
        )
    rates = json.loads(done.stdout)
    return rates["prefill"], rates["decode"]
