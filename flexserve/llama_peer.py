"""Times llama.cpp on a GGUF: run by `bench llm` as a script, under whatever Python has llama-cpp-python.

Takes the file, the threads, the tokens of the prompt and those to generate; prints tokens a second of prefill and of
decode as JSON. Imports nothing of the project, which that Python may not have.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time

ROUNDS = 3
ORDINARY_TOKEN = 260  # any token but the control ones


def rates(model: str, threads: int, prompt: int, generated: int) -> dict[str, float]:
    """Medians of a few rounds, after one to warm up."""
    llama = importlib.import_module("llama_cpp").Llama(
        model, n_ctx=prompt + generated, n_batch=prompt, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    prefill, decode = [], []
    for _ in range(ROUNDS + 1):
        llama.reset()
        start = time.perf_counter()
        llama.eval([ORDINARY_TOKEN + index for index in range(prompt)])
        token = llama.sample(temp=0.0)
        began = time.perf_counter()
        for _ in range(generated):
            llama.eval([token])
            token = llama.sample(temp=0.0)
        prefill.append(prompt / (began - start))
        decode.append(generated / (time.perf_counter() - began))
    return {"prefill": statistics.median(prefill[1:]), "decode": statistics.median(decode[1:])}


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    json.dump(rates(path, *map(int, numbers)), sys.stdout)
