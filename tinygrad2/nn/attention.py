"""Multi-head causal self-attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.errors import ShapeError
from tinygrad2.nn.dropout import Dropout, stream
from tinygrad2.nn.layers import Linear
from tinygrad2.nn.module import Module
from tinygrad2.tensor import Tensor


class MultiHeadAttention(Module):
    """Every position gathers from the positions up to itself, in several heads (Vaswani et al., 2017, 3.2.2).

    x (..., T, C) -> (..., T, C). `c_attn` computes Q = x Wq, K = x Wk, V = x Wv side by side; `c_proj` mixes the
    concatenated heads. `dropout` acts on the attention weights and on the result.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        if d_model % num_heads:
            raise ShapeError(f"MultiHeadAttention: d_model {d_model} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        rng = rng or np.random.default_rng()
        self.c_attn = Linear(d_model, 3 * d_model, bias, rng, dtype, fan_out=d_model)  # Wq, Wk, Wv
        self.c_proj = Linear(d_model, d_model, bias, rng, dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.c_attn(x)  # (..., T, 3C)
        p = self.dropout.p if self.training else 0.0
        merged = ops.causal_attention(qkv, self.num_heads, p, stream() if p else None)  # (..., T, C)
        return self.dropout(self.c_proj(merged))
