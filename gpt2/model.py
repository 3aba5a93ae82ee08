"""GPT-2, top to bottom. B sequences, T tokens, C = d_model, V = vocab_size; weights are named as OpenAI named them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2 import generation, modern, writing
from gpt2.config import GPT2Config
from gpt2.errors import DataError
from gpt2.rng import generator
from gpt2.tokenizers import Tokenizer
from gpt2.weights import hugging_face, int8
from tinygrad2 import Tensor, autograd, nn, ops

Cache = list[nn.KVCache]

PARTS: dict[str, tuple[Any, Any, Any]] = {
    "gpt2": (nn.Embedding, nn.MultiHeadAttention, nn.FeedForward),
    "modern": (modern.NoPositions, modern.Attention, modern.FeedForward),
}
"""By architecture: what is added for positions, the attention, and the feed-forward network."""


class Block(nn.Module):
    """One Pre-LN block: attention gathers from earlier tokens, the feed-forward network works on each."""

    def __init__(self, config: GPT2Config, rng: np.random.Generator, dtype: Any) -> None:
        C, (_, attention, feed_forward) = config.d_model, PARTS[config.architecture]
        self.ln_1 = nn.LayerNorm(C, bias=config.bias, dtype=dtype)
        self.attn = attention(C, config.num_heads, config.dropout, config.bias, rng, dtype)
        self.ln_2 = nn.LayerNorm(C, bias=config.bias, dtype=dtype)
        self.mlp = feed_forward(C, config.d_ff, config.dropout, config.bias, rng, dtype)

    def forward(self, x: Tensor, cache: nn.KVCache | None = None) -> Tensor:
        if cache is not None and writing.is_plain(self, x, cache):
            return writing.step(self, x, cache)  # the same, without the steps between
        x = x + self.attn(self.ln_1(x), cache)  # (B, T, C)
        return x + self.mlp(self.ln_2(x))  # (B, T, C)


class Head(nn.Module):
    """Logits = h W^T + b. `weight` is (V, C) like the token embedding, which it is when the two are tied."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        self.weight = weight
        self.bias = bias

    def forward(self, h: Tensor, targets: Any = None) -> Tensor:
        """Logits (..., V) of h (..., C), or the mean cross-entropy of `targets` (...), for which they are never all there."""
        if targets is None:
            return ops.linear(h, self.weight.T, self.bias)
        return ops.linear_cross_entropy(h, self.weight, self.bias, targets, autograd.is_recording())


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
        rng = generator(seed, "init")
        self.wte = nn.Embedding(V, C, rng, dtype)
        self.wpe = PARTS[config.architecture][0](T, C, rng, dtype)
        self.drop = nn.Dropout(config.dropout)
        self.h = [Block(config, rng, dtype) for _ in range(config.num_layers)]
        self.ln_f = nn.LayerNorm(C, bias=config.bias, dtype=dtype)
        head = self.wte.weight if config.tie_embeddings else nn.Embedding(V, C, rng, dtype).weight
        self.lm_head = Head(head, nn.Parameter(nn.init.constant((V,), 0, dtype)) if config.head_bias else None)
        if config.init == "gpt2":
            self._initialise_as_openai(rng)
        if config.init == "zero":
            self._begin_at_zero()

    @classmethod
    def shapes(cls, config: GPT2Config) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The name and the shape of every parameter, one after another: those of a single block, for each of the blocks."""
        with nn.init.shapes_only():
            one = cls(replace(config, num_layers=1))
        for i in range(config.num_layers):
            for name, p in one.named_parameters():
                if name.startswith("h.0."):
                    yield f"h.{i}.{name.removeprefix('h.0.')}", p.shape
                elif i == 0:
                    yield name, p.shape

    @classmethod
    def with_weights(cls, config: GPT2Config, weights: Mapping[str, Any]) -> GPT2:
        """A model of these weights (copied), without drawing any first. Raises ShapeError that lists what does not fit."""
        with nn.init.shapes_only():
            model = cls(config)
        model.load_state_dict(weights)
        return model._laid_out_to_read()

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> GPT2:
        """The model in a run folder or a Hugging Face GPT-2 folder, in evaluation mode: float32, or int8 if so exported.

        `folder` holds config.json and model.safetensors, whole or in shards; or it is a name on the hub (extra `hub`).
        `settings` replace those of the folder: with `tie_embeddings=False, head_bias=True` the embedding is copied for
        the head and the bias is zero, which computes the same. Raises RunError that lists everything that does not fit.
        """
        checkpoint = hugging_face.PretrainedFolder(folder, **settings)
        weights = checkpoint.weights(dict(cls.shapes(checkpoint.config)))
        with nn.init.shapes_only():
            model = cls(checkpoint.config)
        for name, p in list(model.named_parameters()):
            found = weights[name]
            if isinstance(found, int8.Rows):
                int8.put(model, name, found)
            else:
                p.data = found
        return model._laid_out_to_read().eval()

    def _laid_out_to_read(self) -> GPT2:
        """With the columns of the blocks' matrices in one piece: a product with one vector then reads memory faster."""
        for block in self.h:
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                if isinstance(layer, nn.Linear):  # int8 weights lie so already
                    layer.weight.data = np.asfortranarray(layer.weight.data)
        return self

    def save_pretrained(self, folder: str | Path, tokenizer: Tokenizer | None = None) -> None:
        """Write a folder that `AutoModelForCausalLM` of transformers loads and, given a tokenizer, `AutoTokenizer` too.

        Int8 weights are for `from_pretrained` alone. A head bias becomes a part of its matrix; with a tokenizer, ids that
        stand for no token are left out. Raises RunError.
        """
        hugging_face.write_pretrained(folder, self.config, int8.state(self), tokenizer)

    def _initialise_as_openai(self, rng: np.random.Generator) -> None:
        """Matrices N(0, 0.02^2), positions N(0, 0.01^2); projections onto the residual stream smaller by sqrt(2 * layers)."""
        for name, p in self.named_parameters():
            if p.ndim == 2:
                residual = name.endswith("c_proj.weight")
                std = 0.01 if name == "wpe.weight" else 0.02 / math.sqrt(2 * self.config.num_layers) if residual else 0.02
                p.data = nn.init.normal(p.shape, std, rng, p.dtype)

    def _begin_at_zero(self) -> None:
        """Each block adds nothing at first, and all tokens are equally likely (Zhang et al., 2019, "Fixup", sec. 3)."""
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight") or name == "lm_head.weight":
                p.data = nn.init.constant(p.shape, 0, p.dtype)

    def forward(self, ids: Any, targets: Any = None) -> Tensor:
        """Logits (..., T, V) for integer ids (..., T), or the loss of `targets`; DataError for a T beyond the context."""
        return self.lm_head(self.hidden(ids), targets)  # (B, T, V)

    def hidden(self, ids: Any, cache: Cache | None = None) -> Tensor:
        """What the head reads: ids (..., T) -> (..., T, C). Given a cache, `ids` are the tokens after those it has seen."""
        ids = np.asarray(ids)
        start = cache[0].length if cache else 0
        end = start + (ids.shape[-1] if ids.ndim else 0)
        if not start < end <= self.config.max_seq_len:
            after = f" after {start} tokens" if start else ""
            raise DataError(
                f"ids of shape {ids.shape}{after}: a sequence has 1 to max_seq_len = {self.config.max_seq_len} tokens"
            )
        x = self.wte(ids) + self.wpe(np.arange(start, end))  # (B, T, C)
        x = self.drop(x)
        for i, block in enumerate(self.h):
            x = block(x, cache[i] if cache else None)  # (B, T, C)
        return self.ln_f(x)  # (B, T, C)

    def new_cache(self, batch_size: int) -> Cache:
        """An empty cache for `batch_size` sequences: one KVCache per block."""
        c = self.config
        dtype = self.ln_f.weight.dtype
        return [nn.KVCache(batch_size, c.num_heads, c.max_seq_len, c.d_model // c.num_heads, dtype) for _ in self.h]

    def next_logits(self, ids: Any, cache: Cache | None = None) -> Tensor:
        """Logits (B, V) of the token after ids (B, T), or after what the cache has seen and then ids."""
        return self.lm_head(self.hidden(ids, cache)[:, -1])  # (B, V)

    def loss(self, ids: Any, targets: Any, label_smoothing: float = 0.0) -> Tensor:
        """The mean cross-entropy, in nats per token, of predicting `targets` (..., T) from `ids` (..., T).

        With label smoothing s the target has probability 1 - s, and s is spread evenly over the whole vocabulary (Szegedy
        et al., 2016, sec. 7).
        """
        if not label_smoothing:
            return self(ids, targets)
        logits = self(ids)
        sharp = ops.cross_entropy(logits, targets)
        return (1 - label_smoothing) * sharp - label_smoothing * ops.log_softmax(logits, axis=-1).mean()

    def generate(
        self,
        ids: Any,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        *,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        slide: int = 1,
        use_cache: bool = True,
        vocab_size: int | None = None,
    ) -> np.ndarray[Any, Any]:
        """Predict, append, repeat: ids (T) or (B, T) -> the same with `max_new_tokens` more.

        How a token is chosen: see `gpt2.generation.Sampling`. Row i of a batch is what its prompt alone gives with
        `seed + i`. Only the last max_seq_len tokens are seen; where there are more, the `slide` oldest are dropped. Raises
        NonFiniteError for a model whose logits are not finite numbers.
        """
        sampling = generation.Sampling(temperature, top_k, top_p, min_p, repetition_penalty, vocab_size)
        return generation.generate(self, ids, max_new_tokens, sampling, seed, slide, use_cache)
