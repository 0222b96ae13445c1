"""The training loop: Muon for the layers, AdamW for the rest, in two stages.

The first learns the text, towards its end in the int8 arithmetic of the serving system, which makes the weights
robust against it. The second goes on gently while unlearning loops.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from . import loops
from .network import Network
from .tokenizer import BEGIN, Text

BATCH           = 8         # windows a step, each as long as the context
WEIGHT_DECAY    = 0.1
WARM_UP         = 0.02      # of a stage
REPORT_EVERY    = 50        # steps


@dataclass(frozen=True)
class Stage:
    """What a stage asks for; points in time are shares of the stage."""

    learning_rate: float
    decay_from: float       # from here the rate falls linearly to nothing
    serving_from: float     # from here the network computes in int8
    unlikelihood: float     # weight of the loss on loops, against nats a token


LEARN  = Stage(learning_rate=4e-3, decay_from=0.4, serving_from=0.75, unlikelihood=0.0)
REFINE = Stage(learning_rate=1e-3, decay_from=0.0, serving_from=0.0,  unlikelihood=3.0)


@dataclass(frozen=True)
class Budget:
    """A stage ends when either is spent; the learning rate follows whichever is nearer."""

    steps: int
    minutes: float


@dataclass(frozen=True)
class Report:
    """Where the stage is; `loss` is the mean of the steps since the last report, in nats a token."""

    step: int
    minutes: float
    progress: float
    loss: float


def train(network: Network, text: Text, inside_word: Tensor, stage: Stage, budget: Budget) -> Iterator[Report]:
    """Train in place; `inside_word` is by token id. The caller may save at every report."""
    optimisers = make_optimisers(network)
    begun = time.monotonic()
    losses: list[float] = []
    for step in itertools.count(1):
        minutes = (time.monotonic() - begun) / 60
        progress = min(1.0, max(step / budget.steps, minutes / budget.minutes))
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = rate(stage, progress)
        circling = loops.continuations(network, text) if stage.unlikelihood else None
        network.train()
        network.serve(progress >= stage.serving_from)
        loss = language_loss(network, window(text, network.shape.context))
        losses.append(loss.item())
        if circling is not None:
            loss = loss + stage.unlikelihood * loops.unlikelihood(network, circling, inside_word)
        update(network, optimisers, loss)
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


def rate(stage: Stage, progress: float) -> float:
    """Warm up, hold, fall linearly."""
    return stage.learning_rate * min(progress / WARM_UP, 1.0, (1 - progress) / (1 - stage.decay_from))


def window(text: Text, length: int) -> Tensor:
    """A batch of `length` + 1 tokens each: <s>, then the text from a random verse on, as a prompt would come."""
    usable = text.starts[text.starts < len(text.ids) - length]
    first = usable[torch.randint(len(usable), (BATCH, 1))]
    return torch.cat((torch.full((BATCH, 1), BEGIN), text.ids[first + torch.arange(length)]), 1)


def language_loss(network: Network, tokens: Tensor) -> Tensor:
    """Nats a token of each token after the first."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(tokens[:, :-1])
    return functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


def update(network: Network, optimisers: list[torch.optim.Optimizer], loss: Tensor) -> None:
    """One step down the gradient, of limited length."""
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()
