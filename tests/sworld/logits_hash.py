"""Prints the SHA-256 of native logits of every seeded model: `python -m tests.sworld.logits_hash`."""

from __future__ import annotations

import hashlib

from sworld.transformer import Transformer
from tests.reference import models
from tests.reference.model import ServedModel
from tests.sworld.model_memory import GuestModel

PROMPT_TOKENS = 20


def logits_hash() -> str:
    digest = hashlib.sha256()
    for index in range(len(models.SIZES)):
        memory = GuestModel(ServedModel.pack(models.weights(index)))
        memory.run(Transformer(memory.shape, memory).compute_logits(models.prompt(index, PROMPT_TOKENS)))
        digest.update(memory.logits().tobytes())
        memory.guest.machine.close()
    return digest.hexdigest()


if __name__ == "__main__":
    print(logits_hash())
