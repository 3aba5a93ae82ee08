"""Values of a run in bounded memory, however many steps it has."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

from tinygrad2.types import Array

T = TypeVar("T")

MOST_BINS = 1 << 15
"""Far more than a picture has columns."""

BATCH = 1024
"""Rows that are put into bins together."""


class Bins:
    """Rows of numbers: each as it is while there are fewer than `most`, then the means of 2 each, of 4...

    The first number of a row is its step, and that of a bin is the last of its steps. `most` is a power of 2, of at least
    `BATCH`, so that bins always merge in pairs.
    """

    def __init__(self, columns: int, most: int = MOST_BINS) -> None:
        self.most, self.width = most, 1
        self._full: Array = np.zeros((0, columns))
        self._new: list[float] = []  # the rows after them, one after another
        self._room = BATCH * columns

    def add(self, *row: float) -> None:
        """One more: a step, and as many numbers as every time."""
        self._new += row
        if len(self._new) == self._room:
            self._full, self._new = self.table(), []
            if len(self._full) == self.most:
                self._full, self.width = _means(self._full, 2), 2 * self.width
                self._room = max(BATCH, 2 * self.width) * self._full.shape[1]

    def table(self) -> Array:
        """All bins: (bins, columns). The last one may be the mean of fewer rows."""
        new = np.array(self._new, float).reshape(-1, self._full.shape[1])
        return np.concatenate([self._full, _means(new, self.width)]) if len(new) else self._full


def _means(rows: Array, width: int) -> Array:
    """(M, columns) -> (M / width, columns), rounded up."""
    starts = np.arange(0, len(rows), width)
    ends = np.minimum(starts + width, len(rows))
    means = np.add.reduceat(rows, starts) / (ends - starts)[:, None]
    means[:, 0] = rows[ends - 1, 0]
    return means


class Thinned(Generic[T]):
    """A list that stays short: if it gets more than `most` values, every other one goes. The last one is always there."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: list[T] = []
        self._last: list[T] = []  # unless it is one of them
        self._count, self._every = 0, 1

    def add(self, value: T) -> None:
        """One more."""
        if self._count % self._every == 0:
            self._kept.append(value)
            if len(self._kept) > self.most:
                del self._kept[1::2]
                self._every *= 2
        self._last = [] if self._count % self._every == 0 else [value]
        self._count += 1

    def values(self) -> list[T]:
        """Those that are left, in order."""
        return self._kept + self._last
