"""The training loop: windows from verse to verse, Muon for the layers, AdamW for the rest, int8 towards the end."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .network import Network
from .tokenizer import BEGIN

BATCH           = 8         # windows a step, each as long as the context
LEARNING_RATE   = 4e-3
WEIGHT_DECAY    = 0.1
WARM_UP         = 0.02      # of the run
DECAY_FROM      = 0.4       # of the run: from here the rate falls linearly to nothing
SERVING_FROM    = 0.75      # of the run: from here the network computes as it will be served
REPORT_EVERY    = 50        # steps


@dataclass(frozen=True)
class Budget:
    """The run ends when either is spent; the learning rate follows whichever is nearer."""

    steps: int
    minutes: float


@dataclass(frozen=True)
class Report:
    """Where the run is; `loss` is the mean of the steps since the last report, in nats a token."""

    step: int
    minutes: float
    progress: float
    loss: float


def train(network: Network, ids: Tensor, starts: Tensor, budget: Budget) -> Iterator[Report]:
    """Train in place on the stream `ids` with verses at `starts`; the caller may save at every report."""
    optimisers = make_optimisers(network)
    begun = time.monotonic()
    losses: list[float] = []
    for step in itertools.count(1):
        minutes = (time.monotonic() - begun) / 60
        progress = min(1.0, max(step / budget.steps, minutes / budget.minutes))
        network.train()
        network.serve(progress >= SERVING_FROM)
        losses.append(one_step(network, optimisers, window(ids, starts, network.shape.context), rate(progress)))
        if step % REPORT_EVERY == 0 or progress == 1:
            yield Report(step, minutes, progress, sum(losses) / len(losses))
            losses.clear()
        if progress == 1:
            return


def make_optimisers(network: Network) -> list[torch.optim.Optimizer]:
    """Muon takes matrices inside the network; the embedding and the norms are AdamW's."""
    matrices = [weight for weight in network.blk.parameters() if weight.ndim == 2]
    norms = [weight for weight in network.parameters() if weight.ndim == 1]
    return [torch.optim.Muon(matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW([{"params": [network.token_embd.weight], "weight_decay": WEIGHT_DECAY},
                               {"params": norms, "weight_decay": 0.0}], betas=(0.9, 0.98))]


def rate(progress: float) -> float:
    """Warm up, hold, fall linearly."""
    return LEARNING_RATE * max(0.0, min(progress / WARM_UP, 1.0, (1 - progress) / (1 - DECAY_FROM)))


def window(ids: Tensor, starts: Tensor, length: int) -> Tensor:
    """A batch of `length` + 1 tokens each: <s>, then the text from a random verse on, as a prompt would come."""
    usable = starts[starts < len(ids) - length]
    first = usable[torch.randint(len(usable), (BATCH, 1))]
    text = ids[first + torch.arange(length)]
    return torch.cat((torch.full((BATCH, 1), BEGIN), text), 1)


def one_step(network: Network, optimisers: list[torch.optim.Optimizer], tokens: Tensor, learning_rate: float) -> float:
    """One update; returns the loss in nats a token."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(tokens[:, :-1])
    loss = functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        optimiser.step()
        optimiser.zero_grad()
    return loss.item()
