"""Where the architecture `modern` differs from GPT-2; all else is the same.

- Positions are not added to the tokens: queries and keys are turned by them (Su et al., 2021), and scaled to one length, so
  that scores stay bounded (Henry et al., 2020). See `tinygrad2.ops.rotary`.
- The feed-forward network has ReLU squared in the place of GELU (So et al., 2021, "Primer").
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2 import Tensor, nn, ops


class TurnedLinear(nn.Linear):
    """Queries, keys and values as they are multiplied: x (..., T, C) -> (..., T, 3C), of positions from `start` on."""

    def __init__(self, linear: nn.Linear, num_heads: int) -> None:
        self.weight, self.bias, self.num_heads = linear.weight, linear.bias, num_heads

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return ops.rotary(super().forward(x), self.num_heads, start)


class Attention(nn.MultiHeadAttention):
    """Causal self-attention that sees how far apart two tokens are, and not where."""

    def __init__(self, d_model: int, num_heads: int, *args: Any) -> None:
        super().__init__(d_model, num_heads, *args)
        self.c_attn = TurnedLinear(self.c_attn, num_heads)

    def qkv(self, x: Tensor, cache: nn.KVCache | None) -> Tensor:
        return self.c_attn(x, cache.length if cache is not None else 0)


class FeedForward(nn.FeedForward):
    """max(0, x W1 + b1)^2 W2 + b2 at every position."""

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(np.square(ops.relu(self.c_fc(x)))))


class NoPositions(nn.Module):
    """What is added to a token for its position: nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def forward(self, positions: Any) -> int:
        return 0
