"""Teaching the network not to go round in circles, as greedy decoding of a small model does.

Sequence-level unlikelihood (Welleck et al., arXiv 1908.04319): the network continues short prompts greedily; a word
that says a phrase for the third time is made unlikely. Only its first token is, or words would end up broken.
"""

import torch
from torch import Tensor
from torch.nn import functional

from .network import Network
from .tokenizer import BEGIN, Text

BATCH           = 32        # continuations
LENGTH          = 80        # tokens each
LONGEST_PROMPT  = 6         # tokens, at most
PHRASE          = 4         # tokens
TOLERATED       = 2         # times that a phrase may stand in a continuation


def continuations(network: Network, text: Text) -> Tensor:
    """Greedy text after the first words of random verses, in float: (BATCH, <s> + prompt + LENGTH)."""
    size = int(torch.randint(1, LONGEST_PROMPT + 1, ()))
    first = text.starts[torch.randint(len(text.starts), (BATCH, 1))]
    prompts = torch.cat((torch.full((BATCH, 1), BEGIN), text.ids[first + torch.arange(size)]), 1)
    network.eval()
    network.serve(False)
    return network.continue_greedily(prompts, LENGTH)


def repeating(tokens: Tensor) -> Tensor:
    """Which tokens complete a phrase that the row has said too often before: (batch, tokens) of bool."""
    phrases = tokens.unfold(1, PHRASE, 1)
    same = (phrases[:, :, None] == phrases[:, None]).all(-1)
    return functional.pad(same.tril(-1).sum(-1) >= TOLERATED, (PHRASE - 1, 0))


def unlikelihood(network: Network, tokens: Tensor, inside_word: Tensor) -> Tensor:
    """-log(1 - p(token)) over the tokens that repeat, as a mean over all tokens; `inside_word` is by id."""
    targets = tokens[:, 1:]
    blamed = repeating(tokens)[:, 1:] & ~inside_word[targets]
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(tokens[:, :-1])
    likelihood = logits.float().softmax(-1).gather(-1, targets[..., None])[..., 0]
    return (-torch.log1p(-likelihood.clamp_max(0.999)) * blamed).mean()
