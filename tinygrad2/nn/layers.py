"""The plain layers: Linear, Embedding, LayerNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.nn import init
from tinygrad2.nn.module import Module, Parameter
from tinygrad2.tensor import Tensor


class Linear(Module):
    """x W + b: (..., in_features) -> (..., out_features).

    `weight` is (in_features, out_features) and starts Xavier-uniform; `fan_out` is given where it holds several
    matrices side by side.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
        fan_out: int | None = None,
    ) -> None:
        shape = in_features, out_features
        self.weight = Parameter(init.xavier_uniform(shape, rng or np.random.default_rng(), dtype, fan_out))
        self.bias = Parameter(init.constant((out_features,), 0, dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)


class Embedding(Module):
    """Rows of a table: integer ids (...) -> (..., embedding_dim). `weight` is (num_embeddings, embedding_dim)."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        shape = num_embeddings, embedding_dim
        self.weight = Parameter(init.xavier_uniform(shape, rng or np.random.default_rng(), dtype))

    def forward(self, ids: Any) -> Tensor:
        return ops.embedding(self.weight, ids)


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + 1e-5) * weight + bias over the last axis (Ba et al., 2016)."""

    def __init__(self, features: int, eps: float = 1e-5, bias: bool = True, dtype: Any = np.float32) -> None:
        self.weight = Parameter(init.constant((features,), 1, dtype))
        self.bias = Parameter(init.constant((features,), 0, dtype)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias if self.bias is not None else Tensor(np.zeros_like(self.weight.data))
        return ops.layer_norm(x, self.weight, bias, self.eps)
