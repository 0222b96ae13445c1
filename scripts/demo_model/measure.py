"""What a trained network is worth: loss on held-out text, greedy samples, and how int8 serving changes its choices."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .corpus import words
from .network import Network
from .tokenizer import BEGIN, END, Tokenizer

SAMPLE_TOKENS = 64
PROMPTS = ("In the beginning", "And the LORD said", "The king of Israel", "Blessed is the man", "And it came to pass",
           "Jesus answered", "Praise ye the LORD", "My son,", "Behold, the day", "The children of Israel")


@dataclass(frozen=True)
class Sample:
    """A prompt and its greedy continuation."""

    prompt: str
    text: str

    def repeats(self) -> int:
        """How often the commonest four-word phrase occurs."""
        said = words(self.text)
        return max(Counter(zip(*(said[i:] for i in range(4)), strict=False)).values(), default=0)


@torch.no_grad()
def loss(network: Network, ids: Tensor) -> float:
    """Nats a token over a stream, in windows of the context."""
    text = ids[:len(ids) // network.shape.context * network.shape.context].view(-1, network.shape.context)
    tokens = functional.pad(text, (1, 0), value=BEGIN)
    return sum(functional.cross_entropy(network(row[None, :-1])[0], row[1:]).item() for row in tokens) / len(tokens)


@torch.no_grad()
def greedy(network: Network, tokenizer: Tokenizer, prompt: str) -> Sample:
    """The likeliest token, time after time."""
    given = torch.tensor([[BEGIN, *tokenizer.encode(prompt)]])
    tokens: list[int] = network.continue_greedily(given, SAMPLE_TOKENS)[0].tolist()
    if END in tokens:
        tokens = tokens[:tokens.index(END)]
    return Sample(prompt, tokenizer.decode(tokens).removeprefix(prompt))


def known_words(samples: list[Sample], vocabulary: set[str]) -> float:
    """The share of words, over all samples, that the training text has."""
    said = [word for sample in samples for word in words(sample.prompt + sample.text)]
    return sum(word in vocabulary for word in said) / len(said)


@torch.no_grad()
def agreement(network: Network, ids: Tensor) -> float:
    """The share of positions where float and int8 serving choose the same token."""
    choices = []
    for serving in (False, True):
        network.serve(serving)
        choices.append(torch.cat([network(row[None])[0].argmax(-1) for row in torch.split(ids, network.shape.context)]))
    network.serve(False)
    return (choices[0] == choices[1]).double().mean().item()
