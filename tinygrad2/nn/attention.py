"""Multi-head causal self-attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2 import kernels, ops
from tinygrad2.errors import GraphError, ShapeError
from tinygrad2.nn.dropout import Dropout, current_rng
from tinygrad2.nn.layers import Linear
from tinygrad2.nn.module import Module
from tinygrad2.tensor import Tensor


class KVCache:
    """The keys and values of the positions that one attention layer has seen, for inference.

    With them the attention of one more position costs one row of the (T, T) weights. `keys` and `values` are
    (B, num_heads, max_len, d_k), of which the first `length` positions are filled.
    """

    def __init__(self, batch_size: int, num_heads: int, max_len: int, d_k: int, dtype: Any = np.float32) -> None:
        shape = batch_size, num_heads, max_len, d_k
        self.keys, self.values = np.empty(shape, dtype), np.empty(shape, dtype)
        self.length = 0

    def attend(self, qkv: Tensor) -> Tensor:
        """The attention of new positions, (B, T, 3C) -> (B, T, C), whose keys and values are kept from now on."""
        B, _, room, _ = self.keys.shape
        T = qkv.shape[-2]
        if qkv.requires_grad:
            raise GraphError("KVCache: nothing can be differentiated through a cache; use it inside no_grad()")
        if qkv.ndim != 3 or len(qkv) != B or self.length + T > room:
            raise ShapeError(f"KVCache: qkv {qkv.shape} after {self.length} positions, for {B} sequences of at most {room}")
        out = kernels.cached_attention(qkv.data, self.keys, self.values, self.length)
        self.length += T
        return Tensor(out)


class MultiHeadAttention(Module):
    """Every position gathers from the positions up to itself, in several heads (Vaswani et al., 2017, 3.2.2).

    x (..., T, C) -> (..., T, C). `c_attn` computes Q = x Wq, K = x Wk, V = x Wv side by side; `c_proj` mixes the
    concatenated heads. `dropout` acts on the attention weights and on the result. Given a KVCache, x holds the positions
    after those that the cache has seen.
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

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        qkv = self.qkv(x, cache)
        if cache is not None:
            return self.c_proj(cache.attend(qkv))
        p = self.dropout.p if self.training else 0.0
        merged = ops.causal_attention(qkv, self.num_heads, p, current_rng() if p else None)  # (..., T, C)
        return self.dropout(self.c_proj(merged))

    def qkv(self, x: Tensor, cache: KVCache | None) -> Tensor:
        """Queries, keys and values: (..., T, C) -> (..., T, 3C)."""
        return self.c_attn(x)
