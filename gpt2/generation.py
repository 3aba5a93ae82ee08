"""Writing with a model: choose the next token from its logits, append it, repeat."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from gpt2.errors import ConfigError, DataError
from tinygrad2 import Tensor, no_grad

Array = np.ndarray[Any, Any]


class LanguageModel(Protocol):
    """What generation needs: logits for ids, the length of the context, and whether dropout acts."""

    config: Any
    training: bool

    def __call__(self, ids: Array) -> Tensor: ...
    def train(self, mode: bool = True) -> Any: ...


def generate(
    model: LanguageModel,
    ids: Any,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    rng: np.random.Generator,
) -> Array:
    """See GPT2.generate."""
    ids = np.asarray(ids)
    if ids.ndim not in (1, 2) or not ids.shape[-1]:
        raise DataError(f"generate: ids of shape {ids.shape}; give (T,) or (B, T) with at least one token")
    check_sampling(temperature, top_k, top_p)
    batch = np.atleast_2d(ids)  # (B, T)
    training = model.training
    model.train(False)
    try:
        with no_grad():
            for _ in range(max_new_tokens):
                logits = model(batch[:, -model.config.max_seq_len :]).data[:, -1]  # (B, V)
                following = sample(logits, temperature, top_k, top_p, rng)
                batch = np.concatenate([batch, following[:, None].astype(batch.dtype)], axis=1)
    finally:
        model.train(training)
    return batch if ids.ndim == 2 else batch[0]


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ConfigError for settings that leave nothing to choose from."""
    if not temperature >= 0:
        raise ConfigError(f"temperature = {temperature} must not be negative; 0 always takes the likeliest token")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k = {top_k} must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ConfigError(f"top_p = {top_p} must be in (0, 1]")


def sample(logits: Array, temperature: float, top_k: int | None, top_p: float | None, rng: np.random.Generator) -> Array:
    """One token per row of logits (B, V) -> (B,)."""
    if temperature == 0:
        return np.argmax(logits, axis=-1)
    scaled = (logits - logits.max(axis=-1, keepdims=True)).astype(np.float64) / temperature
    if top_k is not None and top_k < scaled.shape[-1]:
        kth = np.partition(scaled, -top_k, axis=-1)[:, -top_k, None]
        scaled = np.where(scaled >= kth, scaled, -np.inf)
    p = np.exp(scaled)
    p /= p.sum(axis=-1, keepdims=True)
    if top_p is not None and top_p < 1:  # the nucleus (Holtzman et al., 2020): the likeliest, until they reach top_p
        order = np.argsort(-p, axis=-1, kind="stable")
        sorted_p = np.take_along_axis(p, order, axis=-1)
        outside = np.cumsum(sorted_p, axis=-1) - sorted_p >= top_p
        np.put_along_axis(p, order, np.where(outside, 0, sorted_p), axis=-1)
        p /= p.sum(axis=-1, keepdims=True)
    chosen = (np.cumsum(p, axis=-1) < rng.random((len(p), 1))).sum(axis=-1)
    return np.minimum(chosen, p.shape[-1] - 1)
