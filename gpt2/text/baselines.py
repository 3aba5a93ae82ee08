"""How well one can predict without a model: the losses that training has to beat."""

from __future__ import annotations

import math

import numpy as np

from gpt2.terminal import progress
from tinygrad2.types import Array

COUNTED = 1 << 23
"""In how many tokens pairs are counted at most: enough for any bigram, and sorted in a second."""

BLOCK = 1 << 20


def baselines(train: Array, val: Array, vocab_size: int) -> dict[str, float]:
    """Losses on `val`, in nats per token, by name.

    `uniform` is ln V: every token equally likely. `unigram` predicts by how often each token is in `train`, and `bigram` by
    how often it followed the one before it, every count raised by one (Laplace). Of a longer text, `COUNTED` tokens are
    counted, or predicted, in blocks that are spread evenly over it; that and the time it takes are the same for any
    vocabulary, since only pairs that occur are kept.
    """
    keys = np.concatenate([_pairs(block, vocab_size) for block in _spread(train)])
    before = np.bincount(keys // vocab_size, minlength=vocab_size)  # (V,)
    pairs, counts = np.unique(keys, return_counts=True)
    unigram = -np.log((before + 1) / (len(keys) + vocab_size))  # (V,)
    nats = alone = 0.0
    predicted = 0
    for block in progress(iterable=_spread(val), desc="baselines", unit="block"):
        seen = _pairs(block, vocab_size)
        at = np.minimum(np.searchsorted(pairs, seen), len(pairs) - 1)
        together = np.where(pairs[at] == seen, counts[at], 0)
        alone += unigram[seen % vocab_size].sum()
        nats -= np.log((together + 1) / (before[seen // vocab_size] + vocab_size)).sum()
        predicted += len(seen)
    return {"uniform": math.log(vocab_size), "unigram": float(alone / predicted), "bigram": float(nats / predicted)}


def _pairs(ids: Array, vocab_size: int) -> Array:
    """Each token and the one after it, as one number: ids (N,) -> int64 (N - 1,)."""
    wide = ids.astype(np.int64)  # V * V is too large for the type of ids
    return wide[:-1] * vocab_size + wide[1:]


def _spread(ids: Array) -> list[Array]:
    """All of `ids` in blocks, each with the first of the next one; or `COUNTED` of them in blocks at equal distances."""
    if len(ids) <= COUNTED:
        return [ids[start : start + BLOCK + 1] for start in range(0, len(ids) - 1, BLOCK)]
    return [ids[start : start + BLOCK] for start in np.linspace(0, len(ids) - BLOCK, COUNTED // BLOCK).astype(np.int64)]
