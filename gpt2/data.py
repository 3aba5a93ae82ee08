"""Ids into batches: random windows to train on, consecutive windows to validate on."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpt2.errors import DataError
from gpt2.streams import stream

Array = np.ndarray[Any, Any]
Batch = tuple[Array, Array]
"""Inputs (B, T), and targets (B, T): the token that follows each input."""


def split(ids: Array, val_fraction: float, seq_len: int) -> tuple[Array, Array]:
    """The first part to train on, the last `val_fraction` to validate on. Raises DataError if either is too short."""
    cut = int(len(ids) * (1 - val_fraction))
    if min(cut, len(ids) - cut) <= seq_len:
        needed = int((seq_len + 1) / min(val_fraction, 1 - val_fraction)) + 1
        raise DataError(
            f"the text has {len(ids)} tokens: {cut} to train on and {len(ids) - cut} to validate on; a context of {seq_len} "
            f"needs at least {seq_len + 1} in each: give about {needed} tokens or more, or a smaller --max-seq-len"
        )
    return ids[:cut], ids[cut:]


def batch(ids: Array, batch_size: int, seq_len: int, seed: int, step: int) -> Batch:
    """Random windows: a function of the seed and the step alone."""
    starts = stream(seed, "data", step).integers(0, len(ids) - seq_len, batch_size)
    windows = ids[starts[:, None] + np.arange(seq_len + 1)]  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:]


def consecutive(ids: Array, seq_len: int, batch_size: int) -> list[Batch]:
    """All of `ids` in windows that follow one another, up to a last incomplete one."""
    count = (len(ids) - 1) // seq_len
    inputs = ids[: count * seq_len].reshape(count, seq_len)
    targets = ids[1 : count * seq_len + 1].reshape(count, seq_len)
    return [(inputs[i : i + batch_size], targets[i : i + batch_size]) for i in range(0, count, batch_size)]
