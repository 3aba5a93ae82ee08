"""Ids into batches: random windows to train on, consecutive windows to validate on."""

from __future__ import annotations

import numpy as np

from gpt2.errors import DataError
from gpt2.rng import generator
from tinygrad2.errors import counted
from tinygrad2.types import Array

Batch = tuple[Array, Array]
"""Inputs (B, T), and targets (B, T): the token that follows each input."""


def split(ids: Array, val_fraction: float, seq_len: int) -> tuple[Array, Array]:
    """The first part to train on, the last `val_fraction` to validate on. Raises DataError if either is too short."""
    cut = int(len(ids) * (1 - val_fraction))
    if min(cut, len(ids) - cut) <= seq_len:
        needed = int((seq_len + 1) / min(val_fraction, 1 - val_fraction)) + 1
        raise _too_short(cut, len(ids) - cut, seq_len, f"about {needed} tokens or more")
    return ids[:cut], ids[cut:]


def check_lengths(train: Array, val: Array, seq_len: int) -> None:
    """Raise DataError if a part has no window of `seq_len` tokens and the one after it."""
    if min(len(train), len(val)) <= seq_len:
        raise _too_short(len(train), len(val), seq_len, "more text")


def _too_short(train: int, val: int, seq_len: int, more: str) -> DataError:
    return DataError(
        f"the text has {counted(train + val, 'token')}, {train} to train on and {val} to validate on; a context of {seq_len} "
        f"needs at least {seq_len + 1} in each: give {more}, or a smaller --max-seq-len"
    )


def batch(ids: Array, batch_size: int, seq_len: int, seed: int, step: int) -> Batch:
    """Random windows, int64: a function of the seed and the step alone. Only they are read from ids that are in a file."""
    starts = generator(seed, "data", step).integers(0, len(ids) - seq_len, batch_size)
    windows = ids[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64)  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:]


def check_ids(batch: Batch, vocab_size: int, when: str) -> None:
    """Raise DataError for an id that the vocabulary does not have; it begins with `when`."""
    for what, ids in zip(("input", "target"), batch, strict=True):
        if ids.min() < 0 or ids.max() >= vocab_size:
            row, at = np.argwhere((ids < 0) | (ids >= vocab_size))[0]
            raise DataError(
                f"{when}: {what} {ids[row, at]} at [{row}, {at}] of the batch is outside the vocabulary of {vocab_size}: "
                "the encoded text is damaged, or of another tokenizer"
            )


def consecutive(ids: Array, seq_len: int, batch_size: int) -> list[Batch]:
    """All of `ids` in windows that follow one another, up to a last incomplete one. They are views: nothing is copied."""
    count = (len(ids) - 1) // seq_len
    inputs = ids[: count * seq_len].reshape(count, seq_len)
    targets = ids[1 : count * seq_len + 1].reshape(count, seq_len)
    return [(inputs[i : i + batch_size], targets[i : i + batch_size]) for i in range(0, count, batch_size)]


def sample_windows(batches: list[Batch], count: int, rng: np.random.Generator) -> list[Batch]:
    """`count` windows of some batches, chosen by `rng`, in their order; all of them where count is 0 or there are no more."""
    total = sum(len(inputs) for inputs, _ in batches)
    if not 0 < count < total:
        return batches
    chosen = np.sort(rng.choice(total, count, replace=False))
    size = len(batches[0][0])
    inputs = np.concatenate([batches[i // size][0][i % size][None] for i in chosen])
    targets = np.concatenate([batches[i // size][1][i % size][None] for i in chosen])
    return [(inputs[i : i + size], targets[i : i + size]) for i in range(0, count, size)]
