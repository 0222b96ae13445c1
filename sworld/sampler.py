"""The choice of the next token (docs/arithmetic.md, section 8): greedy, or drawn with bits that depend on the seed and
on the token's number only, so that a token computed again after a recall is the same token.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.gate import Flow, compute
from emulator.tensor import float_bits

WORD = 2**64 - 1
TOP_P_ONE = 65_536


@dataclass(frozen=True)
class Sampling:
    """``temperature`` 0 is greedy; ``top_p`` in (0, 1]; ``seed`` is 64 bits of the TRNG."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def random_bits(seed: int, index: int) -> int:
    """64 bits for generated token ``index`` (from 0): SplitMix64 at that step."""
    z = (seed + (index + 1) * 0x9E37_79B9_7F4A_7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & WORD
    return z ^ (z >> 31)


def choose(logits: int, vocabulary: int, sampling: Sampling, index: int) -> Flow[int]:
    """Generated token ``index`` from the logits at this address, which sampling overwrites. < 0: a tensor.Refusal."""
    if sampling.temperature == 0.0:
        return (yield from compute("tensor_argmax", logits, vocabulary))
    top_p = max(1, round(sampling.top_p * TOP_P_ONE))
    bits = random_bits(sampling.seed, index)
    return (yield from compute("tensor_sample", logits, vocabulary, float_bits(sampling.temperature), top_p, bits))
