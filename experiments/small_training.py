"""Small trainings that several experiments share: a text, a loop of a few lines, and attention without its mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from gpt2.text.batches import batch
from gpt2.text.corpora import pydocs
from gpt2.tokenizers import CharTokenizer
from tinygrad2 import Tensor, nn, no_grad, ops, optim
from tinygrad2.ops.fused import merge_heads, split_heads
from tinygrad2.types import Array


@cache
def text(characters: int = 200_000) -> tuple[Array, Array, int]:
    """Python's own documentation as ids: what trains, what validates (the last tenth), and how many characters there are."""
    letters = pydocs()[:characters]
    tokenizer = CharTokenizer.train(letters)
    ids = np.asarray(tokenizer.encode(letters))
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:], tokenizer.vocab_size


def train(
    model: nn.Module,
    loss_of: Callable[[Array, Array], Tensor],
    ids: Array,
    steps: int,
    *,
    seed: int,
    seq_len: int = 32,
    batch_size: int = 8,
    learning_rate: Callable[[int], float] | float = 2e-3,
    clip: float | None = 1.0,
) -> list[float]:
    """AdamW on random windows of `ids`; the loss of every step. `learning_rate` is one number, or a function of the step."""
    optimizer = optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for step in range(steps):
        inputs, targets = batch(ids, batch_size, seq_len, seed, step)
        model.zero_grad()
        loss = loss_of(inputs, targets)
        loss.backward()
        losses.append(loss.item())
        if clip is not None:
            optim.clip_grad_norm(model.parameters(), clip)
        optimizer.lr = learning_rate if isinstance(learning_rate, float) else learning_rate(step)
        optimizer.step()
    return losses


def evaluate(loss_of: Callable[[Array, Array], Tensor], ids: Array, *, seq_len: int = 32, windows: int = 64) -> float:
    """The mean loss on windows spread evenly over `ids`."""
    starts = np.linspace(0, len(ids) - seq_len - 1, windows).astype(int)
    rows = ids[starts[:, None] + np.arange(seq_len + 1)]
    with no_grad():
        return loss_of(rows[:, :-1], rows[:, 1:]).item()


class Unmasked(nn.Module):
    """An attention layer with the same weights in which every position sees all."""

    def __init__(self, masked: nn.MultiHeadAttention) -> None:
        self.num_heads, self.c_attn, self.c_proj = masked.num_heads, masked.c_attn, masked.c_proj

    def forward(self, x: Tensor, cache: None = None) -> Tensor:
        q, k, v = split_heads(self.c_attn(x), 3, self.num_heads)  # (B, H, T, d_k)
        weights = ops.softmax(q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]))  # (B, H, T, T)
        return self.c_proj(merge_heads(weights @ v))  # (B, T, C)
