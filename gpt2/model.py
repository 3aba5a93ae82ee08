"""GPT-2, top to bottom. B sequences, T tokens, C = d_model, V = vocab_size; weights are named as OpenAI named them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpt2 import generation
from gpt2.config import GPT2Config
from gpt2.errors import DataError
from gpt2.streams import stream
from tinygrad2 import Tensor, nn, ops


class Block(nn.Module):
    """One Pre-LN block: attention gathers from earlier tokens, the feed-forward network works on each."""

    def __init__(self, config: GPT2Config, rng: np.random.Generator, dtype: Any) -> None:
        C = config.d_model
        self.ln_1 = nn.LayerNorm(C, bias=config.bias, dtype=dtype)
        self.attn = nn.MultiHeadAttention(C, config.num_heads, config.dropout, config.bias, rng, dtype)
        self.ln_2 = nn.LayerNorm(C, bias=config.bias, dtype=dtype)
        self.mlp = nn.FeedForward(C, config.d_ff, config.dropout, config.bias, rng, dtype)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))  # (B, T, C)
        return x + self.mlp(self.ln_2(x))  # (B, T, C)


class Head(nn.Module):
    """Logits = h W^T + b. `weight` is (V, C) like the token embedding, which it is when the two are tied."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        self.weight = weight
        self.bias = bias

    def forward(self, h: Tensor) -> Tensor:
        return ops.linear(h, self.weight.T, self.bias)


class GPT2(nn.Module):
    """A GPT-2 language model (Radford et al., 2019).

    Args:
        config: its shape.
        seed: decides the initial weights.
        dtype: of the parameters, np.float32 or np.float64.

    Example:
        >>> model = GPT2(GPT2Config.preset("tiny"), seed=0)
        >>> model(np.array([[1, 2, 3]])).shape
        (1, 3, 65)
    """

    def __init__(self, config: GPT2Config, seed: int = 0, dtype: Any = np.float32) -> None:
        self.config = config
        V, T, C = config.vocab_size, config.max_seq_len, config.d_model
        rng = stream(seed, "init")
        self.wte = nn.Embedding(V, C, rng, dtype)
        self.wpe = nn.Embedding(T, C, rng, dtype)
        self.drop = nn.Dropout(config.dropout)
        self.h = [Block(config, rng, dtype) for _ in range(config.num_layers)]
        self.ln_f = nn.LayerNorm(C, bias=config.bias, dtype=dtype)
        head = self.wte.weight if config.tie_embeddings else nn.Embedding(V, C, rng, dtype).weight
        self.lm_head = Head(head, nn.Parameter(nn.init.constant((V,), 0, dtype)) if config.head_bias else None)
        if config.init == "gpt2":
            self._initialise_as_openai(rng)

    def _initialise_as_openai(self, rng: np.random.Generator) -> None:
        """Matrices N(0, 0.02), positions N(0, 0.01); projections onto the residual stream smaller by sqrt(2 * layers)."""
        for name, p in self.named_parameters():
            if p.ndim == 2:
                residual = name.endswith("c_proj.weight")
                std = 0.01 if name == "wpe.weight" else 0.02 / math.sqrt(2 * self.config.num_layers) if residual else 0.02
                p.data = nn.init.normal(p.shape, std, rng, p.dtype)

    def forward(self, ids: Any) -> Tensor:
        """Logits (..., T, V) for integer ids (..., T). Raises DataError where T is 0 or beyond the context."""
        ids = np.asarray(ids)
        T = ids.shape[-1] if ids.ndim else 0
        if not 0 < T <= self.config.max_seq_len:
            raise DataError(f"ids of shape {ids.shape}: a sequence has 1 to max_seq_len = {self.config.max_seq_len} tokens")
        x = self.wte(ids) + self.wpe(np.arange(T))  # (B, T, C)
        x = self.drop(x)
        for block in self.h:
            x = block(x)  # (B, T, C)
        return self.lm_head(self.ln_f(x))  # (B, T, V)

    def loss(self, ids: Any, targets: Any) -> Tensor:
        """The mean cross-entropy, in nats per token, of predicting `targets` (..., T) from `ids` (..., T)."""
        return ops.cross_entropy(self(ids), targets)

    def generate(
        self,
        ids: Any,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> np.ndarray[Any, Any]:
        """Predict, append, repeat: ids (T) or (B, T) -> the same with `max_new_tokens` more.

        Temperature 0 takes the likeliest token; otherwise one is drawn from softmax(logits / temperature), cut to the
        `top_k` likeliest and to the fewest whose probabilities reach `top_p`. Only the last max_seq_len tokens are seen.
        """
        return generation.generate(self, ids, max_new_tokens, temperature, top_k, top_p, stream(seed, "sampling"))
