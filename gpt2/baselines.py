"""How well one can predict without a model: the losses that training has to beat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def baselines(train: Array, val: Array, vocab_size: int) -> dict[str, float]:
    """Losses on `val`, in nats per token, by name.

    `uniform` is ln V: every token equally likely. `bigram` predicts by how often each token followed the one before it
    in `train`, every count raised by one (Laplace).
    """
    pairs, counts = np.unique(train[:-1] * vocab_size + train[1:], return_counts=True)
    before = np.bincount(train[:-1], minlength=vocab_size)  # (V,)
    seen = val[:-1] * vocab_size + val[1:]
    at = np.minimum(np.searchsorted(pairs, seen), len(pairs) - 1)
    together = np.where(pairs[at] == seen, counts[at], 0)
    bigram = -np.mean(np.log((together + 1) / (before[val[:-1]] + vocab_size)))
    return {"uniform": math.log(vocab_size), "bigram": float(bigram)}
