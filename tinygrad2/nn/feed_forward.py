"""The position-wise feed-forward network."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.nn.dropout import Dropout
from tinygrad2.nn.layers import Linear
from tinygrad2.nn.module import Module
from tinygrad2.tensor import Tensor


class FeedForward(Module):
    """GELU(x W1 + b1) W2 + b2 at every position: (..., d_model) -> (..., d_model) through (..., d_ff)."""

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        dropout: float = 0.0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        rng = rng or np.random.default_rng()
        self.c_fc = Linear(d_model, d_ff, bias, rng, dtype)
        self.c_proj = Linear(d_ff, d_model, bias, rng, dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(ops.gelu(self.c_fc(x))))
