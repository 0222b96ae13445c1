"""The network: llama.cpp's `llama` architecture, with the int8 arithmetic of the serving system as a switch.

Rotary embedding turns interleaved pairs (x[2i], x[2i+1]), so queries and keys need no permutation in the file.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the network, in elements; `key_heads` < `heads` is grouped-query attention."""

    vocabulary: int = 2048
    context: int = 512
    width: int = 192
    layers: int = 5
    heads: int = 6
    key_heads: int = 2
    feed_forward: int = 512
    norm_epsilon: float = 1e-5
    rope_base: float = 10000.0

    @property
    def head_width(self) -> int:
        """Elements of one head; all of them are rotated."""
        return self.width // self.heads


def int8(rows: Tensor) -> Tensor:
    """Each row rounded to 255 steps between plus and minus its largest magnitude; gradients pass unchanged."""
    scale = rows.detach().abs().amax(-1, keepdim=True).clamp_min(1e-8) / 127
    return rows + (torch.round(rows / scale) * scale - rows).detach()


class Linear(nn.Module):
    """A matrix product: float, or int8 per output channel times int8 per token once `serving` is set."""

    def __init__(self, inputs: int, outputs: int, deviation: float = 0.02) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * deviation)
        self.serving = False

    def matrix(self) -> Tensor:
        """The weights as served."""
        return int8(self.weight) if self.serving else self.weight

    def forward(self, x: Tensor) -> Tensor:
        """x (…, inputs) to (…, outputs)."""
        return functional.linear(int8(x) if self.serving else x, self.matrix())


class Block(nn.Module):
    """One layer: attention, then SwiGLU, each behind its norm and added to the residual."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        key_width = shape.key_heads * shape.head_width
        residual_deviation = 0.02 / (2 * shape.layers) ** 0.5
        self.attn_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.attn_q = Linear(shape.width, shape.width)
        self.attn_k = Linear(shape.width, key_width)
        self.attn_v = Linear(shape.width, key_width)
        self.attn_output = Linear(shape.width, shape.width, residual_deviation)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.ffn_gate = Linear(shape.width, shape.feed_forward)
        self.ffn_up = Linear(shape.width, shape.feed_forward)
        self.ffn_down = Linear(shape.feed_forward, shape.width, residual_deviation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: Tensor, past: list[Tensor]) -> Tensor:
        """x (batch, tokens, width); `past` holds the keys and values before it, if any, and gains those of x."""
        x = x + self.dropout(self._attend(self.attn_norm(x), rotation, past))
        h = self.ffn_norm(x)
        gated: Tensor = functional.silu(self.ffn_gate(h)) * self.ffn_up(h)
        change: Tensor = self.dropout(self.ffn_down(gated))
        return x + change

    def _attend(self, h: Tensor, rotation: Tensor, past: list[Tensor]) -> Tensor:
        query = rotate(self._heads(self.attn_q(h)), rotation)
        here = [rotate(self._heads(self.attn_k(h)), rotation), self._heads(self.attn_v(h))]
        past[:] = [torch.cat(pair, 2) for pair in zip(past, here, strict=True)] if past else here
        key, value = (x.repeat_interleave(self.shape.heads // self.shape.key_heads, 1) for x in past)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=query.shape[2] > 1)
        output: Tensor = self.attn_output(mixed.transpose(1, 2).flatten(2))
        return output

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], -1, self.shape.head_width).transpose(1, 2)


class Cache:
    """Keys and values of the tokens so far, a list a layer."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[list[Tensor]] = [[] for _ in range(shape.layers)]

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self.layers[0][0].shape[2] if self.layers[0] else 0


class Network(nn.Module):
    """Token ids (batch, tokens) to logits (batch, tokens, vocabulary); the head is the embedding."""

    rotation: Tensor

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = Linear(shape.width, shape.vocabulary)
        self.blk = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("rotation", rotation_table(shape), persistent=False)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits of the token after each position; with a cache that is not empty, of one token more."""
        cache = cache or Cache(self.shape)
        rotation = self.rotation[cache.length:cache.length + tokens.shape[1]]
        x = self.dropout(functional.embedding(tokens, self.token_embd.matrix()))
        for block, past in zip(self.blk, cache.layers, strict=True):
            x = block(x, rotation, past)
        logits: Tensor = self.token_embd(self.output_norm(x))
        return logits

    @torch.no_grad()
    def continue_greedily(self, tokens: Tensor, count: int) -> Tensor:
        """Prompts of one length (batch, tokens), each with `count` tokens more, the likeliest every time."""
        cache = Cache(self.shape)
        latest = tokens
        for _ in range(count):
            latest = self(latest, cache)[:, -1:].argmax(-1)
            tokens = torch.cat((tokens, latest), 1)
        return tokens

    def serve(self, serving: bool) -> None:
        """Switch every matrix product between float and the serving system's int8."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.serving = serving


def rotation_table(shape: Shape) -> Tensor:
    """Cosine and sine of each position's angle for each pair: (context, head_width / 2, 2)."""
    frequency = shape.rope_base ** -(torch.arange(0, shape.head_width, 2) / shape.head_width)
    angle = torch.outer(torch.arange(shape.context), frequency)
    return torch.stack((angle.cos(), angle.sin()), -1)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotary embedding of x (batch, heads, tokens, head_width) on interleaved pairs."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cosine, sine = rotation.unbind(-1)
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)
