"""Teaching the network not to go round in circles, as greedy decoding of a small model does.

Sequence-level unlikelihood (Welleck et al., arXiv 1908.04319): the network continues short prompts greedily; what
repeats a phrase is made unlikely.
"""

import torch
from torch import Tensor

from .network import Network
from .tokenizer import BEGIN

BATCH           = 32        # continuations
LENGTH          = 80        # tokens each
LONGEST_PROMPT  = 6         # tokens, at most
PHRASE          = 4         # tokens


def continuations(network: Network, ids: Tensor, starts: Tensor) -> Tensor:
    """Greedy text after the first words of random verses, in float: (BATCH, <s> + prompt + LENGTH)."""
    size = int(torch.randint(1, LONGEST_PROMPT + 1, ()))
    first = starts[torch.randint(len(starts), (BATCH, 1))]
    prompts = torch.cat((torch.full((BATCH, 1), BEGIN), ids[first + torch.arange(size)]), 1)
    network.eval()
    network.serve(False)
    return network.continue_greedily(prompts, LENGTH)


def repeating(tokens: Tensor) -> Tensor:
    """Which tokens complete a phrase that stands in the row before: (batch, tokens) of bool."""
    phrases = tokens.unfold(1, PHRASE, 1)
    same = (phrases[:, :, None] == phrases[:, None]).all(-1)
    seen = same.tril(-1).any(-1)
    return torch.nn.functional.pad(seen, (PHRASE - 1, 0))


def unlikelihood(network: Network, tokens: Tensor) -> Tensor:
    """-log(1 - p(token)) over the tokens that repeat, as a mean over all tokens."""
    targets = tokens[:, 1:]
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(tokens[:, :-1])
    likelihood = logits.float().softmax(-1).gather(-1, targets[..., None])[..., 0]
    return (-torch.log1p(-likelihood.clamp_max(0.999)) * repeating(tokens)[:, 1:]).mean()
