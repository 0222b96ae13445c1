"""Teaching the network not to go round in circles, as greedy decoding of a small model does.

Unlikelihood training (Welleck et al., arXiv 1908.04319) on made-up loops (Xu et al., arXiv 2206.02369): real text whose last few
tokens are repeated to the end of the window; what continues the loop from its third round on is made unlikely.
"""

import torch
from torch import Tensor

from .tokenizer import BEGIN

BATCH           = 16        # windows
LENGTH          = 128       # tokens
LONGEST_LEAD    = 48        # tokens of real text before the loop, at most
LONGEST_ROUND   = 16        # tokens of the phrase that repeats, at most


def windows(ids: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (BATCH, LENGTH + 1), and where a token (from the second on) continues a loop for the third time or more."""
    usable = starts[starts < len(ids) - LENGTH]
    tokens = torch.full((BATCH, LENGTH + 1), BEGIN)
    looping = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    for row, flags in zip(tokens, looping, strict=True):
        first = int(usable[torch.randint(len(usable), ())])
        lead = int(torch.randint(1, LONGEST_LEAD + 1, ()))
        size = int(torch.randint(1, min(LONGEST_ROUND, lead) + 1, ()))
        place = torch.arange(LENGTH)
        row[1:] = ids[first + torch.where(place < lead, place, lead - size + (place - lead) % size)]
        flags[:] = place >= lead + size
    return tokens, looping


def unlikelihood(logits: Tensor, targets: Tensor, looping: Tensor) -> Tensor:
    """Mean of -log(1 - p(token)) over the tokens that continue a loop."""
    likelihood = logits.float().softmax(-1).gather(-1, targets[..., None])[..., 0]
    return -torch.log1p(-likelihood[looping].clamp_max(0.999)).mean()
