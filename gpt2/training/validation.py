"""What is evaluated: some windows of the validation text each time, and at the end all of them, where that takes little."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gpt2.config import TrainConfig
from gpt2.rng import generator
from gpt2.text import batches
from gpt2.text.batches import Batch
from gpt2.text.encoding import Prepared
from tinygrad2.types import Array

LAST = 0.05
"""The share of a training's time that all windows may take at its end."""


class Validation:
    """The windows of a text that are evaluated: a function of the settings alone.

    `some` are `eval_windows` of `all`, a fixed random choice, so that one loss can be compared with the next. `perfect` has the
    losses of a perfect model on both, in that order; it is empty where nobody knows the source of the text.
    """

    def __init__(self, text: Prepared, config: TrainConfig, context: int) -> None:
        def windows(values: Array) -> tuple[list[Batch], list[Batch]]:
            found = batches.consecutive(values, context, max(1, 1024 // context))
            return batches.sample_windows(found, config.eval_windows, generator(config.seed, "evaluation")), found

        self.some, self.all = windows(text.val)
        costs = text.costs()
        self.perfect = [] if costs is None else [_mean(part) for part in windows(costs)]
        some, all = count(self.some), count(self.all)
        self.ends_with_all = some.windows < all.windows <= config.windows_in(LAST)
        self.whole = all.windows / some.windows  # evaluations that one of all windows takes the time of
        self.plan = ""
        if some.windows < all.windows:
            last = "; the last one predicts all" if self.ends_with_all else ""
            self.plan = f"an evaluation predicts {some.tokens:,} of these, always the same{last}"


class Count(NamedTuple):
    """How many windows there are in some batches, and how many tokens are predicted in them."""

    windows: int
    tokens: int


def count(windows: Iterable[Batch]) -> Count:
    """See Count."""
    shapes = [targets.shape for _, targets in windows]
    return Count(sum(rows for rows, _ in shapes), sum(rows * width for rows, width in shapes))


def _mean(costs: list[Batch]) -> float:
    return float(np.mean(np.concatenate([of_targets.ravel() for _, of_targets in costs])))
